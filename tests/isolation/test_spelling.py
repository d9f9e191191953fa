"""An id is the same in capitals: every RPC does the same, and knows the repeat of a call by its request_id."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from bulkhead.rpc.v1.options_pb2 import Scope
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.spelling import Plan, is_text, plan_of
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.callers import right_caller
from tests.isolation.conftest import World
from tests.isolation.outcomes import call
from tests.isolation.rpc_probes import methods_to_probe, name_of, policy_of
from tests.isolation.samples import SAMPLES, Request
from tests.isolation.world import Company
from tests.support.client import refused
from tests.support.house import House

NOTHING_TO_SEE = "\u200b\u3164\u2800\u200b\u3164\u2800\u200b\u3164\u2800\u200b"
"""Ten characters: no password is too short to be looked at."""
METHODS = methods_to_probe()
SECRETS = {"password", "new_password", "current_password", "token", "refresh_token", "device_token"}
"""Compared, never shown."""
OPAQUE = {
    "bulkhead.audit.v1.NewEvent.request_id": "another service's word, which audit shows as it is",
    "bulkhead.audit.v1.NewEvent.service": "from a service, and compared with who sends it",
    "bulkhead.audit.v1.NewEvent.rpc": "from a service",
    "bulkhead.audit.v1.NewEvent.ip": "from a service",
    "bulkhead.audit.v1.NewEvent.user_agent": "from a service",
}
ANSWERS_DIFFER = {
    "SelectTenant": "gives a token",
    "EnterSupportAccess": "gives a token once a grant",
    "CreateApiKey": "shows the key once",
    "RevokeOtherSessions": "says how many there were",
    "AppendEvents": "says how many events were new",
    "ImportItems": "says how many items were new",
}


@pytest.fixture(scope="module")
def ours(world: World, world_house: House) -> Company:
    return world.companies_at(world_house)[0]


def in_capitals(request: Request) -> Request:
    bent = copy.deepcopy(request)
    for message in bent if isinstance(bent, list) else [bent]:
        assert isinstance(message, Message)
        _raise(plan_of(message.DESCRIPTOR), message)
    return bent


def _raise(plan: Plan, message: Message) -> None:
    for name in plan.ids:
        if text := getattr(message, name):
            setattr(message, name, text.upper())
    for name in plan.lists:
        raised = [text.upper() for text in getattr(message, name)]
        getattr(message, name)[:] = raised
    for name, inner in plan.inner:
        if message.HasField(name):
            _raise(inner, getattr(message, name))
    for name, inner in plan.many:
        for one in getattr(message, name):
            _raise(inner, one)


def text_fields(message: Descriptor, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Those a caller may fill with words."""
    for field in message.fields:
        options = field.GetOptions()
        path = (*above, field.name)
        if field_behavior_pb2.OUTPUT_ONLY in options.Extensions[field_behavior_pb2.field_behavior]:
            continue
        if is_text(field) and field.name not in SECRETS and field.full_name not in OPAQUE:
            yield path
        elif field.message_type is not None and not field.message_type.full_name.startswith("google."):
            yield from text_fields(field.message_type, path)


TEXTS = [
    (method, path)
    for method in METHODS
    # An import says what was wrong with an item in its report.
    if not method.client_streaming
    for path in text_fields(method.input_type)
    # What is made has no version yet.
    if not (method.name.startswith("Create") and path[-1] == "etag")
]


@pytest.mark.parametrize(
    ("method", "path"), TEXTS, ids=lambda one: ".".join(one) if isinstance(one, tuple) else one.name
)
async def test_a_text_with_nothing_to_see_is_refused(
    method: MethodDescriptor, path: tuple[str, ...], ours: Company
) -> None:
    policy = policy_of(method)
    client = await right_caller(ours, method, policy)
    request = await SAMPLES[name_of(method)].request(method, ours, policy.least_role or Role.OWNER)
    assert isinstance(request, Message)
    _fill(request, path, NOTHING_TO_SEE)
    got = await call(client, method, request)
    assert got.code == "INVALID_ARGUMENT", (str(got), request)


