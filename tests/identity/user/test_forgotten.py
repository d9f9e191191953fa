"""Of a closed account nothing is left in any table: an address and a name of nobody else are looked for everywhere."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox.calls import AuditClient
from bulkhead_kit.outbox.process import keep_delivering
from bulkhead_kit.outbox.relay import Tuning
from bulkhead_kit.telemetry import RelayMetrics
from prometheus_client import CollectorRegistry
from psycopg import sql

from tests.identity.world import PASSWORD, PostOffice, log_in, sign_up
from tests.support.client import Client, refused
from tests.support.house import House, Tenant
from tests.support.people import Person

BY_DESIGN = {"audit.event_values"}
"""The values of the audit logs, which an erasure removes and nobody else."""


@dataclass
class Planted:
    """What only this person has said, each in many calls."""

    address: str
    name: str
    words: str

    def found(self, database_dsn: str) -> dict[str, list[str]]:
        """Table by table, which of it is anywhere in a row; of bytes too."""
        found: dict[str, list[str]] = {}
        with psycopg.connect(database_dsn) as admin:
            admin.execute("set bytea_output = 'escape'")
            for schema, table in admin.execute(
                "select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace"
                " where n.nspname in ('app', 'identity', 'issues', 'audit') and c.relkind in ('r', 'm')"
                " and not c.relispartition or n.nspname = 'audit' and c.relkind = 'p'"
            ).fetchall():
                for word in (self.address, self.name, self.words):
                    query = sql.SQL("select count(*) from {} as r where strpos(r::text, %s) > 0")
                    row = admin.execute(query.format(sql.Identifier(schema, table)), (word,)).fetchone()
                    if row and row[0]:
                        found.setdefault(f"{schema}.{table}", []).append(word)
        return found


@pytest.fixture
def planted() -> Planted:
    tail = secrets.token_hex(6)
    return Planted(f"planted-{tail}@example.com", f"Planted{tail}", f"words{tail}")


async def deliver(house: House) -> None:
    """All that is in the outboxes goes to the logs."""
    for service in ("identity", "issues"):
        stop, client = asyncio.Event(), AuditClient(house.running["audit"].address, house.mint.services[service])
        metrics = RelayMetrics(CollectorRegistry())
        task = asyncio.create_task(
            keep_delivering(house.database.dsn(f"bulkhead_{service}_relay"), service, client, metrics, stop, Tuning())
        )
        try:
            with psycopg.connect(house.database.admin_dsn, autocommit=True) as admin:
                left = sql.SQL("select count(*) from {}").format(sql.Identifier(service, "outbox"))
                async with asyncio.timeout(60):
                    while admin.execute(left).fetchone() != (0,):  # noqa: ASYNC110  # the relay tells nobody
                        await asyncio.sleep(0.05)
        finally:
            stop.set()
            await task
            await client.close()


async def live(house: House, mails: PostOffice, planted: Planted) -> tuple[Person, list[Client], list[Tenant]]:
    """A life that leaves traces: in tenants, invitations of each fate, mails, and answers kept for repeats."""
    person = Person(UUID(await sign_up(house, mails, planted.address, name=planted.name)), planted.address)
    client, _ = await log_in(house, planted.address)
    profile = {"full_name": planted.name, "first_name": planted.name, "bio": planted.words, "job_title": planted.words}
    await client.identity.UpdateMe(user={**profile, "company": planted.words}, request_id=str(new_id()))
    tenants = [await house.tenant("forgets") for _ in range(5)]
    for tenant in tenants:
        tenant.lift_limits()
    await join(house, mails, tenants[0], client, planted, Role.ADMIN)
    await join(house, mails, tenants[1], client, planted, Role.MEMBER)
    # Never answered: one taken back, one that is still open when the account is closed, and one that was too late.
    for tenant in tenants[2:]:
        made = await tenant.owner.identity.InviteMember(email=planted.address, role=2, request_id=str(new_id()))
        if tenant is tenants[2]:
            await tenant.owner.identity.RevokeInvitation(invitation_id=made.invitation_id, request_id=str(new_id()))
        if tenant is tenants[4]:
            with psycopg.connect(house.database.admin_dsn) as admin:
                admin.execute("set role bulkhead_identity_owner")
                admin.execute(
                    "update identity.invitations set expires_at = now() where tenant_id = %s", (tenant.tenant_id,)
                )
            with psycopg.connect(house.database.dsn("bulkhead_identity_worker")) as worker:
                worker.execute("select identity.expire_invitations(%s)", (tenant.tenant_id,))
    chosen = await client.identity.SelectTenant(tenant_id=str(tenants[0].tenant_id))
    inside = house.with_token(chosen.access_token.token)
    # One she invites is told who did; one is told nothing yet.
    await inside.identity.InviteMember(email=f"other-{secrets.token_hex(4)}@example.com", role=2)
    await mails.to("")
    await inside.identity.InviteMember(email=f"other-{secrets.token_hex(4)}@example.com", role=2)
    owner = tenants[0].owner.identity
    user_id = str(person.user_id)
    await owner.ChangeRole(user_id=user_id, role=3, request_id=str(new_id()))
    await house.nobody().identity.RequestPasswordReset(email=planted.address)
    await house.nobody().identity.ResendVerification(email=planted.address.upper())
    await client.identity.ChangePassword(current_password=PASSWORD, new_password=f"{PASSWORD} anew")
    return person, [client, inside], tenants


async def join(house: House, mails: PostOffice, tenant: Tenant, client: Client, planted: Planted, role: Role) -> None:
    await tenant.owner.identity.InviteMember(email=planted.address, role=role.value, request_id=str(new_id()))
    token = [mail for mail in await mails.to(planted.address) if "invites you" in mail.subject][-1].token
    await client.identity.AcceptInvitation(token=token, request_id=str(new_id()))


async def test_neither_address_nor_name_nor_words_are_left(house: House, mails: PostOffice, planted: Planted) -> None:
    _, (client, _), tenants = await live(house, mails, planted)
    before = planted.found(house.database.admin_dsn)
    # What is looked for is found where it is.
    assert {"identity.users", "identity.user_profiles", "identity.memberships", "identity.invitations"} <= set(before)
    assert {"identity.mails", "identity.request_ids", "identity.user_request_ids"} <= set(before)
    await client.identity.CloseAccount(password=f"{PASSWORD} anew", request_id=str(new_id()))
    assert any("closed" in mail.subject.lower() for mail in await mails.to(planted.address))
    await deliver(house)
    assert set(planted.found(house.database.admin_dsn)) <= BY_DESIGN
    for tenant in tenants[:3]:
        shown = (await tenant.owner.identity.ListInvitations()).invitations
        assert shown
        assert planted.address not in {one.email for one in shown}
    # The open one is taken back, and its seat is free.
    shown = (await tenants[3].owner.identity.ListInvitations()).invitations
    (ended,) = [one for one in shown if not one.email]
    assert ended.state == 3
    assert (await tenants[3].owner.identity.GetUsage()).open_invitations == 0


async def test_the_address_is_somebody_elses_then(house: House, mails: PostOffice, planted: Planted) -> None:
    _, (client, _), tenants = await live(house, mails, planted)
    token = [mail for mail in await mails.to(planted.address) if "invites you" in mail.subject][-1].token
    await client.identity.CloseAccount(password=f"{PASSWORD} anew")
    await sign_up(house, mails, planted.address)
    other, _ = await log_in(house, planted.address)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await other.identity.AcceptInvitation(token=token)
    assert not (await other.identity.ListMyTenants()).tenants
    # And may be invited anew.
    assert (await tenants[3].owner.identity.InviteMember(email=planted.address, role=2)).email == planted.address


@contextmanager
def without(house: House, trigger: str, table: str) -> Iterator[None]:
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as admin:
        named = sql.Identifier(trigger), sql.Identifier("identity", table)
        admin.execute(sql.SQL("alter table {1} disable trigger {0}").format(*named))
        try:
            yield
        finally:
            admin.execute(sql.SQL("alter table {1} enable trigger {0}").format(*named))


@pytest.mark.parametrize(("trigger", "table"), [("forget", "users"), ("forget_the_last", "mails")])
async def test_what_is_not_forgotten_is_noticed(
    house: House, mails: PostOffice, planted: Planted, trigger: str, table: str
) -> None:
    """The mutants."""
    _, (client, _), _ = await live(house, mails, planted)
    with without(house, trigger, table):
        await client.identity.CloseAccount(password=f"{PASSWORD} anew")
        await mails.to(planted.address)
    left = set(planted.found(house.database.admin_dsn)) - BY_DESIGN - {"identity.outbox"}
    assert "identity.mails" in left
    assert trigger != "forget" or "identity.invitations" in left
