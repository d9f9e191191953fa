"""Nothing is lost, doubled or misplaced, whatever is killed: the clients' own account against the log."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from bulkhead_kit import clock
from bulkhead_kit.ids import new_id

from tests.system.relay.kills import Killer, demand_kills, report
from tests.system.relay.ledger import Account, Clients, Logged, compare, read_log
from tests.system.site import Site

PATIENCE = 60.0


async def prove(site: Site, rng: random.Random, *, changes: int, plan: dict[str, int], pause: float = 0.0) -> str:
    clients = Clients(site, rng)
    killer = Killer(site, clients, rng)
    began = clock.monotonic()
    try:
        await clients.open_accounts(3)
        async with asyncio.TaskGroup() as group:
            group.create_task(clients.work(changes, clients=12, pause=pause, done=killer.done))
            group.create_task(killer.run(plan, changes))
        worked = clock.monotonic() - began
        await delivered(site)
        events = verify(site, clients)
    finally:
        await clients.close()
    demand_kills(killer.kills, plan)
    return (
        f"{clients.changes} changes, {events} events, {worked:.0f} s of work, delivered after"
        f" {clock.monotonic() - began - worked:.1f} s more, calls repeated: {dict(clients.repeats)}\n"
        + report(killer.kills)
    )


async def delivered(site: Site) -> None:
    ends = clock.monotonic() + PATIENCE
    with site.admin() as connection:
        while left := connection.execute("select count(*) from issues.outbox").fetchall()[0][0]:
            site.demand_alive()
            assert clock.monotonic() < ends, f"{left} rows are not delivered: {site.words('relay one')}"
            await asyncio.sleep(0.1)


def verify(site: Site, clients: Clients) -> int:
    with site.admin() as connection:
        parked = connection.execute("select tenant_id, last_error from issues.outbox_parked").fetchall()
        assert parked == []
        count = 0
        for account in clients.accounts:
            size, events = read_log(connection, account.tenant_id)
            compare(size, events, account)
            count += size
        return count


async def test_a_few_kills(tmp_path: Path, rng: random.Random) -> None:
    with Site(tmp_path).started() as site:
        plan = {"relay": 1, "audit": 1, "issues": 1}
        print(await prove(site, rng, changes=200, plan=plan, pause=0.15))


@pytest.mark.soak
async def test_twenty_thousand_changes_and_sixty_five_kills(tmp_path: Path, rng: random.Random) -> None:
    with Site(tmp_path).started() as site:
        plan = {"relay": 20, "audit": 20, "issues": 20, "postgres": 5}
        print(await prove(site, rng, changes=20_000, plan=plan))


def sample() -> tuple[list[Logged], Account]:
    """An issue named three times, and a comment."""
    account = Account(new_id(), "")
    account.titles["one"] = 3
    account.comments["two"] = "text"
    names: list[str | None] = [None, "0", "1", "2"]
    events = [
        Logged(seq, new_id(), ("issue", "one", ""), "issue.updated", {"title": list(pair)})
        for seq, pair in enumerate(pairwise(names), 1)
    ]
    events.append(Logged(4, new_id(), ("comment", "two", ""), "comment.created", {"body": [None, "text"]}))
    return events, account


def renumbered(events: list[Logged]) -> list[Logged]:
    return [replace(event, seq=seq) for seq, event in enumerate(events, 1)]


def test_the_comparison_passes_what_is_right() -> None:
    events, account = sample()
    compare(4, events, account)


@pytest.mark.parametrize("at", range(4))
def test_the_comparison_finds_what_is_lost_doubled_forged_or_misplaced(at: int) -> None:
    events, account = sample()
    for wrong in (
        [*events[:at], *events[at + 1 :]],
        [*events[: at + 1], replace(events[at], event_id=new_id()), *events[at + 1 :]],
        [
            *events,
            replace(
                events[at],
                event_id=new_id(),
                entity=("comment", "forged", ""),
                action="comment.created",
                changes={"body": [None, ""]},
            ),
        ],
        [*events[:at], replace(events[at], changes={"title": ["?", "?"]}), *events[at + 1 :]],
    ):
        with pytest.raises(AssertionError):
            compare(len(wrong), renumbered(wrong), account)
    with pytest.raises(AssertionError):
        compare(4, [*events[:at], *events[at + 1 :]], account)
    if at < 2:
        swapped = [*events[:at], events[at + 1], events[at], *events[at + 2 :]]
        with pytest.raises(AssertionError):
            compare(4, renumbered(swapped), account)
