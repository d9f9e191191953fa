"""How rates are written, and what the two numbers of a subject let through."""

from __future__ import annotations

import random

import pytest
from bulkhead_kit.rates import counters
from bulkhead_kit.rates.counters import Counter
from bulkhead_kit.rates.rate import Rate, parse, parse_methods


@pytest.mark.parametrize("text", ["60/minute", "5/second", "1000/hour"])
def test_a_rate_reads_as_it_was_written(text: str) -> None:
    assert str(parse(text)) == text


def test_off_is_no_rate() -> None:
    assert parse("off") is None
    assert parse_methods("Login=off,*=3/second") == {"Login": None, "*": Rate(3, 1)}


@pytest.mark.parametrize("text", ["", "60", "0/minute", "-1/minute", "60/day", "60 / minute", "1.5/second", "x/minute"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="60/minute"):
        parse(text)


@pytest.mark.parametrize("text", ["", "Login", "Login=", "=5/minute", "Login=1/hour,Login=2/hour", "a b=1/hour"])
def test_other_lists_of_methods_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_methods(text)


def admitted(counter: Counter, at: float, tries: int, subject: str = "a") -> int:
    got = 0
    for _ in range(tries):
        if counter.wait(subject, at) == 0:
            counter.count(subject)
            got += 1
    return got


def test_a_window_lets_its_number_through_and_the_next_as_the_last_fades() -> None:
    counter = Counter("test", Rate(60, 60))
    assert admitted(counter, 600.0, 100) == 60
    assert admitted(counter, 659.9, 100) == 0
    # A quarter of the next window is over, so a quarter of the last is forgotten.
    assert admitted(counter, 675.0, 100) == 15
    assert admitted(counter, 675.0, 100, "another") == 60


def test_what_is_two_windows_old_is_forgotten() -> None:
    counter = Counter("test", Rate(60, 60))
    assert [admitted(counter, at, 100) for at in (600.0, 720.0, 3000.0)] == [60, 60, 60]


def test_the_wait_is_exactly_long_enough(rng: random.Random) -> None:
    """Whatever was called before: a moment earlier the call is refused, then it is let through."""
    refused = 0
    for _ in range(300):
        counter = Counter("test", Rate(rng.randint(1, 20), rng.choice((1, 60))))
        at = rng.uniform(1000, 2000)
        for _ in range(60):
            at += rng.uniform(0, counter.rate.seconds / 10)
            wait = counter.wait("a", at)
            if wait == 0:
                counter.count("a")
                continue
            refused += 1
            assert wait <= 2 * counter.rate.seconds
            assert counter.wait("a", at + wait * 0.999 - 1e-6) > 0
            at += wait + 1e-6
            assert counter.wait("a", at) == 0
    assert refused > 1000


def test_on_average_nobody_gets_more_than_the_rate_and_never_twice_in_a_window(rng: random.Random) -> None:
    counter = Counter("test", Rate(30, 60))
    let_through = []
    for tick in range(200_000):
        at = 6000 + tick * 0.01
        if rng.random() < 0.2 and counter.wait("a", at) == 0:
            counter.count("a")
            let_through.append(at)
    assert 900 < len(let_through) <= 30 * (2000 / 60 + 1)
    for first, last in zip(let_through, let_through[60:], strict=False):
        assert last - first > 60


def test_memory_is_bounded_and_who_no_longer_fits_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MAX_SUBJECTS", 10)
    counter = Counter("test", Rate(2, 60))
    assert [admitted(counter, 600.0, 5, f"s{n}") for n in range(12)] == [2] * 10 + [5, 5]
    assert len(counter._count) == 10


def test_a_block_ends_with_its_time() -> None:
    counter = Counter("test", Rate(100, 60))
    assert counter.wait("a", 600.0) == 0
    counter.block("a", 610.0)
    assert (counter.wait("a", 604.0), counter.wait("b", 604.0), counter.wait("a", 610.0)) == (6.0, 0, 0)
