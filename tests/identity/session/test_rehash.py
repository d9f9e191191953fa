"""A hash of older parameters becomes one of today's when its password is given."""

from __future__ import annotations

from bulkhead_identity.passwords import MEMORY_KIB, Passwords

from tests.identity.world import PASSWORD, PostOffice, as_owner, events, log_in, new_address, sign_up
from tests.support.client import refused
from tests.support.house import House

TODAY = f"$argon2id$v=19$m={MEMORY_KIB},t=2,p=1$"


async def stored(house: House, user_id: str) -> tuple[str, str]:
    """The hash, and since when it has been this password."""
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select password_hash, password_changed_at::text from identity.user_credentials where user_id = %s",
            (user_id,),
        )
        row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_login_brings_the_hash_up_to_date(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    older = Passwords(threads=1, memory_kib=8 * 1024, passes=1)
    old = await older.hash("test", PASSWORD)
    older.close()
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.user_credentials set password_hash = %s where user_id = %s", (old, user_id)
        )
    before, changed_at = await stored(house, user_id)
    assert before.startswith("$argon2id$v=19$m=8192,t=1,p=1$")
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, email, "wrong")
    assert (await stored(house, user_id))[0] == before
    await log_in(house, email)
    after, still_at = await stored(house, user_id)
    assert after.startswith(TODAY)
    # It is the same password: neither an event nor a new date.
    assert still_at == changed_at
    assert "credential.updated" not in [action for action, _, _ in await events(house.database, user_id)]
    await log_in(house, email)
    assert (await stored(house, user_id))[0] == after
