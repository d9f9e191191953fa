"""Bad masks, filters and page tokens, for every RPC that takes one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.api import field_behavior_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask

from tests.isolation.rpc_probes import name_of
from tests.isolation.world import Company
from tests.support.builders import make_comment, make_project, make_workspace
from tests.system.calls import METHODS, Answer, Good, Twin, demand, every
from tests.system.fields import named, places

Request = Any


def with_mask(request: Request, *paths: str) -> Request:
    made = type(request)()
    made.CopyFrom(request)
    made.update_mask.CopyFrom(FieldMask(paths=paths))
    return made


@every(lambda method: named(method, "update_mask"))
async def test_masks(method: MethodDescriptor, harmless: Good) -> None:
    resource = method.input_type.fields[0].message_type
    assert resource is not None
    fixed = [
        field.name
        for field in resource.fields
        if field_behavior_pb2.OUTPUT_ONLY in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    ]
    assert fixed
    unknown = ["nothing", "", ".", "TITLE", "name.first", "metadata.fields", "update_mask", "\0", "🦀", "x" * 9_000]
    async with harmless(method) as twin:
        for path in [*unknown, *fixed, f"{resource.name.lower()}_id", "etag"]:
            answer = await twin.ask(with_mask(twin.request, path))
            demand(answer, "INVALID_UPDATE_MASK", "update_mask", path)
            assert answer.metadata["path"] == path[:100] or len(path) > 100
        for paths in (["*", resource.fields[5].name], ["nothing"] * 101):
            demand(await twin.ask(with_mask(twin.request, *paths)), "INVALID_UPDATE_MASK", "update_mask", paths)


FILTERS = {
    # Where reading it stops making sense.
    "nothing = 1": 0,
    "= 1": 0,
    "ünknown = 1": 0,
    "a 1": 2,
    "a = ": 4,
    "a = (": 5,
    'a = "x': 4,
    'a = "\\q"': 5,
    "a = \x07": 4,
    "a = \0": 4,
    "a = 1)": 5,
    "a = 1 AND": 9,
    "a = (1 OR 2 AND 3)": 4,
    "(" * 21 + "a = 1" + ")" * 21: 20,
    " OR ".join(["a = 1"] * 51): 450,
    "NOT NOT a = 1": 4,
    "f(a)": 1,
    "' OR 1=1 --": 0,
}


@every(lambda method: named(method, "filter"))
async def test_filters(method: MethodDescriptor, harmless: Good) -> None:
    place = named(method, "filter")
    assert place is not None
    async with harmless(method) as twin:
        for text, position in FILTERS.items():
            answer = await twin.ask(place.put(twin.request, text))
            demand(answer, "INVALID_FILTER", "filter", text)
            assert answer.metadata == {"position": str(position)}, f"{text} gave {answer}"
        demand(await twin.ask(place.put(twin.request, "a" * 2001)), "INVALID_FIELD", "filter", "2001 characters")


LARGE = ["99999999999999999999", "-99999999999999999999", "1e400", "NaN", "0x10", "١"]
TIMES = ["0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "infinity", "now", "epoch"]
WRONG_VALUES = {
    "IssueService/ListIssues": [
        *(f"number = {value}" for value in LARGE),
        *(f'due_time < "{value}"' for value in TIMES),
        "label_id = acme",
        "assignee_id = 1",
        "type = 1",
        "priority = ANY",
        "title < x",
        'title : "*x*"',
    ],
    "AuditService/ListEvents": [
        *(f'occur_time >= "{value}"' for value in TIMES),
        "actor_id = acme",
        "entity_id = 1",
        "actor_type = CAT",
    ],
    "MembershipService/ListMembers": [
        *(f'join_time > "{value}"' for value in TIMES),
        "user_id = acme",
        "role = KING",
        "kind = CAT",
        "state = 1",
    ],
    "TeamService/ListTeams": [
        'user_id = "x"',
        "create_time > yesterday",
        'create_time = "2026-13-01"',
        "team_id = me",
    ],
    "ApiKeyService/ListApiKeys": [
        *(f'expire_time > "{value}"' for value in TIMES),
        "user_id = acme",
        "created_by = 1",
        "role = OWNER",
        "state = LOST",
        "display_name < x",
    ],
    "MembershipService/ListInvitations": [
        *(f'expire_time > "{value}"' for value in TIMES),
        "invited_by = acme",
        "role = KING",
        "state = PENDING",
        "email < x",
    ],
    "PlatformService/ListTenants": [
        *(f'create_time >= "{value}"' for value in TIMES),
        "state = GONE",
        "slug < x",
        'name : "*x*"',
    ],
}
"""A list that takes a filter has to be here."""
RIGHT = {
    "IssueService/ListIssues": "type != EPIC",
    "AuditService/ListEvents": "actor_type = ACTOR_TYPE_PERSON",
    "MembershipService/ListMembers": "kind = PERSON",
    "TeamService/ListTeams": "user_id != me",
    "ApiKeyService/ListApiKeys": "role = ADMIN",
    "MembershipService/ListInvitations": "state = REVOKED",
    "PlatformService/ListTenants": "state != DELETED",
}


def short(method: MethodDescriptor) -> str:
    return name_of(method).rpartition(".")[2]


@every(lambda method: named(method, "filter"))
async def test_values_in_filters(method: MethodDescriptor, harmless: Good) -> None:
    place = named(method, "filter")
    assert place is not None
    async with harmless(method) as twin:
        for text in WRONG_VALUES[short(method)]:
            answer = await twin.ask(place.put(twin.request, text))
            demand(answer, "INVALID_FILTER", "filter", text)
            assert 0 <= int(answer.metadata["position"]) < len(text)
        assert (await twin.ask(place.put(twin.request, RIGHT[short(method)]))).code == "OK"


@every(lambda method: named(method, "order_by"))
async def test_orders(method: MethodDescriptor, harmless: Good) -> None:
    place = named(method, "order_by")
    assert place is not None
    async with harmless(method) as twin:
        for text in ("nothing", "number sideways", "number,", ",", "number, number", "number;", "1", "\0", "x" * 101):
            demand(await twin.ask(place.put(twin.request, text)), "INVALID_FIELD", "order_by", text)


async def lengthen(company: Company) -> None:
    """So that every list of the company has a second page."""
    owner = company.client(Role.OWNER)
    for _ in range(2):
        workspace = await make_workspace(owner)
        project = await make_project(owner, workspace_id=company.one("workspace"))
    issue_id = company.one("issue")
    targets = [status_id for _, status_id in sorted(company.statuses.items())][1:3]
    for status_id in targets:
        await owner.issues.TransitionIssue(issue_id=issue_id, status_id=status_id)
    await make_comment(owner, issue_id)
    for body in ("one", "two"):
        await owner.issues.UpdateComment(comment={"comment_id": company.one("comment"), "body": body})
    company.keep("workspace", workspace.workspace_id)
    company.keep("project", project.project_id)
    person = await company.tenant.house.signed_in(company.tenant.people[Role.OWNER])
    slug = f"t{new_id()}"
    await person.identity.CreateTenant(tenant={"slug": slug, "name": slug})


@pytest_asyncio.fixture(scope="module", autouse=True)
async def long_lists(ours: Company, theirs: Company) -> None:
    await lengthen(ours)
    await lengthen(theirs)


PAGED = [method for method in METHODS if named(method, "page_token")]


async def first_page(twin: Twin) -> tuple[Request, Any]:
    """The request for one thing of all there are, and the answer to it."""
    assert not isinstance(twin.request, list)
    request: Request = type(twin.request)()
    request.CopyFrom(twin.request)
    if named(twin.method, "filter"):
        request.filter = ""
    request.page_size = 1
    return request, await twin.client.call(twin.method, request)


def with_token(request: Request, token: str) -> Request:
    made = type(request)()
    made.CopyFrom(request)
    made.page_token = token
    return made


def otherwise(method: MethodDescriptor, request: Request) -> Request:
    """The same list of other things."""
    made = type(request)()
    made.CopyFrom(request)
    names = made.DESCRIPTOR.fields_by_name
    flags = [name for name in names if name.startswith("show_")]
    if flags:
        setattr(made, flags[0], not getattr(made, flags[0]))
    elif "filter" in names:
        made.filter = RIGHT[short(method)]
    return made


@pytest.mark.parametrize("method", PAGED, ids=name_of)
async def test_page_tokens(method: MethodDescriptor, ours: Company, theirs: Company, harmless: Good) -> None:
    their_twin = await Twin.make(method, theirs)
    _, their_page = await first_page(their_twin)
    async with harmless(method) as twin:
        request, page = await first_page(twin)
        token = page.next_page_token
        assert token
        assert their_page.next_page_token, "the list is too short for this test"
        middle = len(token) // 2
        bad = {
            "cut": token[:-1],
            "cut to its beginning": token[:8],
            "one character": "A",
            "longer": token + "A",
            "padded": token + "=",
            "changed in the middle": token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :],
            "changed at the beginning": ("B" if token[0] != "B" else "C") + token[1:],
            "doubled": token + token,
            "no base64": "!" + token[1:],
            "not of this alphabet": token[:-1] + "é",
            "made up": "AQAAAAAAAAAAAAAAAAAAAAAiW10",
            "another tenant's": their_page.next_page_token,
        }
        for what, text in bad.items():
            demand(await twin.ask(with_token(request, text)), "INVALID_PAGE_TOKEN", "page_token", what)
        other = otherwise(method, request)
        if other != request:
            answer = await twin.ask(with_token(other, token))
            demand(answer, "INVALID_PAGE_TOKEN", "page_token", "of another query")
        demand(await twin.ask(with_token(request, "A" * 8193)), "INVALID_FIELD", "page_token", "8193 characters")
        second = await twin.client.call(method, with_token(request, token))
        assert second.ListFields() != page.ListFields()


async def test_a_token_is_good_for_its_own_method_only(ours: Company) -> None:
    twins = {method: await Twin.make(method, ours) for method in PAGED}
    tokens = {method: (await first_page(twin))[1].next_page_token for method, twin in twins.items()}
    for method, twin in twins.items():
        request, _ = await first_page(twin)
        for other, token in tokens.items():
            answer: Answer = await twin.ask(with_token(request, token))
            if other is method:
                assert answer.code == "OK"
            else:
                demand(answer, "INVALID_PAGE_TOKEN", "page_token", f"of {other.name}")


async def test_a_token_is_good_for_its_own_parent_only(ours: Company) -> None:
    """Comments of one issue do not go on with those of another."""
    for method in PAGED:
        parents = [place for place in places(method) if place.is_id]
        if not parents:
            continue
        made = await Twin.make(method, ours)
        # The other parent is not everybody's to see.
        twin = replace(made, client=ours.client(Role.OWNER))
        request, page = await first_page(twin)
        kind = parents[0].field.name.removesuffix("_id")
        other: Request = parents[0].put(request, ours.things[kind][1])
        assert (await twin.ask(other)).code == "OK"
        demand(await twin.ask(with_token(other, page.next_page_token)), "INVALID_PAGE_TOKEN", "page_token", kind)
