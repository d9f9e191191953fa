"""Whole archives with every oddity and their mixtures: all goes in, again changes nothing, a later version heals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bulkhead.issues.v1 import import_service_pb2, issue_pb2, workflow_pb2
from bulkhead_cli.importing import archive, sending
from bulkhead_kit import wire

from tests.issues.importing.archives import LABELS, Maker
from tests.issues.support import outbox
from tests.support.builders import make_project
from tests.support.house import House, Tenant
from tests.support.seeds import SEED

CATEGORIES = {
    (False, "OPEN"): workflow_pb2.STATUS_CATEGORY_BACKLOG,
    (True, "OPEN"): workflow_pb2.STATUS_CATEGORY_BACKLOG,
    (False, "CLOSED"): workflow_pb2.STATUS_CATEGORY_DONE,
    (True, "CLOSED"): workflow_pb2.STATUS_CATEGORY_CANCELLED,
    (True, "MERGED"): workflow_pb2.STATUS_CATEGORY_DONE,
}


class Target:
    """A project of a company of its own, read back by the services' own lists."""

    def __init__(self, house: House, tenant: Tenant, project_id: str, folder: Path) -> None:
        self.house, self.tenant, self.project_id = house, tenant, project_id
        self.file = folder / "archive.json"

    async def take(self, maker: Maker) -> sending.Report:
        self.file.write_text(json.dumps(maker.content()))
        found = archive.read(self.file)
        if not maker.has_ids:
            # As an operator does whose items have no ids, when the repository got another name.
            found = found.under("github/example/bilge-watch")

        async def stream() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
            for request in sending.requests(found, self.project_id):
                yield request

        report = sending.Report(found, await self.tenant.owner.issues.ImportItems(stream(), timeout=60))
        assert not report.failures
        return report

    async def events(self) -> int:
        return len(await outbox(self.house, self.tenant))

    async def compare(self, maker: Maker, labels: set[int]) -> None:
        """Everything that the maker says, and nothing else."""
        owner = self.tenant.owner.issues
        here = {one.number: one for one in (await owner.ListIssues(project_id=self.project_id, page_size=200)).issues}
        assert sorted(here) == sorted(maker.things)
        label_ids = {one.label_id: _place(one.name) for one in (await owner.ListLabels(page_size=200)).labels}
        assert sorted(label_ids.values()) == sorted(labels)
        members = (await self.tenant.owner.identity.ListMembers(page_size=200)).members
        names = {one.user_id: one.display_name for one in members} | {"": ""}
        for number, thing in maker.things.items():
            one = here[number]
            assert (one.title, one.description) == (thing.title, thing.body), number
            assert (names[one.reporter_id], names[one.assignee_id]) == (thing.author, thing.assignee)
            assert {label_ids[label] for label in one.label_ids} == thing.labels
            assert one.status_category == CATEGORIES[thing.is_pull, thing.state], (number, thing.raw)
            ended = wire.to_datetime(one.resolve_time) if one.HasField("resolve_time") else None
            assert ended == thing.closed_at, (number, thing.raw)
            assert (one.type == issue_pb2.ISSUE_TYPE_PULL_REQUEST) == thing.is_pull
            comments = (await owner.ListComments(issue_id=one.issue_id, page_size=200)).comments
            said = [*thing.comments, *thing.left]
            assert Counter((c.body, names[c.author_id]) for c in comments) == Counter((s.body, s.author) for s in said)


def _place(name: str) -> int:
    return [known.casefold() for known in LABELS].index(name.casefold())


async def tell(house: House, folder: Path, seed: str) -> None:
    tenant = await house.tenant("acme")
    target = Target(house, tenant, (await make_project(tenant.owner)).project_id, folder)
    maker = Maker(seed)
    first = await target.take(maker)
    await target.compare(maker, labels := maker.labels)
    answer = first.answer
    assert (answer.issues.created, answer.labels.created) == (len(maker.things), len(labels))
    assert answer.comments.created == sum(len(one.comments) for one in maker.things.values()) == first.archive.comments
    people = {one.author for one in maker.things.values()} | {one.assignee for one in maker.things.values()} - {""}
    people |= {said.author for one in maker.things.values() for said in one.comments}
    assert answer.authors == len(people) == len(first.archive.authors)
    for _ in range(2):
        events = await target.events()
        assert (await target.take(maker)).changed == 0
        assert await target.events() == events
        await target.compare(maker, labels)
        maker.later()
        labels |= maker.labels
        await target.take(maker)
        await target.compare(maker, labels)
    events = await target.events()
    assert (await target.take(maker)).changed == 0
    assert await target.events() == events


@pytest.mark.parametrize("place", range(12))
async def test_an_odd_archive_goes_in_whole(house: House, tmp_path: Path, place: int, rng: Any) -> None:
    await tell(house, tmp_path, f"{SEED}:{place}:{rng.random()}")


@pytest.mark.soak
@pytest.mark.parametrize("place", range(200))
async def test_two_hundred_odd_archives_go_in_whole(house: House, tmp_path: Path, place: int) -> None:
    await tell(house, tmp_path, f"archive {place}")
