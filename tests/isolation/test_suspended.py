"""A suspended tenant is only read, apart from what shuts somebody out: by every RPC, and by SQL as identity's role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import psycopg
import pytest
import pytest_asyncio
from bulkhead.rpc.v1.options_pb2 import Scope
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.db import context
from bulkhead_kit.db.context import SERVICE_LEVEL
from psycopg import sql

from tests.identity.world import set_status
from tests.isolation.callers import WHATEVER_TENANT, right_caller
from tests.isolation.conftest import World
from tests.isolation.outcomes import Outcome, call
from tests.isolation.rpc_probes import methods_to_probe, name_of, policy_of
from tests.isolation.samples import SAMPLES, Request
from tests.isolation.sql_session import SqlSession
from tests.isolation.world import Company
from tests.matrix.statements import STATEMENTS, values
from tests.support.house import House

POLICIES = {name_of(method): policy_of(method) for method in methods_to_probe()}
METHODS = {name_of(method): method for method in methods_to_probe()}
WRITES = [
    name
    for name, policy in POLICIES.items()
    if policy.audited and policy.scope in (Scope.SCOPE_TENANT, Scope.SCOPE_SERVICE) and name not in WHATEVER_TENANT
]
CLOSING = [name for name in WRITES if POLICIES[name].allowed_while_suspended]
OTHERS = [name for name in WRITES if name not in CLOSING]
SUSPENDED, REFUSED_BY_SQL = ("FAILED_PRECONDITION", "TENANT_SUSPENDED"), "BH009"
BY_SQL = {
    name: text
    for name, text in STATEMENTS.items()
    if name.startswith("identity.") and POLICIES["bulkhead." + name.replace(".", ".v1.", 1)].audited
}
_MEMBER = "where tenant_id = %(tenant)s and user_id = %(member)s"
MORE_BY_SQL = {
    "closing and more": f"update identity.memberships set status = 'disabled', role = 2 {_MEMBER}",
    "one who is out": f"update identity.memberships set role = 2 {_MEMBER.replace('member)', 'disabled)')}",
    "a function": "select count(identity.create_service_account(%(new)s, 'by hand', 2::smallint))",
    "a function of services": (
        "select count(*) from identity.import_members('by hand', array[%(new)s]::uuid[], '{1}', '{A}', '{null}')"
    ),
}


@dataclass
class Stopped:
    company: Company
    requests: dict[str, Request]
    disabled: str

    async def told(self, name: str) -> Outcome:
        method, policy, client = METHODS[name], POLICIES[name], self.company.client(Role.OWNER)
        if policy.scope == Scope.SCOPE_SERVICE:
            client = await right_caller(self.company, method, policy)
        return await call(client, method, self.requests[name])


@pytest_asyncio.fixture(scope="module")
async def stopped(world: World, world_house: House) -> AsyncIterator[Stopped]:
    company, _ = world.companies_at(world_house)
    requests = {name: await SAMPLES[name].request(METHODS[name], company, Role.OWNER) for name in WRITES}
    disabled = company.one("service account")
    await company.client(Role.OWNER).identity.DisableMember(user_id=disabled)
    await set_status(world_house.database, company.tenant.tenant_id, "suspended")
    yield Stopped(company, requests, disabled)


@pytest.fixture(scope="module")
def login(stopped: Stopped) -> Iterator[SqlSession]:
    with SqlSession.of(stopped.company.tenant.house.database, "bulkhead_identity_app") as session:
        yield session


def _by_sql(stopped: Stopped, login: SqlSession, text: str) -> tuple[str, int]:
    """As an owner, or for what only services may as one of them, without asking first whether the tenant is open."""
    tenant = stopped.company.tenant
    owner = tenant.people[Role.OWNER].user_id
    given = {
        **values(stopped.company),
        "caller": owner,
        "member": tenant.people[Role.VIEWER].user_id,
        "disabled": stopped.disabled,
    }
    level = int(SERVICE_LEVEL) if "import_members" in text else Role.OWNER.value
    return login.attempt(sql.SQL(text), given, tenant=tenant.tenant_id, level=level, user=owner)


def test_there_is_something_to_try() -> None:
    assert len(CLOSING) == 4
    assert len(OTHERS) > 30
    assert len(BY_SQL) > 12


@pytest.mark.parametrize("name", OTHERS)
async def test_a_write_is_refused(stopped: Stopped, name: str) -> None:
    told = await stopped.told(name)
    assert (told.code, told.reason) == SUSPENDED


@pytest.mark.parametrize("name", OTHERS)
async def test_a_wrong_policy_lets_nothing_in(stopped: Stopped, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each said of itself that it only shuts somebody out. Other services than identity have no such way in."""
    _let_in_to_close(monkeypatch)
    told = await stopped.told(name)
    if name.startswith("bulkhead.identity"):
        assert (told.code, told.reason) == SUSPENDED
    else:
        assert (told.code, told.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")


@pytest.mark.parametrize("name", BY_SQL)
def test_by_sql_only_closing_works(stopped: Stopped, login: SqlSession, name: str) -> None:
    state, rows = _by_sql(stopped, login, BY_SQL[name])
    if "bulkhead." + name.replace(".", ".v1.", 1) in CLOSING:
        assert (state, rows > 0) == ("00000", True)
    else:
        assert state == REFUSED_BY_SQL


@pytest.mark.parametrize("name", MORE_BY_SQL)
def test_by_sql_closing_does_nothing_more(stopped: Stopped, login: SqlSession, name: str) -> None:
    assert _by_sql(stopped, login, MORE_BY_SQL[name]) == (REFUSED_BY_SQL, 0)


async def test_without_the_tables_own_refusal_a_wrong_policy_would_let_writes_in(
    stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant that test_a_wrong_policy_lets_nothing_in is there for."""
    _let_in_to_close(monkeypatch)
    database = stopped.company.tenant.house.database
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        row = admin.execute("select pg_get_functiondef('identity.keep_suspended'::regproc)").fetchone()
        assert row is not None
        whole = str(row[0])
        blind = whole.replace("t.status = 'suspended'", "false")
        assert blind != whole
        admin.execute(blind.encode())
        told = await stopped.told("bulkhead.identity.v1.TeamService/CreateTeam")
        admin.execute(whole.encode())
    assert told.ok


@pytest.mark.parametrize("name", CLOSING)
async def test_who_must_be_shut_out_is(stopped: Stopped, name: str) -> None:
    assert (await stopped.told(name)).ok
    # And the answer is there for who has lost it.
    assert (await stopped.told(name)).ok


def _let_in_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    standing = context._standing

    def mistaken(caller: Caller, *, writing: bool, checked: bool) -> str:
        found = standing(caller, writing=writing, checked=checked)
        return "closing" if writing and found == "member" else found

    monkeypatch.setattr(context, "_standing", mistaken)
