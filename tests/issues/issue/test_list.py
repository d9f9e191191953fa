"""ListIssues: filters, orders and pages, checked against the same question put to all issues in Python."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from bulkhead.issues.v1 import issue_pb2, project_pb2, workflow_pb2
from bulkhead_issues.issue import lists, rules
from bulkhead_kit.caller import Role

from tests.issues.support import as_app, stamp
from tests.support.builders import make_issue, make_label, make_project, statuses
from tests.support.client import refused
from tests.support.house import House, Tenant

Wanted = Callable[[Any], bool]


class World:
    """One project with issues of every kind, and another with one."""

    def __init__(self, tenant: Tenant, project_id: str, labels: list[str], issues: list[Any]) -> None:
        self.tenant = tenant
        self.project_id = project_id
        self.labels = labels
        self.issues = issues
        self.member = str(tenant.people[Role.MEMBER].user_id)


@pytest.fixture(name="world", scope="module")
async def fixture_world(house: House) -> World:
    tenant = await house.tenant("acme")
    project = await make_project(tenant.owner)
    other = await make_project(tenant.owner)
    await make_issue(tenant.owner, other.project_id, title="Elsewhere")
    labels = [(await make_label(tenant.owner)).label_id for _ in range(2)]
    ids = await statuses(tenant.owner)
    chosen = random.Random(7)
    issues = []
    for number in range(23):
        due = {"due_time": stamp(f"2026-03-{1 + number % 5:02}T00:00:00Z")} if number % 3 else {}
        made = await make_issue(
            tenant.member(Role.MEMBER if number % 2 else Role.ADMIN),
            project.project_id,
            title=f"{'Login' if number % 4 == 0 else 'Mast'} {number}",
            type=1 + number % 4,
            priority=number % 5,
            status_id=ids[1 + number % 3],
            assignee_id=str(tenant.people[Role.MEMBER].user_id) if number % 5 == 0 else "",
            label_ids=chosen.sample(labels, number % 3),
            **due,
        )
        issues.append(made)
    child = await make_issue(tenant.owner, project.project_id, parent_id=issues[0].issue_id)
    return World(tenant, project.project_id, labels, [*issues, child])


async def everything(world: World, **request: Any) -> list[Any]:
    found: list[Any] = []
    token = ""
    while True:
        page = await world.tenant.member(Role.VIEWER).issues.ListIssues(page_token=token, **request)
        found += page.issues
        token = page.next_page_token
        if not token:
            return found
        assert len(page.issues) == request["page_size"]


FILTERS: list[tuple[str, Callable[[World], Wanted]]] = [
    ('assignee_id = "{member}"', lambda w: lambda i: i.assignee_id == w.member),
    ('assignee_id != "{member}"', lambda w: lambda i: i.assignee_id != w.member),
    ("assignee_id:*", lambda _: lambda i: i.assignee_id != ""),
    ("-assignee_id:*", lambda _: lambda i: i.assignee_id == ""),
    ('reporter_id = "{member}"', lambda w: lambda i: i.reporter_id == w.member),
    ('label_id = "{label}"', lambda w: lambda i: w.labels[0] in i.label_ids),
    ('NOT label_id = "{label}"', lambda w: lambda i: w.labels[0] not in i.label_ids),
    ("label_id:*", lambda _: lambda i: len(i.label_ids) > 0),
    ("status_category = IN_PROGRESS", lambda _: lambda i: i.status_category == 3),
    ("status_category = (TODO OR BACKLOG)", lambda _: lambda i: i.status_category in (1, 2)),
    ("priority >= HIGH", lambda _: lambda i: i.priority >= project_pb2.PRIORITY_HIGH),
    ("type = BUG priority < HIGH", lambda _: lambda i: i.type == issue_pb2.ISSUE_TYPE_BUG and i.priority < 3),
    ("type = BUG OR type = EPIC AND priority = LOW", lambda _: lambda i: i.type in (2, 4) and i.priority == 1),
    ("number > 20", lambda _: lambda i: i.number > 20),
    ('due_time < "2026-03-03T00:00:00Z"', lambda _: lambda i: 0 < i.due_time.seconds < 1772496000),
    ('NOT due_time < "2026-03-03T00:00:00Z"', lambda _: lambda i: not 0 < i.due_time.seconds < 1772496000),
    ('create_time >= "2026-01-01"', lambda _: lambda _: True),
    ('resolve_time > "2026-01-01"', lambda _: lambda _: False),
    ('title:"Login*"', lambda _: lambda i: i.title.startswith("Login")),
    ('title = "Login 4"', lambda _: lambda i: i.title == "Login 4"),
    ('parent_id = "{parent}"', lambda w: lambda i: i.parent_id == w.issues[0].issue_id),
    ('title = "it\'s % _ \\"quoted\\""', lambda _: lambda _: False),
]


@pytest.mark.parametrize(("text", "wanted"), FILTERS, ids=[text for text, _ in FILTERS])
async def test_a_filter_finds_what_it_says(world: World, text: str, wanted: Callable[[World], Wanted]) -> None:
    asked = text.format(member=world.member, label=world.labels[0], parent=world.issues[0].issue_id)
    found = await everything(world, project_id=world.project_id, filter=asked, page_size=7)
    assert {one.issue_id for one in found} == {one.issue_id for one in filter(wanted(world), world.issues)}
    assert len({one.issue_id for one in found}) == len(found)


async def test_me_is_the_caller(world: World) -> None:
    reply = await world.tenant.member(Role.MEMBER).issues.ListIssues(filter="assignee_id = me", page_size=200)
    assert {one.assignee_id for one in reply.issues} == {world.member}


LAST = 2**62


def _back(issue_id: str) -> int:
    return -UUID(issue_id).int


ORDERS: list[tuple[str, Callable[[Any], Any]]] = [
    ("", lambda i: (-i.update_time.ToNanoseconds(), i.issue_id)),
    ("update_time", lambda i: (i.update_time.ToNanoseconds(), i.issue_id)),
    ("create_time", lambda i: (i.create_time.ToNanoseconds(), i.issue_id)),
    ("create_time desc", lambda i: (-i.create_time.ToNanoseconds(),)),
    ("number", lambda i: i.number),
    ("number desc", lambda i: -i.number),
    ("priority", lambda i: (i.priority, i.issue_id)),
    ("due_time", lambda i: (i.due_time.ToNanoseconds() if i.HasField("due_time") else LAST, i.issue_id)),
    ("due_time desc", lambda i: (-i.due_time.ToNanoseconds() if i.HasField("due_time") else LAST, _back(i.issue_id))),
    (
        "due_time desc, number",
        lambda i: (-i.due_time.ToNanoseconds() if i.HasField("due_time") else LAST, i.number),
    ),
    ("priority desc, number", lambda i: (-i.priority, i.number)),
]


@pytest.mark.parametrize(("order", "key"), ORDERS, ids=[order or "none" for order, _ in ORDERS])
@pytest.mark.parametrize("size", [1, 5, 24, 50])
async def test_pages_hold_every_issue_once_in_order(
    world: World, order: str, key: Callable[[Any], Any], size: int
) -> None:
    request = {"project_id": world.project_id, "order_by": order, "page_size": size}
    found: list[Any] = []
    token = ""
    while True:
        page = await world.tenant.owner.issues.ListIssues(page_token=token, **request)
        found += page.issues
        token = page.next_page_token
        if not token:
            break
    assert [one.number for one in found] == [one.number for one in sorted(world.issues, key=key)]


async def test_all_projects_are_listed_when_none_is_named(world: World) -> None:
    found = await everything(world, page_size=25)
    assert len(found) == len(world.issues) + 1


async def test_a_listed_issue_is_the_issue(world: World) -> None:
    found = await everything(world, project_id=world.project_id, page_size=24)
    assert sorted(found, key=lambda i: int(i.number)) == sorted(world.issues, key=lambda i: int(i.number))


async def test_wrong_questions_are_refused_with_their_place(world: World) -> None:
    api = world.tenant.owner.issues
    for text, position in (
        ("nothing = 1", "0"),
        ("priority = HUGE", "11"),
        ("number = abc", "9"),
        ("type = BUG AND (", "16"),
        ("label_id = 12", "11"),
        ('title > "a"', "0"),
    ):
        with refused("INVALID_ARGUMENT", "INVALID_FILTER") as refusal:
            await api.ListIssues(filter=text)
        assert refusal.metadata == {"position": position}
    for order in ("nothing", "number sideways", "number, number", "due_at"):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await api.ListIssues(order_by=order)
        assert refusal.fields == ["order_by"]
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await api.ListIssues(page_size=-1)


async def test_a_page_token_is_good_for_its_own_question_only(world: World) -> None:
    api = world.tenant.owner.issues
    token = (await api.ListIssues(project_id=world.project_id, page_size=2)).next_page_token
    again = await api.ListIssues(project_id=world.project_id, page_size=3, page_token=token)
    assert len(again.issues) == 3
    for request in (
        {"page_token": token},
        {"project_id": world.project_id, "page_token": token, "filter": "type = BUG"},
        {"project_id": world.project_id, "page_token": token, "order_by": "number"},
        {"project_id": world.project_id, "page_token": token, "show_deleted": True},
        {"project_id": world.project_id, "page_token": token[:-1]},
        {"project_id": world.project_id, "page_token": "AAAA"},
        {"project_id": world.project_id, "page_token": token.swapcase()},
    ):
        with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await api.ListIssues(**request)


async def test_a_page_of_long_issues_ends_before_its_message_is_too_long(tenant: Tenant, project: Any) -> None:
    for _ in range(4):
        await make_issue(tenant.owner, project.project_id, description="🛟" * 75_000)
    first = await tenant.owner.issues.ListIssues(project_id=project.project_id, order_by="number")
    assert (len(first.issues), bool(first.next_page_token)) == (2, True)
    second = await tenant.owner.issues.ListIssues(
        project_id=project.project_id, order_by="number", page_token=first.next_page_token
    )
    assert [one.number for one in (*first.issues, *second.issues)] == [1, 2, 3, 4]
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await tenant.owner.issues.BatchGetIssues(issue_ids=[one.issue_id for one in (*first.issues, *second.issues)])
    assert refusal.fields == ["issue_ids"]


async def test_a_title_is_found_in_either_of_unicodes_forms(tenant: Tenant, project: Any) -> None:
    forms = ("Cre\u0300me", "Cr\u00e8me")
    made = [await make_issue(tenant.owner, project.project_id, title=form) for form in forms]
    assert {issue.title for issue in made} == {"Cr\u00e8me"}
    for asked in [f"title{how}" for form in forms for how in (f' = "{form}"', f':"{form}*"')]:
        found = await tenant.owner.issues.ListIssues(project_id=project.project_id, filter=asked)
        assert {issue.issue_id for issue in found.issues} == {issue.issue_id for issue in made}


async def test_a_list_across_projects_is_read_in_its_order_and_not_sorted(house: House, tenant: Tenant) -> None:
    query = lists._list(False, lists.FILTERS.parse(""), lists.ORDERS.parse(""), show_deleted=False, after=False)
    parameters, formats = query.encode({"tenant_id": tenant.tenant_id, "limit": 51})
    async with as_app(house, tenant) as connection:
        # A handful of issues would be sorted whatever indexes there are.
        await connection.execute("set local enable_sort = off")
        told = connection.pgconn.exec_params(b"explain " + query.sql, parameters, param_formats=formats)
    plan = [(told.get_value(line, 0) or b"").decode() for line in range(told.ntuples)]
    assert [line for line in plan if "Index Scan using issues_of_tenant_by_update_idx" in line], plan
    assert not [line for line in plan if "Sort" in line], plan


def test_filters_name_the_contracts_values() -> None:
    for names, prefix, values in (
        (rules.TYPES, "ISSUE_TYPE_", issue_pb2.IssueType.items()),
        (rules.PRIORITIES, "PRIORITY_", project_pb2.Priority.items()),
        (rules.CATEGORIES, "STATUS_CATEGORY_", workflow_pb2.StatusCategory.items()),
    ):
        wanted = {name.removeprefix(prefix): number for name, number in values}
        wanted = {name: number for name, number in wanted.items() if number or "UNSPECIFIED" in names}
        assert names == wanted
