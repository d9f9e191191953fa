from __future__ import annotations

import asyncio
import threading

import pytest
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_identity.passwords import Passwords
from bulkhead_kit.errors import ResourceExhausted


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(threads=2, queue=4)


async def test_a_hash_is_argon2id_with_its_parameters(passwords: Passwords) -> None:
    first, second = await passwords.hash("ann", "one"), await passwords.hash("ann", "one")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert await passwords.verify("ann", "one", first)
    assert not await passwords.verify("ann", "two", first)
    assert not await passwords.verify("ann", "one ", first)


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    for guess in ("", "nobody", "one"):
        assert not await passwords.verify("ann", guess, None)


async def test_the_loop_goes_on_meanwhile(passwords: Passwords) -> None:
    hashing = asyncio.gather(*(passwords.hash("ann", "one") for _ in range(6)))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0.001)
        turns += 1
    await hashing
    # Six hashes take 50 ms and more. A loop that did them itself would get no turn before the end.
    assert turns > 10


async def test_too_many_are_turned_away_at_once(passwords: Passwords) -> None:
    told = await asyncio.gather(*(passwords.hash("ann", "one") for _ in range(20)), return_exceptions=True)
    refusals = [one for one in told if isinstance(one, ResourceExhausted)]
    assert len(refusals) == 14
    assert all(one.reason == ErrorReason.OVERLOADED and one.retry_after for one in refusals)
    assert all(isinstance(one, str) for one in told if one not in refusals)
    await passwords.hash("ann", "one")


async def test_who_gives_up_keeps_no_place(passwords: Passwords) -> None:
    waiting = [asyncio.ensure_future(passwords.hash("ann", "one")) for _ in range(6)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    # The two that were begun go on to their end; then there is room for six again.
    async with asyncio.timeout(10):
        told: list[str | BaseException] = [ResourceExhausted(ErrorReason.OVERLOADED, "")]
        while any(isinstance(one, BaseException) for one in told):
            told = await asyncio.gather(*(passwords.hash("ann", "one") for _ in range(6)), return_exceptions=True)


async def test_never_more_than_its_threads_work(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, guard = 0, 0, threading.Lock()
    matches = passwords._matches

    def counted(stored: str, text: str) -> bool:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        try:
            return matches(stored, text)
        finally:
            with guard:
                running -= 1

    monkeypatch.setattr(passwords, "_matches", counted)
    await asyncio.gather(*(passwords.verify("ann", "one", None) for _ in range(6)))
    assert most == 2


async def test_nobody_is_refused_because_of_another_who_asks_without_end(passwords: Passwords) -> None:
    crowd = [asyncio.ensure_future(passwords.hash("ben", "one")) for _ in range(60)]
    await asyncio.sleep(0)
    told = await asyncio.gather(*(passwords.hash(name, "one") for name in ("ann", "cleo", "ann")))
    assert len(set(told)) == 3
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    # Two at once, four that waited, three of which made room for the newcomers.
    assert sum(isinstance(one, str) for one in outcomes) == 3
    assert all(isinstance(one, str | ResourceExhausted) for one in outcomes)
