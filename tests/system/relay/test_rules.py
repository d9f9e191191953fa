"""The relay's pure parts: when it tries again, and what it cuts."""

from __future__ import annotations

import hashlib
import json
from uuid import UUID

import pytest
from bulkhead_audit.event import encoding
from bulkhead_kit import canonical_json
from bulkhead_kit.ids import PLATFORM_LOG
from bulkhead_kit.outbox.large_values import KEPT, cut_to
from bulkhead_kit.outbox.messages import MAX_EVENTS
from bulkhead_kit.outbox.tenants import LATEST, PARKED_LONGEST, Gate, Tenant, Turns, parking_time, pause
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(1, 1000), st.floats(0, 1))
def test_pauses_grow_to_a_limit_and_differ(failures: int, drawn: float) -> None:
    seconds = pause(failures, lambda: drawn)
    assert 0.05 <= seconds <= LATEST
    assert pause(failures, lambda: 0.0) < pause(failures, lambda: 1.0)
    assert pause(failures + 1, lambda: drawn) >= seconds


def test_a_parked_tenant_is_tried_after_half_a_minute_then_ever_later_up_to_an_hour() -> None:
    assert [parking_time(attempts) for attempts in (1, 2, 3)] == [30.0, 60.0, 120.0]
    assert parking_time(500) == PARKED_LONGEST == 3600.0


@given(st.integers(0, MAX_EVENTS - 1))
def test_halving_finds_the_row_that_is_refused(poisoned: int) -> None:
    """A queue of rows of which one is refused: all before it go, in a few calls, and then it is alone."""
    tenant, at, calls = Tenant(), 0, 0
    while True:
        calls += 1
        if at <= poisoned < at + tenant.rows:
            if tenant.refused(0.0):
                break
        else:
            at += tenant.rows
            tenant.delivered()
    assert at == poisoned
    assert calls < 120


def test_a_parked_tenant_starts_again_with_one_row() -> None:
    tenant = Tenant()
    assert tenant.parked(100.0) == 30.0
    assert (tenant.rows, tenant.not_before, tenant.attempts) == (1, 130.0, 1)
    for _ in range(20):
        tenant.delivered()
    assert tenant.rows == MAX_EVENTS


MANY, ONE = (UUID(int=n) for n in (1001, 1002))


def served(turns: Turns, count: int, now: float = 0.0) -> list[int]:
    """Whose batches go, each done before the next."""
    chosen = [turns.next(now, ()) for _ in range(count)]
    return [one[0].int for one in chosen if one is not None]


def test_who_fills_many_tenants_has_one_turn_and_so_has_everybody_else() -> None:
    turns = Turns(4)
    for n in range(2, 402):
        turns.know(UUID(int=n), MANY)
    assert served(turns, 3) == [2, 3, 4]
    turns.know(UUID(int=500), ONE)
    turns.know(UUID(int=501), None)
    turns.know(PLATFORM_LOG, MANY)
    log = PLATFORM_LOG.int
    assert served(turns, 9) == [5, 500, 501, log, 6, 500, 501, log, 7]


def test_one_cause_never_takes_all_that_are_served_at_once() -> None:
    turns = Turns(4)
    busy: set[UUID] = set()
    for n in range(2, 402):
        turns.know(UUID(int=n), MANY)
    while (chosen := turns.next(0.0, busy)) is not None:
        busy.add(chosen[0])
    assert (len(busy), turns.due(busy)) == (4, [])
    turns.know(UUID(int=500), ONE)
    assert turns.due(busy) == [0.0]
    assert turns.next(0.0, busy) == (UUID(int=500), Tenant())


def test_a_tenant_keeps_what_is_remembered_when_another_causes_its_next_row() -> None:
    turns = Turns(4)
    tenant = turns.know(UUID(int=5), MANY)
    tenant.not_before = 7.0
    assert turns.know(UUID(int=5), ONE) is tenant is turns.find(UUID(int=5))
    assert (len(turns), list(turns), turns.next(6.0, ())) == (1, [UUID(int=5)], None)
    assert turns.next(7.0, ()) == (UUID(int=5), tenant)
    assert turns.forget(UUID(int=5)) is tenant
    assert (len(turns), turns.find(UUID(int=5)), turns.forget(UUID(int=5)), turns._causes) == (0, None, None, {})


def test_the_gate_lets_one_try_before_it_lets_all() -> None:
    gate = Gate()
    assert gate.width(0.0, 8) == 8
    gate.missed(0.0, lambda: 1.0)
    assert gate.width(0.05, 8) == 0
    # Seven others were under way when audit went: that says no more than the first.
    gate.missed(0.05, lambda: 1.0)
    assert gate.failures == 1
    assert gate.width(0.11, 8) == 1
    gate.missed(0.11, lambda: 1.0)
    assert gate.width(0.22, 8) == 0
    gate.reached()
    assert gate.width(0.22, 8) == 8


_texts = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), max_size=50)
_values = st.one_of(st.none(), st.integers(), _texts.map(lambda text: text * 400), st.lists(_texts, max_size=300))


@given(st.dictionaries(_texts, st.tuples(_values, _values).map(list), max_size=6), st.integers(20_000, 60_000))
def test_what_is_cut_fits_and_tells_what_it_was(changes: dict[str, list[object]], limit: int) -> None:
    text = cut_to(limit, json.dumps(changes))
    parsed = encoding.parse_changes(text, "changes_json")
    assert [one.field for one in parsed] == canonical_json.in_order(dict.fromkeys(changes))
    # What is left of each of its values, where every one had to be cut.
    assert len(text.encode()) <= max(limit, len(changes) * 2 * (3 * KEPT + 400)) + 400
    for one in parsed:
        for kept, cut, whole in zip((one.old, one.new), (one.old_cut, one.new_cut), changes[one.field], strict=True):
            spelled = canonical_json.canonical(canonical_json.parse(json.dumps(whole)))
            if cut is None:
                assert kept == spelled
            else:
                assert cut.size_bytes == len(spelled.encode())
                assert cut.sha256 == hashlib.sha256(spelled.encode()).hexdigest()
                assert spelled.startswith(json.loads(kept))


@given(st.dictionaries(_texts, st.tuples(_values, _values).map(list), max_size=4))
def test_what_fits_is_left_as_it_is(changes: dict[str, list[object]]) -> None:
    assert json.loads(cut_to(10**9, json.dumps(changes))) == changes


@pytest.mark.parametrize("text", ["[]", '{"a": 1}', '{"a": [1]}', '{"a": [1, 2, {}]}', "{"])
def test_what_are_no_changes_is_not_cut(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        cut_to(10, text)
