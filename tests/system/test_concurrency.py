"""The same thing asked for by many at once, or again after a lost reply: one effect, and everybody told the truth."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf.descriptor import MethodDescriptor

from tests.isolation.bending import as_new
from tests.isolation.outcomes import Outcome, call
from tests.isolation.rpc_probes import name_of
from tests.isolation.samples import SAMPLES
from tests.isolation.world import Company
from tests.support import people
from tests.support.builders import make_comment, make_issue, make_label, make_project
from tests.support.client import reason_of
from tests.support.house import House
from tests.system.calls import METHODS, Twin, every
from tests.system.contents import Contents, Tables
from tests.system.fields import named

AT_ONCE = 6


async def at_once(twin: Twin, requests: list[Any]) -> list[Outcome]:
    return await asyncio.gather(*(call(twin.client, twin.method, request) for request in requests))


async def reason(calling: Awaitable[Any]) -> str:
    try:
        await calling
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "OK"


def growth(before: Contents, after: Contents) -> dict[str, int]:
    """Rows that came, by table; a table that changed without one counts 0."""
    return {name: after[name][0] - before[name][0] for name in after if before[name] != after[name]}


async def effect(twin: Twin, tables: Tables) -> dict[str, int]:
    """What one call does."""
    before = tables.contents()
    outcome = await call(twin.client, twin.method, with_request_id(twin.request))
    assert outcome.ok, outcome
    return growth(before, tables.contents())


async def usual_effect(method: MethodDescriptor, ours: Company, tables: Tables) -> dict[str, int]:
    """Of the second of two calls: a first one may have more to do, such as ending what earlier tests left open."""
    await effect(await Twin.make(method, ours), tables)
    return await effect(await Twin.make(method, ours), tables)


TELLS_ITS_TOKEN_ONCE = {"bulkhead.identity.v1.PlatformService/EnterSupportAccess"}
"""A repeat is refused: tests/identity/platform tries that."""


def has_request_id(method: MethodDescriptor) -> bool:
    name = name_of(method)
    return (
        named(method, "request_id") is not None and SAMPLES[name].expects == "OK" and name not in TELLS_ITS_TOKEN_ONCE
    )


def with_request_id(request: Any) -> Any:
    made = type(request)()
    made.CopyFrom(request)
    made.request_id = str(new_id())
    return made


SHOWS_A_SECRET = {"bulkhead.identity.v1.ApiKeyService/CreateApiKey"}
"""To the first who is answered; a repeat gets the same without it."""


@every(has_request_id)
async def test_one_request_id_is_one_effect(method: MethodDescriptor, ours: Company, tables: Tables) -> None:
    once = await usual_effect(method, ours, tables)
    twin = await Twin.make(method, ours)
    request = with_request_id(twin.request)
    before = tables.contents()
    outcomes = await at_once(twin, [request] * AT_ONCE)
    assert {outcome.code for outcome in outcomes} == {"OK"}, outcomes
    # A secret is in one of the answers: the first, whichever that was.
    assert len({outcome.body for outcome in outcomes}) == (2 if name_of(method) in SHOWS_A_SECRET else 1)
    assert growth(before, tables.contents()) == once


@every(has_request_id, share=3)
async def test_a_lost_reply_is_asked_for_again(
    method: MethodDescriptor, ours: Company, tables: Tables, rng: random.Random
) -> None:
    """The client goes away at any moment, before or after the commit, and comes back with the same request."""
    once = await usual_effect(method, ours, tables)
    twin = await Twin.make(method, ours)
    request = with_request_id(twin.request)
    before = tables.contents()
    for _ in range(3):
        lost = asyncio.create_task(call(twin.client, method, request))
        await asyncio.sleep(rng.uniform(0, 0.02))
        lost.cancel()
        # Answered before it was cancelled: that reply is lost here.
        await asyncio.wait([lost])
    outcome = await call(twin.client, method, request)
    assert outcome.code == "OK", outcome
    again = await call(twin.client, method, request)
    # The secret went with a lost reply, or with this one.
    assert again == outcome or name_of(method) in SHOWS_A_SECRET
    assert await call(twin.client, method, request) == again
    assert growth(before, tables.contents()) == once


async def test_one_request_id_is_one_request(ours: Company) -> None:
    """Two different requests under one id: one is carried out, and all of the other kind are told."""
    project_id, request_id = ours.one("project"), str(new_id())

    async def create(title: str) -> tuple[str, str]:
        issue = {"project_id": project_id, "title": title, "type": 1}
        try:
            made = await ours.client(Role.MEMBER).issues.CreateIssue(issue=issue, request_id=request_id)
        except grpc.aio.AioRpcError as error:
            return title, error.code().name
        return title, str(made.title)

    answers = await asyncio.gather(*(create(title) for title in ["left", "right"] * 4))
    winners = {title for title, answer in answers if answer == title}
    assert len(winners) == 1
    assert Counter(answer for _, answer in answers) == {winners.pop(): 4, "INVALID_ARGUMENT": 4}


async def updates(method: str, company: Company) -> list[dict[str, Any]]:
    """Requests for one thing, all with the etag it has now and each with something else to change."""
    owner, numbers = company.client(Role.OWNER), range(AT_ONCE)
    if method == "ChangeRole":
        connection = await company.tenant.house.connection()
        person = await people.make_person(connection)
        inviter = company.tenant.people[Role.OWNER]
        await people.add_member(connection, company.tenant.tenant_id, inviter, person, Role.VIEWER)
        user_id = str(person.user_id)
        members = (await owner.identity.ListMembers(page_size=200)).members
        (member,) = (one for one in members if one.user_id == user_id)
        others = [role.value for role in Role if role != member.role]
        return [{"user_id": user_id, "role": others[n % 4], "etag": member.etag} for n in numbers]
    if method == "UpdateLabel":
        label = await make_label(owner)
        named = {"label_id": label.label_id, "etag": label.etag}
        return [{"label": {**named, "name": f"{label.name} {n}"}} for n in numbers]
    if method == "UpdateProject":
        project = await make_project(owner)
        named = {"project_id": project.project_id, "etag": project.etag}
        return [{"project": {**named, "name": str(n)}} for n in numbers]
    if method == "UpdateTeam":
        team = await owner.identity.CreateTeam(team={"name": f"racers {new_id()}"})
        return [{"team": {"team_id": team.team_id, "etag": team.etag, "description": str(n)}} for n in numbers]
    if method == "UpdateTenant":
        tenant = await owner.identity.GetTenant(tenant_id=str(company.tenant.tenant_id))
        return [
            {"tenant": {"tenant_id": tenant.tenant_id, "etag": tenant.etag, "description": str(n)}} for n in numbers
        ]
    if method == "ChangePlan":
        tenant = await owner.identity.GetTenant(tenant_id=str(company.tenant.tenant_id))
        named = {"tenant_id": tenant.tenant_id, "etag": tenant.etag, "plan_code": "enterprise"}
        return [{**named, "overrides": {"max_projects": 1000 + n}} for n in numbers]
    if method == "UpdateMe":
        me = await owner.identity.GetMe()
        return [{"user": {"etag": me.etag, "bio": str(n)}} for n in numbers]
    issue = await make_issue(owner, company.one("project"))
    if method.endswith("Comment"):
        comment = await make_comment(owner, issue.issue_id)
        named = {"comment_id": comment.comment_id, "etag": comment.etag}
        return [named if method == "DeleteComment" else {"comment": {**named, "body": str(n)}} for n in numbers]
    named = {"issue_id": issue.issue_id, "etag": issue.etag}
    if method == "UpdateIssue":
        return [{"issue": {**named, "title": str(n)}} for n in numbers]
    if method == "TransitionIssue":
        targets = [status_id for status_id in company.statuses.values() if status_id != issue.status_id]
        return [{**named, "status_id": targets[n % 2]} for n in numbers]
    if method == "AssignIssue":
        return [{**named, "assignee_id": company.things["user"][n % 3]} for n in numbers]
    return [named] * AT_ONCE


def takes_etag(method: MethodDescriptor) -> bool:
    resource = method.input_type.fields[0].message_type if method.input_type.fields else None
    in_resource = method.name.startswith("Update") and resource and "etag" in resource.fields_by_name
    return bool(in_resource or named(method, "etag"))


@every(takes_etag)
async def test_one_etag_is_one_update(method: MethodDescriptor, ours: Company) -> None:
    package = method.full_name.split(".")[1]
    house = ours.tenant.house
    admin = method.name == "ChangePlan"
    caller = await house.platform_admin(await house.person()) if admin else ours.client(Role.OWNER)
    api = getattr(caller, package)
    requests = await updates(method.name, ours)

    answers = Counter(await asyncio.gather(*(reason(getattr(api, method.name)(**fields)) for fields in requests)))
    # What is deleted is not there any more, whatever the etag.
    late = "RESOURCE_NOT_FOUND" if method.name.startswith("Delete") else "ETAG_MISMATCH"
    assert answers == {"OK": 1, late: AT_ONCE - 1}


@pytest.mark.parametrize("size", [2, 3, 5])
async def test_no_ring_of_parents_is_closed_from_all_sides(size: int, ours: Company, admin: psycopg.Connection) -> None:
    owner, project_id = ours.client(Role.OWNER), ours.one("project")
    for _ in range(5):
        ring = [(await make_issue(owner, project_id)).issue_id for _ in range(size)]

        issues = [{"issue_id": child, "parent_id": ring[at - 1]} for at, child in enumerate(ring)]
        answers = Counter(await asyncio.gather(*(reason(owner.issues.UpdateIssue(issue=one)) for one in issues)))
        assert answers == {"OK": size - 1, "PARENT_CYCLE": 1}
        parents = admin.execute("select count(parent_id) from issues.issues where issue_id = any(%s::uuid[])", (ring,))
        assert parents.fetchall() == [(size - 1,)]


async def test_a_parent_is_not_deleted_while_it_gets_a_child(ours: Company, admin: psycopg.Connection) -> None:
    owner, project_id = ours.client(Role.OWNER), ours.one("project")
    for _ in range(10):
        parent = (await make_issue(owner, project_id)).issue_id
        await asyncio.gather(
            owner.issues.DeleteIssue(issue_id=parent),
            make_issue(owner, project_id, parent_id=parent),
            return_exceptions=True,
        )
    orphans = admin.execute(
        "select count(*) from issues.issues as i join issues.issues as p on p.tenant_id = i.tenant_id"
        " and p.issue_id = i.parent_id where i.deleted_at is null and p.deleted_at is not null"
    )
    assert orphans.fetchall() == [(0,)]


async def test_more_at_once_than_there_are_connections(house: House, ours: Company) -> None:
    """They wait their turn: nobody is refused, and no number is given twice."""
    project = await make_project(ours.client(Role.OWNER))
    made = await asyncio.gather(*(make_issue(ours.client(Role.MEMBER), project.project_id) for _ in range(60)))
    assert sorted(issue.number for issue in made) == list(range(1, 61))
    assert house.running["issues"].health.serving


async def cut_short(twin: Twin, rng: random.Random) -> str:
    """One call, which most often is cancelled or runs out of time on its way. Its code, or CUT."""
    request = as_new(twin.request)
    way, moment = rng.choice(["cancel", "cancel", "deadline", "let be"]), rng.uniform(0.0, 0.03)
    if way == "deadline" and not twin.method.client_streaming:
        assert not isinstance(request, list)
        invoked = twin.client.call(twin.method, request, timeout=moment)
        code = str((await invoked.code()).name)
        return "CUT" if code == "DEADLINE_EXCEEDED" else code
    calling = asyncio.create_task(call(twin.client, twin.method, request))
    if way == "cancel":
        await asyncio.sleep(moment)
        calling.cancel()
        await asyncio.wait([calling])
        if calling.cancelled():
            return "CUT"
    return (await calling).code


async def test_a_storm_of_calls_that_are_cut_short_leaves_no_trace(
    house: House, ours: Company, admin: psycopg.Connection, rng: random.Random
) -> None:
    """Wherever a call is cut, its connection is as good as new for the next one."""
    twins = [await Twin.make(method, ours) for method in METHODS if not method.name.startswith("Sign")]
    found: Counter[str] = Counter()
    for _ in range(25):
        found += Counter(await asyncio.gather(*(cut_short(rng.choice(twins), rng) for _ in range(20))))
    assert found["CUT"] > 100, found
    assert not found.keys() & {"INTERNAL", "UNKNOWN", "UNAVAILABLE"}, found
    await until_idle(admin)
    for method in METHODS:
        await (await Twin.make(method, ours)).goes_through()
    assert all(service.health.serving for service in house.running.values())


async def until_idle(admin: psycopg.Connection) -> None:
    """No session of a service is left in a transaction or at work."""
    question = (
        "select usename, state, wait_event, age(clock_timestamp(), state_change)::text, left(query, 200)"
        " from pg_stat_activity where usename like '%_app' and datname = current_database() and state <> 'idle'"
    )
    ends = clock.monotonic() + 5
    while left := admin.execute(question).fetchall():
        assert clock.monotonic() < ends, left
        await asyncio.sleep(0.05)
