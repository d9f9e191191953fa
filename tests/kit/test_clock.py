from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from bulkhead_kit import clock


def test_now_has_a_zone_and_is_the_system_time() -> None:
    assert clock.now().tzinfo is UTC
    assert abs(clock.now().timestamp() - clock.unix()) < 1


def test_a_manual_clock_stands_still_and_moves_both_hands() -> None:
    hands = clock.ManualClock(datetime(2026, 1, 2, 12, tzinfo=timezone(timedelta(hours=2))))
    with clock.replaced(hands):
        assert clock.now() == datetime(2026, 1, 2, 10, tzinfo=UTC)
        before = clock.monotonic()
        hands.advance(1.5)
        assert clock.monotonic() - before == 1.5
        assert clock.now() == datetime(2026, 1, 2, 10, 0, 1, 500_000, tzinfo=UTC)
        assert clock.unix() == clock.now().timestamp()
    assert clock.now().year >= 2026
    assert clock.monotonic() != hands.monotonic()


def test_the_clock_is_put_back_after_an_error() -> None:
    hands = clock.ManualClock(datetime(1999, 1, 1, tzinfo=UTC))
    with pytest.raises(KeyError), clock.replaced(hands):
        raise KeyError
    assert clock.now().year > 1999


def test_a_manual_clock_refuses_what_no_clock_does() -> None:
    with pytest.raises(ValueError, match="zone"):
        clock.ManualClock(datetime(2026, 1, 1))  # noqa: DTZ001 - the refusal of just this is tested
    with pytest.raises(ValueError, match="back"):
        clock.ManualClock(datetime(2026, 1, 1, tzinfo=UTC)).advance(-1)
