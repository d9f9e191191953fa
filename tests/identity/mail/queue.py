"""The queue of mails, filled and looked at by tests."""

from __future__ import annotations

from typing import Any

from bulkhead_kit.ids import new_id

from tests.identity.world import as_owner, as_role, new_address
from tests.support.house import House


async def queue(house: House, many: int = 1, name: str = "ann") -> list[str]:
    addresses = [new_address(name) for _ in range(many)]
    async with as_owner(house.database) as connection:
        for address in addresses:
            await connection.execute(
                "insert into identity.mails (mail_id, kind, to_address, subject_id)"
                " values (%s, 'verify_email', %s, %s)",
                (new_id(), address, new_id()),
            )
    return addresses


async def state(house: House, address: str) -> tuple[Any, ...]:
    """Attempts, is sent, is given up, what went wrong, is put off."""
    async with as_role(house.database, "bulkhead_identity_worker") as connection:
        cursor = await connection.execute(
            "select attempts, sent_at is not null, failed_at is not null, last_error, due_at > now() + interval '5 s'"
            " from identity.mails where to_address = %s",
            (address,),
        )
        row = await cursor.fetchone()
    assert row is not None
    return tuple(row)


async def due_again(house: House) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute("update identity.mails set due_at = now() where sent_at is null and failed_at is null")


async def empty(house: House) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.mails set sent_at = now() where sent_at is null and failed_at is null"
        )
