"""What audit would refuse is not recorded as an event: it would park the tenant's log, and nobody could deliver it.

Nor is what the context does not say: a service's own SQL records refusals of the caller it works for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.support.house import House
from tests.system.relay.odd import NESTED, nested

NOBODY = UUID(int=0)
SOMEBODY = new_id()
TENANT = new_id()
GOOD = '{"reason": [null, "ROLE_TOO_LOW"], "calls": [null, 3]}'
Event = tuple[str, str, UUID | None, str, str | None]


def facts(**values: object) -> str:
    return json.dumps({name: [None, value] for name, value in values.items()})


def record(
    house: House, service: str, event: Event, *, user: UUID | None = None, tenant: UUID | None = None, rpc: str = ""
) -> bool:
    """As the service's own role, in such a context; whether it was taken."""
    context = {"rpc": rpc or f"bulkhead.{service}.v1.X/Y", "user_id": str(user or ""), "tenant_id": str(tenant or "")}
    with psycopg.connect(house.database.dsn(f"bulkhead_{service}_app")) as connection:
        for name, value in context.items():
            connection.execute("select set_config(%s, %s, true)", (f"app.{name}", value))
        try:
            connection.execute(f"select {service}.record_event(%s, %s, %s, %s, %s::jsonb)".encode(), event)
        except psycopg.errors.RaiseException:
            return False
        finally:
            connection.rollback()
    return True


def refused(changes: str | None) -> Event:
    return "call.denied", "user", SOMEBODY, "denied", changes


ODD_REASONS: Sequence[object] = (None, "", "a", "A B", "A\n", "\ufffe", "A" * 101, "A" * 90_000, [], {})
ODD_FACTS: Sequence[str | None] = (
    *(None, "[]", "1", "null", '"x"', "{}", facts(reason="A"), facts(calls=1), facts(reason="A", calls=1, more="B")),
    *('{"reason": "A", "calls": 1}', '{"reason": ["A", null], "calls": [null, 1]}'),
    *('{"reason": [null, "A", {}], "calls": [null, 1]}', '{"reason": {}, "calls": [null, 1]}'),
    *(facts(reason=one, calls=1) for one in ODD_REASONS),
    *(facts(reason="A", calls=one) for one in (None, 0, -1, 1.5, "x", True, [1], 10**18, 10**400)),
    *(f'{{"reason": [null, {text}], "calls": [null, 1]}}' for text in (*NESTED, "1e70000")),
    *(f'{{"reason": {text}, "calls": [null, 1]}}' for text in NESTED),
    nested(12, lists=True),
)


@pytest.mark.parametrize("service", ["identity", "issues"])
def test_a_refused_call_has_two_small_facts(house: House, service: str) -> None:
    for changes in (GOOD, facts(reason="OTHERS", calls=10**17)):
        assert record(house, service, refused(changes), user=SOMEBODY)
    taken = [changes for changes in ODD_FACTS if record(house, service, refused(changes), user=SOMEBODY)]
    assert not taken


@pytest.mark.parametrize("service", ["identity", "issues"])
def test_a_refused_call_is_the_contexts(house: House, service: str) -> None:
    ours, nobodys = refused(GOOD), ("call.denied", "service", NOBODY, "denied", GOOD)
    assert record(house, service, ours, user=SOMEBODY, tenant=TENANT)
    assert record(house, service, nobodys)
    assert not record(house, service, ours, user=new_id())
    assert not record(house, service, ours)
    assert not record(house, service, nobodys, user=SOMEBODY)
    assert not record(house, service, ("call.denied", "service", SOMEBODY, "denied", GOOD))
    for rpc in ("bulkhead.audit.v1.X/Y", "bulkhead", f"x.bulkhead.{service}.v1.X/Y"):
        assert not record(house, service, ours, user=SOMEBODY, rpc=rpc)


@pytest.mark.parametrize("service", ["identity", "issues"])
def test_the_list_of_events_without_a_row_is_closed(house: House, service: str) -> None:
    for event in (
        *(("issue.created", "user", SOMEBODY, "denied", GOOD), ("call.denied", "issue", SOMEBODY, "denied", GOOD)),
        *(("Call Denied", "user", SOMEBODY, "denied", GOOD), ("call.denied", "user", SOMEBODY, "ok", GOOD)),
        *(("call.denied", "user", SOMEBODY, "failed", GOOD), ("member.updated", "member", SOMEBODY, "denied", "{}")),
        *(("user.close_failed", "user", SOMEBODY, "ok", "{}"), ("session.created", "session", SOMEBODY, "ok", "{}")),
        ("call.denied", "user", None, "denied", GOOD),
    ):
        assert not record(house, service, event, user=SOMEBODY)


@pytest.mark.parametrize("action", ["password.change_failed", "user.close_failed"])
def test_a_wrong_password_is_the_callers_own(house: House, action: str) -> None:
    event = (action, "user", SOMEBODY, "failed", "{}")
    assert record(house, "identity", event, user=SOMEBODY)
    assert not record(house, "issues", event, user=SOMEBODY)
    assert not record(house, "identity", event, user=new_id())
    assert not record(house, "identity", event)
    for changes in (None, "[]", GOOD, facts(email="a@b.example")):
        assert not record(house, "identity", (*event[:4], changes), user=SOMEBODY)


async def test_a_failed_login_names_an_address_and_an_account(house: House) -> None:
    tenant = await house.tenant("acme")
    account = tenant.people[Role.MEMBER].user_id
    email = facts(email="x" * 242 + "@b.example")
    for known in (NOBODY, account):
        assert record(house, "identity", ("session.login_failed", "user", known, "failed", email))
    assert not record(house, "identity", ("session.login_failed", "user", SOMEBODY, "failed", email))
    # It is no tenant's: nobody has chosen one yet.
    assert not record(
        house, "identity", ("session.login_failed", "user", account, "failed", email), tenant=tenant.tenant_id
    )
    for event in (
        ("session.login_failed", "user", account, "failed"),
        ("session.login_throttled", "user", NOBODY, "denied"),
    ):
        assert record(house, "identity", (*event, email))
        for changes in (None, "{}", GOOD, facts(email=None), facts(email="x" * 255), facts(email="a@b", name="x")):
            assert not record(house, "identity", (*event, changes))
    assert not record(house, "identity", ("session.login_throttled", "user", account, "denied", email))


def test_a_reused_token_is_of_a_session_that_it_ended(house: House) -> None:
    """The rest is tried where sessions are: RefreshToken records it."""
    for changes in ("{}", facts(user_id=str(SOMEBODY)), facts(user_id=5), GOOD):
        assert not record(house, "identity", ("refresh_token.reused", "session", new_id(), "denied", changes))


def test_what_makes_no_uuid_or_no_text_is_refused_too(house: House) -> None:
    with pytest.raises(psycopg.errors.UntranslatableCharacter):
        record(house, "issues", refused('{"a": [null, "\\u0000"]}'))
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        record(house, "issues", refused('{"a": [null, "\\ud800"]}'))
