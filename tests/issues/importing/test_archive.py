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
from bulkhead_cli.importing import archive, github, items, nodes, sending, texts
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


def test_comments_have_no_names_of_their_own() -> None:
    """A login is none, and the format gives no other: the service tells them apart."""
    comments = archive.parse(CONTENT).issues[1].comments
    assert [one.external_id for one in comments] == [""] * 3
    assert comments[2].body == "(empty)"


def wrong(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], "the file"),
        (wrong(lambda c: c.update(magic="other")), "magic"),
        (wrong(lambda c: (c.pop("issues"), c.pop("pulls"))), "the file"),
        (wrong(lambda c: c.update(repo="no slash")), "repo"),
        (wrong(lambda c: c["issues"][0].pop("number")), "issues[0].number"),
        (wrong(lambda c: (c["pulls"][1].pop("createdAt"), c["pulls"][1].pop("updatedAt"))), "pulls[1]"),
        (wrong(lambda c: c["issues"][0]["comments"][1].update(body=7)), "issues[0].comments[1].body"),
        (wrong(lambda c: c["issues"][1].update(createdAt="0001-01-01T00:00:00+23:00")), "issues[1].createdAt"),
        (wrong(lambda c: c["issues"][1].update(createdAt="yesterday")), "issues[1].createdAt"),
        (wrong(lambda c: c["issues"][1].update(createdAt="2025-03-01T09:00:00")), "issues[1].createdAt"),
        (wrong(lambda c: c["issues"][0].update(number=0)), "issues[0].number"),
        (wrong(lambda c: c["issues"][0].update(number="seven")), "issues[0].number"),
    ],
)
def test_a_broken_file_is_refused_by_the_place(tmp_path: Path, content: Any, place: str) -> None:
    file = tmp_path / "archive.json"
    file.write_text(json.dumps(content))
    with pytest.raises(MendableError, match="Nothing was imported") as caught:
        archive.read(file)
    assert f"\n  {place}" in caught.value.what


def repaired(change: Callable[[dict[str, Any]], object]) -> tuple[archive.Archive, dict[str, int]]:
    found = archive.parse(wrong(change))
    return found, dict(found.repairs.numbers)


def test_a_sound_file_is_taken_as_it_is_but_for_what_nobody_sees() -> None:
    said = archive.parse(CONTENT).repairs
    assert dict(said.numbers) == {texts.NOTHING: 2, texts.CONTROL: 1}
    assert said.places[texts.NOTHING] == ["#2 comment 3: (empty)", "#5 title: (without title)"]


def test_only_a_number_and_a_time_have_to_be_there() -> None:
    bare: dict[str, Any] = {"magic": github.EARLIER_MAGIC, "repo": "a/b", "issues": [{"number": 7, "createdAt": WHEN}]}
    bare["issues"] += [{"number": 8, "updatedAt": LATER, "comments": [{}]}]
    found = archive.parse(bare)
    first, second = found.issues
    assert (first.external_id, first.author, first.title, first.update_time) == (
        "issue/7",
        "ghost",
        "(without title)",
        stamp(WHEN),
    )
    assert (second.comments[0].author, second.comments[0].body, second.create_time) == (
        "ghost",
        "(empty)",
        stamp(LATER),
    )
    assert found.authors == {"ghost"}


def test_who_is_not_named_is_a_ghost() -> None:
    found, _ = repaired(
        lambda c: (
            c["issues"][0].pop("author"),
            c["issues"][0]["comments"][0].pop("author"),
            c["issues"][0]["comments"][1].update(author="\u200b"),
            c["pulls"][0].update(author={"login": "wrapped"}),
        )
    )
    assert [found.issues[1].author, *(one.author for one in found.issues[1].comments)] == ["ghost"] * 4
    assert found.issues[0].author == "wrapped"


