"""Whether an address has an account: neither bytes nor time tell, whatever is asked."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

import grpc.aio
import pytest

from tests.identity.world import PASSWORD, PostOffice, forget_failures, new_address, sign_up
from tests.support.client import status_of
from tests.support.house import House

Ask = Callable[[House, str], Awaitable[bytes]]
PAIRS = 16
MANY = 500
POOL = 10


async def log_in(house: House, email: str) -> bytes:
    try:
        await house.nobody().identity.Login(email=email, password="wrong")
    except grpc.aio.AioRpcError as error:
        return bytes(status_of(error).SerializeToString())
    raise AssertionError("a wrong password was right")


async def sign_up_again(house: House, email: str) -> bytes:
    reply = await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    return bytes(reply.SerializeToString())


async def request_reset(house: House, email: str) -> bytes:
    return bytes((await house.nobody().identity.RequestPasswordReset(email=email)).SerializeToString())


async def resend(house: House, email: str) -> bytes:
    return bytes((await house.nobody().identity.ResendVerification(email=email)).SerializeToString())


async def compare(house: House, mails: PostOffice, ask: Ask, pairs: int) -> tuple[float, float]:
    """First quarter and median for known addresses, as multiples of those for unknown ones. The order changes."""
    known = [new_address() for _ in range(POOL)]
    unknown = [new_address() for _ in range(POOL)]
    for address in known:
        await sign_up(house, mails, address)
    times: dict[bool, list[float]] = {True: [], False: []}
    said: set[bytes] = set()
    for number in range(pairs):
        if number % 3 == 0:
            await forget_failures(house.database)
        for is_known in (True, False) if number % 2 else (False, True):
            # As often one as the other: what is seen the first time costs a little more, with an account or without.
            email = (known if is_known else unknown)[number % POOL]
            if ask is sign_up_again and not is_known:
                # Signing up makes it known.
                email = new_address()
            began = time.perf_counter()
            said.add(await ask(house, email))
            times[is_known].append(time.perf_counter() - began)
    assert len(said) == 1
    quarters = {is_known: statistics.quantiles(found, n=4) for is_known, found in times.items()}
    quick, middle = (quarters[True][place] / quarters[False][place] for place in (0, 1))
    print(f"{ask.__name__}: {pairs} pairs, same bytes, known / unknown: median {middle:.3f}, first quarter {quick:.3f}")
    return quick, middle


@pytest.mark.parametrize("ask", [log_in, sign_up_again, request_reset, resend])
async def test_neither_bytes_nor_time_tell(house: House, mails: PostOffice, ask: Ask) -> None:
    # As close as a busy machine measures so few, the quicker ones, which were not disturbed; a hash that is left out
    # would be a fifth.
    quick, _ = await compare(house, mails, ask, PAIRS)
    assert 0.5 < quick < 2


@pytest.mark.soak
@pytest.mark.parametrize("ask", [log_in, sign_up_again, request_reset, resend])
async def test_five_hundred_pairs_are_within_a_tenth(house: House, mails: PostOffice, ask: Ask) -> None:
    _, middle = await compare(house, mails, ask, MANY)
    assert 0.9 < middle < 1.1
