"""What the worker removes, and what it cannot."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

import pytest
from bulkhead_identity.expiry.actions import expire
from bulkhead_identity.expiry.store import BATCH
from bulkhead_identity.mail.actions import send_due
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.worker import Duty, keep_working

from tests.identity.world import (
    PostOffice,
    as_owner,
    as_role,
    events,
    new_address,
    read_folder,
    set_plan,
)
from tests.support.callers import worker_caller
from tests.support.client import refused
from tests.support.house import House
from tests.support.people import start_session

TABLES = (
    "refresh_tokens",
    "sessions",
    "one_time_tokens",
    "request_ids",
    "user_request_ids",
    "mails",
    "mail_asks",
    "login_throttles",
    "mail_limits",
)


async def counts(house: House) -> Mapping[str, int]:
    found = {}
    async with as_owner(house.database) as connection:
        for table in TABLES:
            cursor = await connection.execute(f"select count(*) from identity.{table}".encode())
            row = await cursor.fetchone()
            assert row is not None
            found[table] = int(row[0])
    return found


async def age(house: House, days: int) -> None:
    """As if everything had been made so many days ago."""
    async with as_owner(house.database) as connection:
        for table, column in (
            ("refresh_tokens", "expires_at"),
            ("sessions", "expires_at"),
            ("one_time_tokens", "expires_at"),
            ("request_ids", "created_at"),
            ("user_request_ids", "created_at"),
            ("mails", "created_at"),
            ("mail_asks", "created_at"),
            ("login_throttles", "last_at"),
            ("mail_limits", "free_at"),
        ):
            await connection.execute(
                f"update identity.{table} set {column} = {column} - make_interval(days => %s)".encode(), (days,)
            )


async def one_of_each(house: House) -> None:
    tenant = await house.tenant("expiry")
    person = await house.person()
    await house.nobody().identity.RequestPasswordReset(email=person.email)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await house.nobody().identity.Login(email=person.email, password="wrong")
    await start_session(await house.connection(), person)
    user = house.user(person.user_id)
    await user.identity.CreateTenant(tenant={"slug": f"e-{new_id().hex[-12:]}", "name": "E"}, request_id=str(new_id()))
    await tenant.owner.identity.DisableMember(user_id=str(tenant.people[Role.VIEWER].user_id), request_id=str(new_id()))


def written(mails: PostOffice) -> list[str]:
    return [mail.to for mail in read_folder(mails.folder)]


async def test_removes_what_has_had_its_time(house: House, mails: PostOffice) -> None:
    await one_of_each(house)
    await mails.to("nobody@example.com")
    before = await counts(house)
    assert min(before.values()) > 0
    await expire(mails.database, worker_caller())
    assert await counts(house) == before
    await age(house, 10)
    await expire(mails.database, worker_caller())
    after = await counts(house)
    # A session is kept for a month, so that its owner can see that it was there.
    assert after == {**dict.fromkeys(TABLES, 0), "sessions": before["sessions"]}
    await age(house, 60)
    await expire(mails.database, worker_caller())
    assert (await counts(house))["sessions"] == 0


async def test_the_database_keeps_it_from_removing_more(house: House, mails: PostOffice) -> None:
    await one_of_each(house)
    before = await counts(house)
    async with as_role(house.database, "bulkhead_identity_worker") as connection:
        for table in (
            "refresh_tokens",
            "sessions",
            "one_time_tokens",
            "user_request_ids",
            "mails",
            "mail_asks",
            "login_throttles",
            "mail_limits",
        ):
            cursor = await connection.execute(f"delete from identity.{table}".encode())
            assert cursor.rowcount == 0, table
    assert await counts(house) == before


async def test_removal_is_nobodys_act(house: House, mails: PostOffice) -> None:
    person = await house.person()
    session = await start_session(await house.connection(), person)
    await age(house, 100)
    await expire(mails.database, worker_caller())
    actions = {action for action, _, _ in await events(house.database, session)}
    assert "session.created" in actions
    assert "session.erased" not in actions


async def test_many_rows_go_in_small_steps_and_hold_no_others_up(house: House, mails: PostOffice) -> None:
    person = await house.person()
    async with as_owner(house.database) as connection:
        await connection.execute(
            "insert into identity.user_request_ids (user_id, request_id, rpc, request_digest, created_at)"
            " select %s, gen_random_uuid(), 'x', %s, now() - interval '2 days' from generate_series(1, 2500)",
            (person.user_id, secrets.token_bytes(32)),
        )
    await mails.to("nobody@example.com")
    await age(house, 10)
    before = await counts(house)
    await expire(mails.database, worker_caller())
    after = await counts(house)
    assert (before["user_request_ids"] - after["user_request_ids"], after["mails"]) == (BATCH, 0)
    while await expire(mails.database, worker_caller()):
        pass
    assert (await counts(house))["user_request_ids"] == 0


async def test_a_try_that_comes_while_its_count_is_removed_is_counted(house: House, mails: PostOffice) -> None:
    bucket = secrets.token_bytes(32)
    async with as_owner(house.database) as connection:
        await connection.execute(
            "insert into identity.login_throttles (bucket, last_at) values (%s, now() - interval '2 days')", (bucket,)
        )
    async with as_role(house.database, "bulkhead_identity_app") as connection:
        await connection.execute("select identity.claim_attempt(%s, 'ann@example.com')", (bucket,))
        removing = asyncio.ensure_future(expire(mails.database, worker_caller()))
        done, _ = await asyncio.wait([removing], timeout=0.2)
        assert not done
    await removing
    async with as_owner(house.database) as connection:
        cursor = await connection.execute("select failures from identity.login_throttles where bucket = %s", (bucket,))
        assert await cursor.fetchone() == (1,)


async def test_invitations_nobody_took_give_their_seats_back(house: House, mails: PostOffice) -> None:
    tenants = [await house.tenant("lapsed") for _ in range(3)]
    for tenant in tenants:
        await set_plan(house.database, tenant.tenant_id, users=6)
        await tenant.owner.identity.InviteMember(email=new_address(), role=2)
    async with as_owner(house.database) as connection:
        await connection.execute("update identity.invitations set expires_at = now() where status = 'open'")
    await asyncio.gather(*(expire(mails.database, worker_caller()) for _ in range(3)))
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select u.open_invitations, i.status from identity.tenant_usage as u"
            " inner join identity.invitations as i on i.tenant_id = u.tenant_id and i.accepted_by is null"
            " where u.tenant_id = any(%s)",
            ([tenant.tenant_id for tenant in tenants],),
        )
        assert await cursor.fetchall() == [(0, "expired")] * 3


async def test_the_worker_goes_on_after_the_database_was_away(house: House, mails: PostOffice) -> None:
    email = new_address()
    duties = [
        Duty("mail", 0.05, lambda caller: send_due(mails.post, caller)),
        Duty("expire", 0.05, lambda caller: expire(mails.database, caller)),
    ]
    working = asyncio.create_task(keep_working("identity", duties))
    try:
        for _ in range(5):
            async with as_owner(house.database) as connection:
                await connection.execute("reset role")
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where usename = 'bulkhead_identity_worker' and datname = current_database()"
                )
            await asyncio.sleep(0.1)
        await house.nobody().identity.SignUp(email=email, password="correct horse battery", full_name="Ann")
        async with asyncio.timeout(15):
            while email not in written(mails):  # noqa: ASYNC110 - the worker is not to know of this test
                await asyncio.sleep(0.05)
        assert not working.done()
    finally:
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