def _fill(message: Message, path: tuple[str, ...], text: str) -> None:
    *above, last = path
    if "update_mask" in message.DESCRIPTOR.fields_by_name:
        getattr(message, "update_mask").paths[:] = [last]  # noqa: B009 - not every message has it
    for name in above:
        inner = getattr(message, name)
        message = inner if isinstance(inner, Message) else (inner[0] if inner else inner.add())
    field = message.DESCRIPTOR.fields_by_name[last]
    if field.is_repeated:
        getattr(message, last)[:] = [text]
    else:
        setattr(message, last, text)


def has_ids(plan: Plan) -> bool:
    return bool(plan.ids or plan.lists) or any(has_ids(inner) for _, inner in (*plan.inner, *plan.many))


@pytest.mark.parametrize("method", [one for one in METHODS if has_ids(plan_of(one.input_type))], ids=name_of)
async def test_capitals_ask_for_the_same(method: MethodDescriptor, ours: Company) -> None:
    policy, sample = policy_of(method), SAMPLES[name_of(method)]
    client = await right_caller(ours, method, policy)
    request = await sample.request(method, ours, policy.least_role or Role.OWNER)
    raised = in_capitals(request)
    assert raised != request or not _has_ids(request)
    first = await call(client, method, request)
    again = await call(client, method, raised)
    assert first.code == sample.expects
    if method.name not in ANSWERS_DIFFER and policy.scope != Scope.SCOPE_PUBLIC:
        assert (again.code, again.reason) == (first.code, first.reason)
        if "request_id" in method.input_type.fields_by_name or not policy.audited:
            assert again.body == first.body
    # What a plain repeat gives, whatever that is; a token is another one each time.
    if method.name != "SelectTenant":
        assert again == await call(client, method, request)


def _has_ids(request: Request) -> bool:
    return any(str(message).count("_id") for message in (request if isinstance(request, list) else [request]))


async def test_an_id_in_two_spellings_is_twice_in_a_list(ours: Company) -> None:
    label, issue = ours.one("label"), ours.one("issue")
    made = {"project_id": ours.one("project"), "title": "Twice", "type": 1, "label_ids": [label, label.upper()]}
    client = ours.client(Role.OWNER)
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await client.issues.CreateIssue(issue=made, request_id=str(new_id()))
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await client.issues.BatchGetIssues(issue_ids=[issue, issue.upper()])


@pytest.mark.parametrize("spelling", ["{{{}}}", "urn:uuid:{}", " {}", "{}\n"])
async def test_another_form_than_that_of_36_characters_is_refused(ours: Company, spelling: str) -> None:
    issue_id = spelling.format(ours.one("issue"))
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await ours.client(Role.OWNER).issues.GetIssue(issue_id=issue_id)


async def test_a_filter_takes_capitals(ours: Company) -> None:
    client, member = ours.client(Role.OWNER), ours.one("user")
    small = await client.issues.ListIssues(filter=f"assignee_id = {member}")
    assert small.issues
    assert await client.issues.ListIssues(filter=f"assignee_id = {member.upper()}") == small


async def test_the_tenant_of_the_metadata_takes_capitals(ours: Company) -> None:
    raised = ("x-tenant-id", str(ours.tenant.tenant_id).upper())
    client, issue_id = ours.client(Role.OWNER), ours.one("issue")
    found = await client.with_metadata(raised).issues.GetIssue(issue_id=issue_id)
    assert found == await client.issues.GetIssue(issue_id=issue_id)


async def test_a_page_token_goes_on_in_capitals(ours: Company) -> None:
    client, project = ours.client(Role.OWNER), ours.one("project")
    first = await client.issues.ListIssues(project_id=project, page_size=1)
    small, raised = [
        await client.issues.ListIssues(project_id=one, page_size=1, page_token=first.next_page_token)
        for one in (project, project.upper())
    ]
    assert small == raised
    assert small.issues[0].issue_id != first.issues[0].issue_id
