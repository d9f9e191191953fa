"""Reading GitHub archives: what is taken, and that a broken file is refused by the place before anything is sent."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from bulkhead.issues.v1 import import_pb2, import_service_pb2, issue_pb2
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.errors import MendableError
from bulkhead_cli.importing import archive, github, sending
from bulkhead_cli.importing.command import import_github_archive

from tests.issues.importing.sample import comment, counts, issue
from tests.issues.support import stamp
from tests.support.house import Tenant

WHEN = "2025-03-01T09:00:00Z"
LATER = "2025-03-04T08:00:00Z"


def item(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "number": number,
        "id": f"I{number}",
        "title": f"Item {number}",
        "state": "OPEN",
        "author": "mira",
        "assignees": [],
        "labels": ["bug"],
        "body": "Body",
        "createdAt": WHEN,
        "updatedAt": LATER,
        "closedAt": None,
        "comments": [],
        **fields,
    }


def said(author: str | None, body: str = "Said", when: str = WHEN) -> dict[str, Any]:
    return {"author": author, "body": body, "createdAt": when, "updatedAt": when}


CONTENT: dict[str, Any] = {
    "magic": github.MAGIC,
    "timestamp": "2025-07-29T02:08:04.104637+00:00",
    "repo": "example/bilge-watch",
    "labels": [{"name": "bug", "description": "Wrong", "color": "D73A4A"}],
    "issues": [
        item(2, comments=[said("jonas"), said("jonas"), said(None, " ")]),
        item(5, state="CLOSED", closedAt=LATER, assignees=["sefa", "jonas"], body=None, title=" \r\n "),
    ],
    "pulls": [
        item(1, state="MERGED", closedAt=LATER, mergedAt=LATER, mergedBy="ana", reviews=[{}, {}]),
        item(3, state="CLOSED", closedAt=LATER, mergedAt=None, reviews=[], labels=["bug", "bug"]),
        item(4, mergedAt=None, reviews=[{}], body="a\x00b\r\nc\x1b"),
    ],
}


def test_what_an_archive_holds() -> None:
    found = archive.parse(CONTENT)
    assert (found.name, found.source) == ("example/bilge-watch", "github/example/bilge-watch")
    assert (len(found.issues), found.pull_requests, found.comments, found.reviews) == (5, 3, 3, 3)
    assert found.authors == {"mira", "jonas", "ghost", "sefa"}
    assert [one.number for one in found.issues] == [1, 2, 3, 4, 5]
    assert [one.state for one in found.issues] == [
        import_pb2.IMPORT_STATE_DONE,
        import_pb2.IMPORT_STATE_OPEN,
        import_pb2.IMPORT_STATE_CANCELLED,
        import_pb2.IMPORT_STATE_OPEN,
        import_pb2.IMPORT_STATE_DONE,
    ]
    merged, _, rejected, opened, closed = found.issues
    assert merged.type == issue_pb2.ISSUE_TYPE_PULL_REQUEST
    assert merged.close_time == stamp(LATER)
    assert list(rejected.label_names) == ["bug"]
    assert opened.description == "a\N{REPLACEMENT CHARACTER}b\nc\N{REPLACEMENT CHARACTER}"
    assert (closed.title, closed.description, closed.assignee) == ("(without title)", "", "sefa")
    assert not opened.HasField("close_time")
    assert found.labels[0].color == "#d73a4a"


def test_comments_get_names_that_stay_the_same() -> None:
    again = copy.deepcopy(CONTENT)
    again["issues"][0]["comments"].append(said("ana", when=LATER))
    first, second = (archive.parse(content).issues[1].comments for content in (CONTENT, again))
    names = [one.external_id for one in first]
    assert len(set(names)) == 3
    assert [one.external_id for one in second][:3] == names
    assert first[2].body == "(empty)"


def wrong(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], "the file"),
        (wrong(lambda c: c.update(magic="other")), "magic"),
        (wrong(lambda c: c.pop("pulls")), "pulls"),
        (wrong(lambda c: c.update(repo="no slash")), "repo"),
        (wrong(lambda c: c["issues"][1].update(createdAt="yesterday")), "issues[1].createdAt"),
        (wrong(lambda c: c["issues"][1].update(createdAt="2025-03-01T09:00:00")), "issues[1].createdAt"),
        (wrong(lambda c: c["pulls"][0].update(state="LOST")), "pulls[0].state"),
        (wrong(lambda c: c["issues"][0]["comments"][1].pop("body")), "issues[0].comments[1].body"),
        (wrong(lambda c: c["issues"][0].update(number=0)), "issues[0].number"),
        (wrong(lambda c: c["issues"][0].update(number="seven")), "issues[0].number"),
        (wrong(lambda c: c["labels"][0].update(color="red")), "labels[0].color"),
        (wrong(lambda c: c["pulls"][0].update(number=2)), "the file: Value error, number 2 is there twice"),
    ],
)
def test_a_broken_file_is_refused_by_the_place(tmp_path: Path, content: Any, place: str) -> None:
    file = tmp_path / "archive.json"
    file.write_text(json.dumps(content))
    with pytest.raises(MendableError, match="Nothing was imported") as caught:
        archive.read(file)
    assert f"\n  {place}" in caught.value.what


def test_a_file_that_is_cut_or_missing_is_refused_before_anybody_is_called(tmp_path: Path) -> None:
    nowhere = Endpoints(0, "", {}, {}, "", {}, "", "", "")
    cut = tmp_path / "cut.json"
    cut.write_text(json.dumps(CONTENT)[:-20])
    for file in (cut, tmp_path / "missing.json"):
        with pytest.raises(MendableError):
            import_github_archive(nowhere, file, tenant="acme", project="HULL", email="a@b.example", password="x")


def test_an_item_too_large_for_a_message_is_split() -> None:
    large = issue(1, comments=[comment(number, body="x" * 1000) for number in range(50)])
    parts = list(sending.split(large, 10_000))
    assert len(parts) > 5
    assert all(part.ByteSize() < 10_100 for part in parts)
    assert parts[0].issue.more_comments_follow
    follow = [part.more_comments.more_comments_follow for part in parts[1:]]
    assert follow == [True] * (len(follow) - 1) + [False]
    sent = [*parts[0].issue.comments, *(one for part in parts[1:] for one in part.more_comments.comments)]
    assert sent == list(large.comments)
    assert [part.issue for part in sending.split(large)] == [large]
    # A comment that alone is longer still goes, by itself.
    longer = issue(1, comments=[comment(1, body="x" * 20_000), comment(2)])
    assert [len(part.more_comments.comments) for part in sending.split(longer, 10_000)] == [0, 1, 1]


async def test_a_split_item_goes_in_whole(tenant: Tenant, project: Any) -> None:
    large = issue(1, comments=[comment(number, body="x" * 1000) for number in range(50)])

    async def stream() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
        yield import_service_pb2.ImportItemsRequest(
            options=import_service_pb2.ImportOptions(project_id=project.project_id, source="github/a/b")
        )
        for part in sending.split(large, 10_000):
            yield part

    report = await tenant.owner.issues.ImportItems(stream())
    assert (counts(report.issues), counts(report.comments)) == ((1, 0, 0), (50, 0, 0))


async def test_an_archive_goes_in_and_a_second_time_changes_nothing(tenant: Tenant, project: Any) -> None:
    found = archive.parse(CONTENT)

    async def run() -> sending.Report:
        async def stream() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
            for request in sending.requests(found, project.project_id):
                yield request

        return sending.Report(found, await tenant.owner.issues.ImportItems(stream()))

    first, second = await run(), await run()
    assert not first.failures
    assert (first.changed, first.answer.authors) == (1 + 5 + 3, 4)
    assert (second.changed, second.failed) == (0, 0)
    assert "3 reviews not taken" in second.line()
    assert json.loads(second.to_json())["issues"] == {"created": 0, "updated": 0, "unchanged": 5}
