"""Which passwords are refused, what is said about them, and that looking at one never takes long."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from bulkhead_identity.strength import Strength
from bulkhead_kit.errors import InvalidArgument, ResourceExhausted

ABOUT = ["zora.quillfeather@example.com", "Zora Quillfeather"]


@pytest.fixture
def strength() -> Strength:
    return Strength()


async def refusal(strength: Strength, password: str) -> str:
    """What is said; empty where the password is taken."""
    try:
        await strength.demand("ann", password, "password", ABOUT)
    except InvalidArgument as error:
        return next(violation.description for violation in error.violations if violation.field == "password")
    return ""


@pytest.mark.parametrize(
    "password",
    [
        "password12",
        "p@ssw0rd123",
        "qwertyuiop",
        "1234567890",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabc",
        "2024-12-25",
        "iloveyou2024",
        "bulkhead99",
        "Bulkhead2026!",
        "quillfeather",
        "ZoraQuillfeather",
        "zora.quillfeather@example.com",
        "quillfeather12345678",
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff11\uff12",
    ],
)
async def test_easy_ones_are_refused_with_advice(strength: Strength, password: str) -> None:
    said = await refusal(strength, password)
    assert said.startswith("is too easy to guess. ")
    assert len(said) > len("is too easy to guess. ")
    assert password not in said
    assert "quillfeather" not in said.lower()


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "seven quiet otters dancing",
        "uJ7#pW2q!xT9",
        "\u5f90\u5fae\u7684\u6e05\u98ce\u548c\u660e\u6708\u5149",
    ],
)
async def test_hard_ones_are_taken(strength: Strength, password: str) -> None:
    assert await refusal(strength, password) == ""


async def test_what_she_is_called_counts_for_her_only(strength: Strength) -> None:
    others = Strength()
    assert await refusal(strength, "Quillfeather.Zora") != ""
    await others.demand("ann", "Quillfeather.Zora", "password", ["ann@example.com", "Ann"])


async def test_many_at_once_do_not_mix_up_their_words(strength: Strength) -> None:
    """The library keeps the words of a person where every thread sees them."""

    async def one(name: str, password: str) -> bool:
        try:
            await strength.demand("ann", password, "password", [f"{name}@example.com"])
        except InvalidArgument:
            return False
        return True

    names = [f"{first}{second}" for first in ("zorblax", "quirbel", "vextrim") for second in ("nopf", "wuzzel", "jorm")]
    own = asyncio.gather(*(one(name, name) for name in names))
    strangers = asyncio.gather(*(one("ann", f"{name}") for name in names))
    assert not any(await own)
    assert all(await strangers)


async def test_two_servers_in_a_process_do_not_mix_up_their_words() -> None:
    servers = [Strength(), Strength()]

    async def is_taken(server: Strength, password: str, about: str) -> bool:
        try:
            await server.demand(about, password, "password", [about])
        except InvalidArgument:
            return False
        return True

    names = [f"zorblax{ending}" for ending in ("nopf", "wuzzel", "jorm", "quib")]
    own = asyncio.gather(*(is_taken(servers[n % 2], name, name) for n, name in enumerate(names)))
    strangers = asyncio.gather(*(is_taken(servers[(n + 1) % 2], name, "ann") for n, name in enumerate(names)))
    assert (await own, await strangers) == ([False] * 4, [True] * 4)


async def test_who_asks_without_end_waits_alone() -> None:
    strength = Strength(queue=4)

    async def outcome(payer: str, password: str) -> str:
        try:
            await strength.demand(payer, password, "password", ABOUT)
        except (InvalidArgument, ResourceExhausted) as error:
            return error.reason_name
        return "taken"

    crowd = [asyncio.ensure_future(outcome("ben", "0o" * 36)) for _ in range(40)]
    await asyncio.sleep(0)
    told = [await outcome("ann", "correct horse battery") for _ in range(3)]
    assert told == ["taken"] * 3
    assert Counter(await asyncio.gather(*crowd))["OVERLOADED"] >= 35


@pytest.mark.parametrize(
    "password",
    [
        "4@8({[<3691!|0$5+7%2xX" + "a" * 106,
        "4@8({[<3691!|0$5+7%2" * 6,
        "4@8({" * 25,
        "p@$$w0rd" * 16,
        "x" * 128,
        "qwertyuiop" * 12,
        "\U0001f511" * 128,
    ],
)
async def test_no_password_takes_long(strength: Strength, password: str) -> None:
    """Twelve seconds, if all that signs can stand for is tried; the bound leaves room for a busy machine."""
    began = time.thread_time(), time.perf_counter()
    await refusal(strength, password)
    assert time.perf_counter() - began[1] < 2.0
