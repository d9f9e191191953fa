"""A new name of somebody with many tenants: a few see it with the call, the others soon, in small batches."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from uuid import UUID

import psycopg
import pytest
from bulkhead_identity.face import actions
from bulkhead_identity.face.actions import TENANTS, show_faces
from bulkhead_kit.ids import new_id

from tests.identity.world import PostOffice, as_owner, as_role
from tests.support.callers import worker_caller
from tests.support.client import Client
from tests.support.house import House
from tests.support.people import Person

AT_ONCE = 10


async def with_tenants(house: House, count: int) -> tuple[Person, Client]:
    """Somebody whom the owner of so many tenants has invited, by SQL."""
    person, owner, word = await house.person("Ada"), await house.person("Owner"), f"f{secrets.token_hex(4)}-"
    async with as_owner(house.database) as connection:
        await connection.execute(
            """
            with made as (
                insert into identity.tenants (tenant_id, slug, name)
                select gen_random_uuid(), %(word)s || n, 'Many' from generate_series(1, %(count)s) as n
                returning tenant_id
            ), used as (
                insert into identity.tenant_usage (tenant_id) select tenant_id from made returning tenant_id
            )
            select count(*) from used
            """,
            {"word": word, "count": count},
        )
        for user_id, role in ((owner.user_id, 5), (person.user_id, 2)):
            await connection.execute(
                """
                insert into identity.memberships (tenant_id, user_id, kind, role, display_name)
                select tenant_id, %s, 'person', %s, 'Ada' from identity.tenants where slug like %s
                """,
                (user_id, role, f"{word}%"),
            )
    return person, house.user(person.user_id)


async def names(house: House, person: Person) -> Mapping[str, int]:
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select display_name, count(*) from identity.memberships where user_id = %s group by display_name",
            (person.user_id,),
        )
        return dict(await cursor.fetchall())


async def shown_events(house: House, person: Person) -> list[tuple[UUID, UUID, str, str, str]]:
    async with as_role(house.database, "bulkhead_identity_relay") as connection:
        cursor = await connection.execute(
            "select tenant_id, actor_id, actor_type, rpc, request_id from identity.outbox"
            " where entity_id = %s and action = 'member.updated' and changes ? 'display_name' order by outbox_id",
            (person.user_id,),
        )
        return await cursor.fetchall()


async def until_done(mails: PostOffice) -> None:
    while await show_faces(mails.post.database, worker_caller()):
        pass


async def let_time_pass(house: House) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.face_changes set due_at = due_at - interval '11 s', done_at = done_at - interval '11 s'"
        )


async def test_the_call_writes_ten_and_the_worker_the_rest_as_the_person(house: House, mails: PostOffice) -> None:
    person, client = await with_tenants(house, 401)
    request_id = str(new_id())
    began = time.monotonic()
    await client.identity.UpdateMe(user={"full_name": "Ada King"}, request_id=request_id)
    told = time.monotonic() - began
    assert await names(house, person) == {"Ada King": AT_ONCE, "Ada": 391}
    assert len(await shown_events(house, person)) == AT_ONCE
    await until_done(mails)
    print(f"UpdateMe with 401 tenants: {told * 1000:.0f} ms, shown in all after {time.monotonic() - began:.2f} s")
    assert await names(house, person) == {"Ada King": 401}
    events = await shown_events(house, person)
    assert len({tenant for tenant, *_ in events}) == len(events) == 401
    assert {tuple(event[1:4]) for event in events} == {
        (person.user_id, "person", "bulkhead.identity.v1.UserService/UpdateMe")
    }
    assert len({event[4] for event in events}) == 1


async def test_ten_tenants_need_no_worker(house: House) -> None:
    person, client = await with_tenants(house, AT_ONCE)
    await client.identity.UpdateMe(user={"full_name": "Ada King"})
    assert await names(house, person) == {"Ada King": AT_ONCE}
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select count(*) from identity.face_changes where user_id = %s", (person.user_id,)
        )
        assert await cursor.fetchone() == (0,)


async def test_the_latest_wins_and_many_changes_are_shown_once(house: House, mails: PostOffice) -> None:
    person, client = await with_tenants(house, 60)
    for turn in range(6):
        await client.identity.UpdateMe(user={"full_name": f"Ada {turn}"})
    await until_done(mails)
    assert await names(house, person) == {"Ada 5": 60}
    assert len(await shown_events(house, person)) == 6 * AT_ONCE + 50
    # Shown a moment ago: the next waits, and what comes meanwhile goes with it.
    for turn in range(6, 9):
        await client.identity.UpdateMe(user={"full_name": f"Ada {turn}"})
    await until_done(mails)
    assert await names(house, person) == {"Ada 8": AT_ONCE, "Ada 5": 50}
    await let_time_pass(house)
    await until_done(mails)
    assert await names(house, person) == {"Ada 8": 60}


async def test_a_change_in_the_middle_begins_again(
    house: House, mails: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, client = await with_tenants(house, 120)
    monkeypatch.setattr(actions, "TENANTS", 20)
    await client.identity.UpdateMe(user={"full_name": "First"})
    await show_faces(mails.post.database, worker_caller())
    await show_faces(mails.post.database, worker_caller())
    await client.identity.UpdateMe(user={"full_name": "Second"})
    await let_time_pass(house)
    await until_done(mails)
    assert await names(house, person) == {"Second": 120}


async def test_two_workers_and_a_broken_one_leave_nothing_out(
    house: House, mails: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, client = await with_tenants(house, 130)
    monkeypatch.setattr(actions, "TENANTS", 10)
    await client.identity.UpdateMe(user={"full_name": "Ada King"})
    turns = [asyncio.create_task(show_faces(mails.post.database, worker_caller())) for _ in range(6)]
    await asyncio.sleep(0.01)
    for turn in turns[:3]:
        turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    await until_done(mails)
    assert await names(house, person) == {"Ada King": 130}
    assert len(await shown_events(house, person)) == 130


async def test_a_closed_account_is_named_by_nobody(house: House, mails: PostOffice) -> None:
    person, client = await with_tenants(house, 60)
    await client.identity.UpdateMe(user={"full_name": "Ada King"})
    async with as_owner(house.database) as connection:
        # As close_account does it.
        await connection.execute("select set_config('app.user_id', %s, true)", (str(person.user_id),))
        await connection.execute(
            "update identity.memberships set status = 'disabled', left_at = now(), display_name = 'Deleted user'"
            " where user_id = %s",
            (person.user_id,),
        )
        await connection.execute(
            "update identity.users set status = 'erased', email = null, email_verified_at = null,"
            " full_name = 'Deleted user' where user_id = %s",
            (person.user_id,),
        )
    await until_done(mails)
    assert await names(house, person) == {"Deleted user": 60}


async def test_a_batch_is_small(house: House, mails: PostOffice) -> None:
    person, client = await with_tenants(house, 160)
    await client.identity.UpdateMe(user={"full_name": "Ada King"})
    before = len(await shown_events(house, person))
    assert await show_faces(mails.post.database, worker_caller()) == TENANTS
    assert len(await shown_events(house, person)) - before <= TENANTS


@pytest.mark.parametrize(
    "statement", ["update identity.face_changes set due_at = null", "delete from identity.face_changes"]
)
async def test_the_worker_changes_nothing_by_itself(house: House, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with as_role(house.database, "bulkhead_identity_worker") as connection:
            await connection.execute(statement.encode())
