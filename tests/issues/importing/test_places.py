"""One person with three tenants takes every place for streams; imports of others go in all the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc.aio
import pytest
from bulkhead.issues.v1 import import_service_pb2
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.issues.importing.sample import counts, issue, run
from tests.support import people
from tests.support.builders import make_project
from tests.support.client import Client, reason_of
from tests.support.house import House

PLACES = 20


@pytest.fixture(name="address")
async def fixture_address(house: House) -> AsyncIterator[str]:
    addresses = {name: service.address for name, service in house.running.items()}
    service = house.build("issues", addresses, max_streams=PLACES, import_patience_seconds=20.0)
    try:
        yield await service.start()
    finally:
        await service.stop()


async def outcome(call: Awaitable[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "ended"


async def test_others_import_while_one_person_holds_all_places(house: House, address: str) -> None:
    connection, person = await house.connection(), await house.person()
    theirs = [await people.make_tenant(connection, person, slug=f"p-{new_id().hex[-12:]}") for _ in range(3)]
    others = [await house.tenant("import") for _ in range(5)]
    projects = [await make_project(other.owner) for other in others]
    stop = asyncio.Event()

    async def silence() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
        await stop.wait()
        nothing: list[import_service_pb2.ImportItemsRequest] = []
        for none in nothing:
            yield none

    async with grpc.aio.insecure_channel(address) as channel:
        grabbing = [
            Client({"issues": channel}, house.member(person.user_id, one, Role.OWNER).metadata) for one in theirs
        ]
        held = [
            asyncio.create_task(outcome(grabbing[n % 3].issues.ImportItems(silence(), timeout=30))) for n in range(60)
        ]
        # Those that were refused have ended; the others hold what one person can hold.
        give_up = clock.monotonic() + 20
        while sum(not task.done() for task in held) > PLACES * 9 // 10:
            assert clock.monotonic() < give_up
            await asyncio.sleep(0.05)
        reports = await asyncio.gather(
            *(
                run(other, project.project_id, [issue(1)], client=Client({"issues": channel}, other.owner.metadata))
                for other, project in zip(others, projects, strict=True)
            )
        )
        assert [counts(report.issues) for report in reports] == [(1, 0, 0)] * 5
        stop.set()
        told = Counter(await asyncio.gather(*held))
    assert told["OVERLOADED"] >= 60 - PLACES * 9 // 10
    assert set(told) <= {"OVERLOADED", "INVALID_FIELD", "ended"}
