"""GetMe and UpdateMe."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf import struct_pb2

from tests.identity.world import as_owner, as_role, events
from tests.support import people
from tests.support.client import Client, refused
from tests.support.house import House, Tenant
from tests.support.people import Person

LONGEST = 10.0
PROFILE = {
    "full_name": "Ada King",
    "first_name": "Ada",
    "last_name": "King",
    "avatar_url": "https://pictures.example/ada.png",
    "bio": "First\nof all",
    "phone": "+44 (20) 555-0100",
    "company": "Engines",
    "department": "Notes",
    "job_title": "Countess",
    "time_zone": "Europe/London",
    "locale": "en-gb",
    "onboarded": True,
}


async def newcomer(house: House, name: str = "Ada") -> tuple[Person, Client]:
    person = await house.person(name)
    return person, house.user(person.user_id)


async def join(house: House, tenant: Tenant, person: Person, role: Role = Role.MEMBER) -> None:
    tenant.lift_limits()
    await people.add_member(await house.connection(), tenant.tenant_id, tenant.people[Role.OWNER], person, role)


async def face(tenant: Tenant, person: Person) -> tuple[str, str]:
    found = await tenant.owner.identity.GetMember(user_id=str(person.user_id))
    return found.display_name, found.avatar_url


async def test_a_person_sees_and_changes_herself(house: House) -> None:
    person, client = await newcomer(house)
    before = await client.identity.GetMe()
    assert (before.user_id, before.email, before.full_name) == (str(person.user_id), person.email, "Ada")
    assert (before.time_zone, before.onboarded, before.HasField("preferences")) == ("", False, False)
    preferences = struct_pb2.Struct()
    preferences.update({"theme": "dark", "columns": [1, 2.5], "nested": {"yes": True, "nothing": None}})
    changed = await client.identity.UpdateMe(user={**PROFILE, "preferences": preferences, "etag": before.etag})
    for field, value in PROFILE.items():
        assert getattr(changed, field) == ("en-GB" if field == "locale" else value)
    assert changed.preferences == preferences
    assert changed.etag != before.etag
    assert await client.identity.GetMe() == changed
    one = await client.identity.UpdateMe(user={"company": "Looms"})
    assert (one.company, one.department, one.full_name) == ("Looms", "Notes", "Ada King")
    cleared = await client.identity.UpdateMe(user={"full_name": "Ada"}, update_mask={"paths": ["*"]})
    assert (cleared.bio, cleared.avatar_url, cleared.onboarded, cleared.locale) == ("", "", False, "")
    assert not cleared.HasField("preferences")
    told = [action for action, _, _ in await events(house.database, person.user_id)]
    assert told.count("user_profile.created") == 1
    assert told.count("user_profile.updated") == 2


async def test_her_name_and_picture_change_in_all_her_tenants(house: House) -> None:
    person, client = await newcomer(house)
    tenants = [await house.tenant(name) for name in ("one", "two", "left")]
    for tenant in tenants:
        await join(house, tenant, person)
    await house.member(person.user_id, tenants[2].tenant_id, Role.MEMBER).identity.LeaveTenant(
        tenant_id=str(tenants[2].tenant_id)
    )
    await client.identity.UpdateMe(user={"full_name": "Ada King", "avatar_url": "https://a.example/a.png"})
    for tenant in tenants[:2]:
        assert await face(tenant, person) == ("Ada King", "https://a.example/a.png")
    # Who has left is remembered as she was, until she comes back.
    assert await face(tenants[2], person) == ("Ada", "")
    await join(house, tenants[2], person)
    assert await face(tenants[2], person) == ("Ada King", "https://a.example/a.png")
    # Each tenant's log has its own event, with who did it; nothing else of her is in them.
    async with as_role(house.database, "bulkhead_identity_relay") as connection:
        cursor = await connection.execute(
            "select tenant_id, actor_id, rpc, changes from identity.outbox"
            " where action = 'member.updated' and entity_id = %s and rpc like '%%UpdateMe'",
            (person.user_id,),
        )
        rows = await cursor.fetchall()
    assert {row[0] for row in rows} == {tenant.tenant_id for tenant in tenants[:2]}
    for row in rows:
        assert row[1:] == (
            person.user_id,
            "bulkhead.identity.v1.UserService/UpdateMe",
            {"display_name": ["Ada", "Ada King"], "avatar_url": [None, "https://a.example/a.png"]},
        )
    # Her rights did not change, so her tokens are good still.
    await house.member(person.user_id, tenants[0].tenant_id, Role.MEMBER).identity.ListMembers()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"full_name": " "}, "user.full_name"),
        ({"full_name": "a\nb"}, "user.full_name"),
        ({"full_name": "x" * 201}, "user.full_name"),
        ({"first_name": "x" * 101}, "user.first_name"),
        ({"avatar_url": "http://a.example/a.png"}, "user.avatar_url"),
        ({"avatar_url": "javascript:alert(1)"}, "user.avatar_url"),
        ({"bio": "\x00"}, "user.bio"),
        ({"phone": "call me"}, "user.phone"),
        ({"company": "a\u2028b"}, "user.company"),
        ({"time_zone": "Mars/Olympus"}, "user.time_zone"),
        ({"locale": "de_AT"}, "user.locale"),
    ],
)
async def test_wrong_fields_are_named(house: House, fields: dict[str, str], named: str) -> None:
    _, client = await newcomer(house)
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await client.identity.UpdateMe(user=fields)
    assert refusal.fields == [named]


async def test_preferences_have_a_size(house: House) -> None:
    _, client = await newcomer(house)
    for values in ({"x": "y" * 8_200}, {"x": float("nan")}, {"x": [1e300] * 100}):
        preferences = struct_pb2.Struct()
        preferences.update(values)
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await client.identity.UpdateMe(user={"preferences": preferences})
        assert refusal.fields == ["user.preferences"]
    fits = struct_pb2.Struct()
    fits.update({"x": "y" * 8_180})
    assert (await client.identity.UpdateMe(user={"preferences": fits})).preferences == fits


async def test_masks_etags_and_repeats(house: House) -> None:
    person, client = await newcomer(house)
    for path in ("email", "user_id", "is_platform_admin", "nothing"):
        with refused("INVALID_ARGUMENT", "INVALID_UPDATE_MASK"):
            await client.identity.UpdateMe(user={"email": "x@example.com"}, update_mask={"paths": [path]})
    before = await client.identity.GetMe()
    assert await client.identity.UpdateMe(user={}) == before
    # The etag is that of account and profile together.
    for first in ({"bio": "x"}, {"full_name": "Ann"}):
        old = (await client.identity.GetMe()).etag
        await client.identity.UpdateMe(user=first)
        with refused("ABORTED", "ETAG_MISMATCH"):
            await client.identity.UpdateMe(user={"bio": "late", "etag": old})
    request_id = str(new_id())
    done = await client.identity.UpdateMe(user={"bio": "y"}, request_id=request_id)
    assert await client.identity.UpdateMe(user={"bio": "y"}, request_id=request_id) == done
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await client.identity.UpdateMe(user={"bio": "z"}, request_id=request_id)
    told = [changes for action, _, changes in await events(house.database, person.user_id) if "bio" in changes]
    assert [changes["bio"] for changes in told] == [[None, "x"], ["x", "y"]]


async def test_only_a_person_has_a_self(house: House) -> None:
    tenant = await house.tenant("self")
    for rpc, request in (("GetMe", {}), ("UpdateMe", {"user": {"bio": "x"}})):
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await getattr(house.nobody().identity, rpc)(**request)
        with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
            await getattr(tenant.service("issues").identity, rpc)(**request)
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await getattr(house.user(new_id()).identity, rpc)(**request)
    # With a tenant's token it is the same self.
    assert (await tenant.member(Role.VIEWER).identity.GetMe()).email == tenant.people[Role.VIEWER].email


# By SQL, as the service's own role.


async def test_nobody_reads_or_writes_anothers_profile(house: House) -> None:
    (one, client), (other, stranger) = await newcomer(house), await newcomer(house)
    for each in (client, stranger):
        await each.identity.UpdateMe(user={"bio": "mine", "full_name": "Mine"})
    statements = {
        "update identity.user_profiles set bio = 'x'": "1 rows",
        "update identity.user_profiles set bio = 'x' where user_id = %(other)s": "0 rows",
        "update identity.users set full_name = 'x' where user_id = %(other)s": "0 rows",
        "update identity.users set full_name = 'x'": "1 rows",
        "select bio from identity.user_profiles": "1 rows",
        "insert into identity.user_profiles (user_id, bio) values (%(new)s, 'x')": "42501",
        "update identity.users set is_platform_admin = true": "42501",
        "update identity.users set status = 'erased', email = null": "42501",
        "update identity.user_profiles set user_id = %(new)s": "42501",
        "delete from identity.user_profiles": "42501",
        "update identity.user_profiles set time_zone = '../x'": "23514",
        "update identity.user_profiles set locale = 'DE'": "23514",
        "update identity.user_profiles set phone = 'me'": "23514",
        "update identity.user_profiles set preferences = '[]'": "23514",
        "update identity.user_profiles set bio = ''": "23514",
    }
    values = {"other": other.user_id, "new": new_id()}
    for statement, expected in statements.items():
        assert await sqlstate(house, one, statement, values) == expected, statement
    assert (await stranger.identity.GetMe()).bio == "mine"


async def sqlstate(house: House, person: Person, statement: str, values: dict[str, Any]) -> str:
    try:
        async with as_role(house.database, "bulkhead_identity_app", user_id=person.user_id) as connection:
            return f"{(await connection.execute(statement.encode(), values)).rowcount} rows"
    except psycopg.DatabaseError as error:
        return str(error.sqlstate)


async def test_who_joins_meanwhile_is_seen_as_she_is(house: House) -> None:
    """Her membership is made by hand with the name of before, and not committed yet, when she changes her name."""
    (person, client), tenant = await newcomer(house), await house.tenant("race")
    tenant.lift_limits()
    async with as_owner(house.database) as connection:
        await connection.execute(
            "insert into identity.memberships (tenant_id, user_id, kind, role, display_name)"
            " values (%s, %s, 'person', 2, 'whatever')",
            (tenant.tenant_id, person.user_id),
        )
        changing = asyncio.ensure_future(client.identity.UpdateMe(user={"full_name": "Ada King"}))
        done, _ = await asyncio.wait([changing], timeout=0.3)
        assert not done
    async with asyncio.timeout(LONGEST):
        await changing
    assert await face(tenant, person) == ("Ada King", "")


async def test_who_comes_back_meanwhile_is_seen_as_she_is(house: House) -> None:
    (person, client), tenant = await newcomer(house), await house.tenant("back")
    await join(house, tenant, person)
    await house.member(person.user_id, tenant.tenant_id, Role.MEMBER).identity.LeaveTenant(
        tenant_id=str(tenant.tenant_id)
    )
    async with as_role(house.database, "bulkhead_identity_app", user_id=person.user_id) as connection:
        await connection.execute("update identity.users set full_name = 'Ada King'")
        returning = asyncio.ensure_future(join(house, tenant, person))
        done, _ = await asyncio.wait([returning], timeout=0.3)
        assert not done
    async with asyncio.timeout(LONGEST):
        await returning
    assert await face(tenant, person) == ("Ada King", "")
    assert (await client.identity.GetMe()).full_name == "Ada King"
