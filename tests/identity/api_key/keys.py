"""What tests of API keys share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bulkhead_kit import clock
from bulkhead_kit.wire import timestamp_of

from tests.identity.world import as_owner
from tests.support.client import Client, refused
from tests.support.house import House

UNKNOWN = "bh_aaaaaaaa_" + "A" * 43


async def make_key(client: Client, **fields: Any) -> Any:
    """The answer to CreateApiKey; for a new account of the role member, unless something else is said."""
    if "user_id" not in fields:
        fields = {"role": 2, **fields}
    return await client.identity.CreateApiKey(**{"display_name": "Build server", **fields})


def later(**by: float) -> Any:
    return timestamp_of(clock.now() + timedelta(**by))


async def expire(house: House, api_key_id: str) -> None:
    """As time does it: a key that was made two hours ago for one hour."""
    async with as_owner(house.database) as connection:
        await connection.execute("alter table identity.api_keys disable trigger aa_stamp")
        cursor = await connection.execute(
            "update identity.api_keys set created_at = now() - interval '2 hours',"
            " expires_at = now() - interval '1 hour' where api_key_id = %s",
            (api_key_id,),
        )
        assert cursor.rowcount == 1
        await connection.execute("alter table identity.api_keys enable trigger aa_stamp")


async def last_used(house: House, api_key_id: str, *, ago: str | None = None) -> Any:
    """When the key was used last; with `ago` it is made so long ago first."""
    async with as_owner(house.database) as connection:
        if ago is not None:
            await connection.execute(
                "update identity.api_keys set last_used_at = now() - cast(%s as interval) where api_key_id = %s",
                (ago, api_key_id),
            )
        cursor = await connection.execute(
            "select last_used_at from identity.api_keys where api_key_id = %s", (api_key_id,)
        )
        row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def is_refused_everywhere(house: House, key: str) -> None:
    """In the same words in every service."""
    client = house.with_token(key)
    told = set()
    for call in (client.identity.ListMembers, client.issues.ListLabels, client.audit.ListEvents):
        with refused("UNAUTHENTICATED", "TOKEN_INVALID") as refusal:
            await call()
        told.add(refusal.status.SerializeToString(deterministic=True))
    assert len(told) == 1
    assert key not in refusal.message
