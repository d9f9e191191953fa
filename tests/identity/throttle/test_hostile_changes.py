"""Somebody with an account makes the service judge passwords without end; everybody else still logs in."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import grpc.aio
import pytest

from tests.identity.world import PASSWORD, PostOffice, log_in, new_address, sign_up
from tests.support.client import Client, reason_of
from tests.support.house import House
from tests.support.served import served

AT_ONCE = 60
SLOW = "0o" * 36
"""What zxcvbn takes longest for, about 75 ms, and refuses in the end."""
SHIPPED = {"RATE_PER_METHOD": "Login=999999999/minute", "RATE_PER_IP": "off"}
"""But for the logins, which all come from one address here."""
OFF = {"RATE_PER_METHOD": "*=999999999/minute", "RATE_PER_IP": "off", "RATE_PER_PRINCIPAL": "off"}


class Attack:
    """So many calls of ChangePassword, one after the other on many lines, by one account or by several."""

    def __init__(self, accounts: list[Client], calls: int) -> None:
        self._accounts = accounts
        self._left = calls
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        await asyncio.gather(*(self._line(self._accounts[n % len(self._accounts)]) for n in range(AT_ONCE)))

    async def _line(self, account: Client) -> None:
        while self._left > 0:
            self._left -= 1
            try:
                await account.identity.ChangePassword(current_password=PASSWORD, new_password=SLOW)
            except grpc.aio.AioRpcError as error:
                self.outcomes[reason_of(error)] += 1
            else:
                self.outcomes["OK"] += 1


class Logins:
    """Of people who have nothing to do with it, until the attack is over."""

    def __init__(self, stranger: Client, addresses: list[str]) -> None:
        self._stranger = stranger
        self._addresses = addresses
        self.taken: list[float] = []
        self.refused: Counter[str] = Counter()

    async def run(self, attack: asyncio.Task[None]) -> None:
        while not attack.done() or len(self.taken) < 10:
            email = self._addresses[len(self.taken) % len(self._addresses)]
            began = time.perf_counter()
            try:
                await self._stranger.identity.Login(email=email, password=PASSWORD)
            except grpc.aio.AioRpcError as error:
                self.refused[reason_of(error)] += 1
            self.taken.append(time.perf_counter() - began)
            await asyncio.sleep(0.1)

    def p95(self) -> float:
        return sorted(self.taken)[int(len(self.taken) * 0.95)]


@pytest.mark.parametrize(
    ("accounts", "rates"), [(1, SHIPPED), (1, OFF), (20, OFF)], ids=["one", "one, no rates", "20, no rates"]
)
@pytest.mark.parametrize("calls", [400, pytest.param(26_000, marks=pytest.mark.soak)])
async def test_others_log_in_all_the_same(
    calls: int, accounts: int, rates: dict[str, str], house: House, mails: PostOffice, tmp_path: Path
) -> None:
    """With the rates as they are shipped. And with none, where what holds is the throttle of the account and its share
    of the queues."""
    hostile, others = [new_address() for _ in range(accounts)], [new_address() for _ in range(3)]
    for email in (*hostile, *others):
        await sign_up(house, mails, email)
    tokens = [(await log_in(house, email))[1].access_token.token for email in hostile]
    async with served(house, tmp_path, "identity", **rates) as channel:
        stranger = Client({"identity": channel}, lambda _: ())
        attackers = [stranger.with_metadata(("authorization", f"Bearer {token}")) for token in tokens]
        attack = Attack(attackers, calls)
        running = asyncio.create_task(attack.run())
        began = time.perf_counter()
        logins = Logins(stranger, others)
        await logins.run(running)
        await running
    print(
        f"{calls} calls of ChangePassword by {accounts}{', no rates' if rates is OFF else ''}, in "
        f"{time.perf_counter() - began:.0f} s: {dict(attack.outcomes)}; meanwhile {len(logins.taken)} logins, "
        f"p95 {logins.p95():.2f} s, refused {dict(logins.refused)}"
    )
    assert not logins.refused
    if calls > 2_000 and rates is SHIPPED:
        assert logins.p95() < 1.0