def test_labels_that_only_items_have_are_added_and_those_that_read_the_same_are_one() -> None:
    found, said = repaired(
        lambda c: (
            c["labels"].extend(
                [
                    {"name": "BU\u200bG", "color": "000000"},
                    {"name": "blank", "color": "red"},
                    {"name": "\u3164", "color": "111111"},
                ]
            ),
            c["issues"][0].update(labels=["Bug", "gone", "GONE", "stra\u00dfe", "STRASSE"]),
            c["pulls"][0].update(labels=["gone"]),
        )
    )
    assert [(one.name, one.color) for one in found.labels] == [
        ("bug", "#d73a4a"),
        ("blank", ""),
        ("(without name)", "#111111"),
        ("gone", ""),
        ("stra\u00dfe", ""),
    ]
    assert list(found.issues[1].label_names) == ["bug", "gone", "stra\u00dfe"]
    assert list(found.issues[0].label_names) == ["gone"]
    assert (said[items.ADDED], said[items.SAME], said[items.COLOR]) == (2, 1, 1)
    assert found.repairs.places[items.ADDED] == ["gone", "stra\u00dfe"]


def test_times_and_states_that_cannot_be_are_moved() -> None:
    early = "2020-01-01T00:00:00Z"
    found, said = repaired(
        lambda c: (
            c["issues"][0].update(updatedAt=early),
            c["issues"][1].update(closedAt=early),
            c["pulls"][0].update(state="LOST"),
            c["pulls"][1].update(closedAt=None),
            c["pulls"][2].pop("state"),
        )
    )
    merged, updated, rejected, opened, closed = found.issues
    assert (updated.update_time, closed.close_time, rejected.close_time) == (stamp(WHEN), stamp(WHEN), stamp(LATER))
    assert (merged.state, opened.state) == (import_pb2.IMPORT_STATE_DONE, import_pb2.IMPORT_STATE_OPEN)
    assert (said[items.TIMES], said[items.STATE]) == (3, 2)


def test_of_an_item_that_is_there_twice_the_later_counts() -> None:
    other = {**CONTENT["issues"][0], "title": "Later", "updatedAt": "2025-04-01T00:00:00Z"}
    found, said = repaired(lambda c: c["issues"].insert(0, other))
    assert (len(found.issues), found.issues[1].title, said[archive.TWICE]) == (5, "Later", 1)


def test_texts_longer_than_anything_are_cut_and_named() -> None:
    found, said = repaired(lambda c: c["issues"][0].update(title="t" * 501, body="b" * 65_536))
    assert (len(found.issues[1].title), len(found.issues[1].description), said[texts.CUT]) == (500, 65_536, 1)


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude80", "\\ude80\\ud83d"])
def test_half_a_letter_is_replaced_and_said(tmp_path: Path, half: str) -> None:
    file = tmp_path / "archive.json"
    file.write_text(json.dumps(CONTENT).replace("Body", f"Cut {half}").replace("Wrong", "Whole \\ud83d\\ude80"))
    found = archive.read(file)
    assert found.issues[0].description == "Cut " + "\N{REPLACEMENT CHARACTER}" * (len(half) // 6)
    assert found.labels[0].description == "Whole \N{ROCKET}"
    assert found.repairs.numbers[texts.SURROGATE] == 3
    assert found.repairs.places[texts.SURROGATE][0] == "issues[0].body"


def test_bytes_that_are_no_letters_are_replaced_and_said(tmp_path: Path) -> None:
    file = tmp_path / "archive.json"
    file.write_bytes(json.dumps(CONTENT).encode().replace(b"Body", "Cut \N{ROCKET}".encode()[:-2]))
    found = archive.read(file)
    assert found.issues[0].description == "Cut \N{REPLACEMENT CHARACTER}"
    assert texts.SURROGATE in found.repairs.numbers


def test_both_forms_of_a_node_id_are_one() -> None:
    for earlier, later in (
        ("MDU6SXNzdWUxMDc3MzI1MjI3", "I_kwDOB-yxNc5ANq2r"),
        ("MDExOlB1bGxSZXF1ZXN0ODE0MTU2NjU2", "PR_kwDOB-yxNc4whwtw"),
    ):
        assert nodes.canonical(later) == earlier == nodes.canonical(earlier)
        assert nodes.is_node_id(earlier)
        assert nodes.is_node_id(later)
    for other in ("I1", "I_", "PR_x", "I_kwDOB-yxNc5A", "issue/7", "MDU6SXNzdWU=", "", "\N{ROCKET}"):
        assert nodes.canonical(other) == other
        assert not nodes.is_node_id(other)


def test_a_file_nested_too_deep_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    file.write_text("[" * 200_000)
    with pytest.raises(MendableError, match="Nothing was imported"):
        archive.read(file)


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
