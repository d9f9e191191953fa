"""A rotation of the key of people's tokens while real processes are at work: nobody is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from bulkhead_cli.ports import Ports
from bulkhead_kit import base64url, keyrotation
from bulkhead_kit.ids import new_id
from bulkhead_kit.keyfiles import ACCESS
from bulkhead_kit.keywatch import LOOK_SECONDS
from bulkhead_kit.settings import inherited_environment
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.identity.world import PostOffice, log_in, new_address, sign_up
from tests.support.client import Client, refused
from tests.support.house import House

SERVICES = ("identity", "issues")
OVERLAP = 4.0


@pytest.fixture
def addresses(house: House, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Identity and issues as an operator starts them, on the house's database and keys."""
    found = {name: f"127.0.0.1:{next(iter(Ports(tmp_path / name).offers()))}" for name in SERVICES}
    running = []
    for name in SERVICES:
        told = {
            "LISTEN": found[name],
            "DATABASE_URL": house.database.dsn(f"bulkhead_{name}_app"),
            "KEYS_DIR": house.mint.keys,
            "POOL_MAX": 6,
            "LOG_LEVEL": "warning",
            **{f"{other.upper()}_ADDRESS": address for other, address in found.items()},
        }
        environment = {f"BULKHEAD_{name.upper()}_{key}": str(value) for key, value in told.items()}
        command = [sys.executable, "-m", f"bulkhead_{name}", "serve"]
        running.append(subprocess.Popen(command, env=inherited_environment() | environment))
    yield found
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)


@pytest_asyncio.fixture
async def channels(addresses: dict[str, str]) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    made = {name: grpc.aio.insecure_channel(address) for name, address in addresses.items()}
    for channel in made.values():
        async with asyncio.timeout(60):
            reply = None
            while reply is None or reply.status != health_pb2.HealthCheckResponse.SERVING:
                health = health_pb2_grpc.HealthStub(channel)
                reply = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
    yield made
    for channel in made.values():
        await channel.close()


def kid_of(token: str) -> str:
    return str(json.loads(base64url.decode(token.partition(".")[0]))["kid"])


def rotation(house: House) -> subprocess.Popen[bytes]:
    words = ["keys", "rotate", ACCESS, "--directory", str(house.mint.keys), "--overlap", str(OVERLAP)]
    return subprocess.Popen([sys.executable, "-m", "bulkhead_cli", *words], stdout=subprocess.DEVNULL)


class Members:
    """Several at once: each takes a token for the tenant and works in issues with it and with those she had before."""

    def __init__(self, channels: dict[str, grpc.aio.Channel], token: str, tenant_id: str) -> None:
        self._channels = channels
        self._person = self.bearer(token)
        self._tenant_id = tenant_id
        self.tokens: list[str] = []
        self.calls: Counter[str] = Counter()
        self.failures: list[grpc.aio.AioRpcError] = []
        self.ends = asyncio.Event()

    def bearer(self, token: str) -> Client:
        return Client(self._channels, lambda _: (("authorization", f"Bearer {token}"),))

    async def work(self) -> None:
        while not self.ends.is_set():
            try:
                chosen = await self._person.identity.SelectTenant(tenant_id=self._tenant_id)
                self.tokens.append(chosen.access_token.token)
                for token in (self.tokens[-1], self.tokens[0]):
                    await self.bearer(token).issues.ListProjects()
                    self.calls[kid_of(token)] += 1
            except grpc.aio.AioRpcError as error:
                self.failures.append(error)
            await asyncio.sleep(0.02)


async def until(thing: Any, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not thing():  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.05)


async def test_nobody_is_refused_while_keys_change(
    house: House, mails: PostOffice, channels: dict[str, grpc.aio.Channel]
) -> None:
    keys = house.mint.keys
    email = new_address()
    await sign_up(house, mails, email)
    person, login = await log_in(house, email)
    tenant = await person.identity.CreateTenant(tenant={"slug": f"own-{new_id().hex[-12:]}", "name": "Own"})
    old = keyrotation.state_of(keys, ACCESS).signs
    members = Members(channels, login.access_token.token, tenant.tenant_id)
    working = [asyncio.create_task(members.work()) for _ in range(3)]
    await until(lambda: members.calls[old] >= 20, 20)

    # The first command is killed while it waits; the second goes on with the same key.
    first = rotation(house)
    await until(lambda: keyrotation.state_of(keys, ACCESS).upcoming is not None, 20)
    new = keyrotation.state_of(keys, ACCESS).upcoming
    assert new is not None
    first.kill()
    first.wait()
    assert keyrotation.state_of(keys, ACCESS).signs == old
    second = rotation(house)
    await until(lambda: second.poll() is not None, 60)
    assert second.returncode == 0
    assert keyrotation.state_of(keys, ACCESS).signs == new

    await until(lambda: kid_of(members.tokens[-1]) == new, LOOK_SECONDS + 3)
    # For a while both: with new tokens and with one from before.
    enough = members.calls[new] + 40
    await until(lambda: members.calls[new] >= enough, 20)
    members.ends.set()
    await asyncio.gather(*working)
    assert members.failures == []
    assert {kid_of(token) for token in members.tokens} == {old, new}

    fresh, stale = members.tokens[-1], members.tokens[0]
    jwks = await house.nobody().identity.GetJwks()
    assert {key.kid for key in jwks.keys} == {old, new}
    assert keyrotation.prune(keys, ACCESS, at_once=True) == (old,)
    await asyncio.sleep(LOOK_SECONDS + 0.2)
    await members.bearer(fresh).issues.ListProjects()
    for _ in range(2):
        with refused("UNAUTHENTICATED", "TOKEN_INVALID"):
            await members.bearer(stale).issues.ListProjects()
    # Who has a session gets a token of the new key for it.
    renewed = await Client(channels, lambda _: ()).identity.RefreshToken(refresh_token=login.refresh_token.token)
    assert kid_of(renewed.access_token.token) == new
    print(f"{sum(members.calls.values())} calls, {len(members.tokens)} tokens of two keys, 0 refused")
