"""Every cell of docs/role-matrix.md, by RPC and by SQL: what the page says is what happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from bulkhead_cli.schema import rights
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from psycopg import sql

from tests.architecture.sources import ROOT
from tests.isolation.callers import right_caller
from tests.isolation.outcomes import Outcome, call
from tests.isolation.rpc_probes import methods_to_probe, name_of, policy_of
from tests.isolation.samples import SAMPLES
from tests.isolation.sql_session import DENIED, SqlSession
from tests.isolation.world import Company, make_company
from tests.matrix.statements import AMONG, STATEMENTS, values
from tests.matrix.written import read
from tests.support import people
from tests.support.builders import make_comment
from tests.support.client import Client, find_method, message_class
from tests.support.house import House
from tests.support.parts import PARTS

LEAST = {"RPC": 300, "SQL": 300}
PAGE = read()
METHODS = {name_of(method).removeprefix("bulkhead.").replace(".v1.", "."): method for method in methods_to_probe()}
REFUSED = {("PERMISSION_DENIED", "ROLE_TOO_LOW"), ("PERMISSION_DENIED", "ROLE_ABOVE_OWN")}


@dataclass
class Ground:
    house: House
    company: Company
    members: dict[Role, UUID]
    """One of each role besides those who call."""
    disabled: dict[Role, UUID]
    accounts: dict[Role, str]
    """Service accounts, by their roles."""
    comments: dict[Role, str]
    """One by each role; a viewer's is a member's, as she writes none."""
    logins: dict[str, SqlSession]
    held: Counter[str]

    def client(self, role: Role) -> Client:
        return self.company.client(role)

    @property
    def owner(self) -> Client:
        return self.client(Role.OWNER)

    async def asked(self, client: Client, method: str, **fields: object) -> Outcome:
        found = find_method("identity", method)
        return await call(client, found, message_class(found.input_type.full_name)(**fields))

    def told(self, login: str, statement: str, role: Role, **more: object) -> bool:
        """Whether the statement changes or finds something. Anything but a right that is missing fails the test."""
        caller = self.company.tenant.people[role].user_id
        given = {**values(self.company), "caller": caller, "own": self.comments[role], **more}
        state, rows = self.logins[login].attempt(
            sql.SQL(statement), given, tenant=self.company.tenant.tenant_id, level=role.value, user=caller
        )
        # BH007: a trigger that says PERMISSION_DENIED.
        assert state in ("00000", DENIED, "BH007"), (statement, role.name, state)
        return state == "00000" and rows > 0


@pytest_asyncio.fixture(scope="module")
async def ground(house: House) -> AsyncIterator[Ground]:
    company = await make_company(house, "matrix")
    connection, founder = await house.connection(), company.tenant.people[Role.OWNER]

    async def one_of_each(name: str) -> dict[Role, UUID]:
        made = {}
        for role in Role:
            person = await house.person(name)
            await people.add_member(connection, company.tenant.tenant_id, founder, person, role)
            made[role] = person.user_id
        return made

    members, disabled = await one_of_each("Reached"), await one_of_each("Disabled")
    for user_id in disabled.values():
        await company.client(Role.OWNER).identity.DisableMember(user_id=str(user_id))
    accounts, comments = {}, {}
    for role in PAGE.account_roles():
        made = await company.client(Role.OWNER).identity.CreateApiKey(display_name=role.name, role=role.value)
        accounts[role] = made.api_key.user_id
    for role in Role:
        author = company.client(max(role, Role.MEMBER))
        comments[role] = (await make_comment(author, company.one("issue"))).comment_id
    logins = {name: SqlSession.of(house.database, f"bulkhead_{name}_app") for name in ("identity", "issues", "audit")}
    yield Ground(house, company, members, disabled, accounts, comments, logins, Counter())
    for login in logins.values():
        login.connection.close()


@pytest.fixture(scope="module", autouse=True)
def _counted(ground: Ground) -> Iterator[None]:
    yield
    found = ", ".join(f"{number} by {way}" for way, number in sorted(ground.held.items()))
    PARTS.found["Role matrix"] = f"{sum(ground.held.values())} expectations held: {found}"


def test_the_page_is_of_today() -> None:
    assert (ROOT / rights.PAGE).read_text(encoding="utf-8") == rights.render(), "run `make schema`"
    assert PAGE.outside.keys() | PAGE.inside.keys() == METHODS.keys()


@pytest.mark.parametrize("name", PAGE.outside)
async def test_calls_without_a_tenant(ground: Ground, name: str) -> None:
    method, who = METHODS[name], PAGE.outside[name]
    sample = SAMPLES[name_of(method)]
    request = await sample.request(method, ground.company, Role.OWNER)
    wrong = {
        "anybody": None,
        "a signed-in person": (ground.house.nobody(), "UNAUTHENTICATED"),
    }.get(who, (ground.owner, "PERMISSION_DENIED"))
    if wrong is not None:
        refused = await call(wrong[0], method, request)
        assert refused.code == wrong[1], refused
        ground.held["RPC"] += 1
    right = await right_caller(ground.company, method, policy_of(method))
    allowed = await call(right, method, request)
    assert allowed.code == sample.expects, allowed
    assert allowed.reason not in ("TOKEN_MISSING", "TENANT_NOT_SELECTED", "CALLER_NOT_ALLOWED")
    ground.held["RPC"] += 1


@pytest.mark.parametrize("name", PAGE.inside)
async def test_calls_by_role(ground: Ground, name: str) -> None:
    method, row = METHODS[name], PAGE.inside[name]
    sample, least = SAMPLES[name_of(method)], min(role for role in Role if row[role])
    for role in Role:
        request = await sample.request(method, ground.company, max(role, least))
        told = await call(ground.client(role), method, request)
        if row[role]:
            assert told.code == sample.expects, (role.name, told)
        else:
            assert (told.code, told.reason) == ("PERMISSION_DENIED", "ROLE_TOO_LOW"), (role.name, told)
        ground.held["RPC"] += 1


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements_by_role(ground: Ground, name: str) -> None:
    named = {"member": ground.members[Role.VIEWER], "disabled": ground.disabled[Role.VIEWER]}
    for role in Role:
        done = ground.told(name.partition(".")[0], STATEMENTS[name], role, **named)
        assert done == PAGE.inside[name][role], role.name
        ground.held["SQL"] += 1


@pytest.mark.parametrize("caller", list(Role), ids=lambda role: role.name.lower())
@pytest.mark.parametrize("method", PAGE.among)
async def test_members_among_each_other_by_rpc(ground: Ground, method: str, caller: Role) -> None:
    for (by, *reached), allowed in PAGE.among[method].items():
        if by != caller:
            continue
        told = await _act(ground, method, ground.client(caller), reached)
        if allowed:
            assert told.code == "OK", (reached, told)
        else:
            assert (told.code, told.reason) in REFUSED, (reached, told)
        ground.held["RPC"] += 1


@pytest.mark.parametrize("caller", list(Role), ids=lambda role: role.name.lower())
@pytest.mark.parametrize("method", PAGE.among)
async def test_members_among_each_other_by_sql(ground: Ground, method: str, caller: Role) -> None:
    for (by, *reached), allowed in PAGE.among[method].items():
        if by != caller:
            continue
        target = await _reached(ground, method, reached[0])
        done = ground.told("identity", AMONG[method], caller, reached=target, given=reached[-1].value)
        assert done == allowed, reached
        ground.held["SQL"] += 1


async def _reached(ground: Ground, method: str, role: Role) -> str:
    """Somebody of the role, or an invitation to it, as the act finds her."""
    if method == "RevokeInvitation":
        made = await ground.owner.identity.InviteMember(email=f"{_new()}@example.com", role=role.value)
        return str(made.invitation_id)
    if method == "CreateApiKey":
        return ground.accounts[role]
    return str((ground.disabled if method == "EnableMember" else ground.members)[role])


async def _act(ground: Ground, method: str, client: Client, reached: list[Role]) -> Outcome:
    """The call, and back to what was before if it went through."""
    if method == "InviteMember":
        return await ground.asked(client, method, email=f"{_new()}@example.com", role=reached[0].value)
    if method == "CreateApiKey":
        return await ground.asked(client, method, display_name=_new(), role=reached[0].value)
    target = await _reached(ground, method, reached[0])
    if method == "RevokeInvitation":
        return await ground.asked(client, method, invitation_id=target)
    more = {"role": reached[1].value} if method == "ChangeRole" else {}
    told = await ground.asked(client, method, user_id=target, **more)
    back = {"DisableMember": "EnableMember", "EnableMember": "DisableMember"}.get(method, method)
    again = {"role": reached[0].value} if method == "ChangeRole" else {}
    undone = await ground.asked(ground.owner, back, user_id=target, **again)
    assert undone.code == "OK", undone
    return told


def _new() -> str:
    return str(new_id())


LOOSENED = {
    "identity.memberships": (
        "ChangeRole",
        "(app.role_level() >= 4 and role <= app.role_level())",
    ),
    "identity.invitations": (
        "RevokeInvitation",
        "(app.role_level() >= 4 and role <= app.role_level())",
    ),
}


@pytest.mark.parametrize("table", LOOSENED)
async def test_a_loosened_policy_would_be_noticed(ground: Ground, table: str) -> None:
    method, right = LOOSENED[table]
    target = await _reached(ground, method, Role.OWNER)

    def done() -> list[bool]:
        return [ground.told("identity", AMONG[method], role, reached=target, given=1) for role in Role]

    def policy(condition: str) -> None:
        with psycopg.connect(ground.house.database.admin_dsn, autocommit=True) as admin:
            text = f"alter policy update_right on {table} using {condition} with check {condition}"
            admin.execute(text.encode())

    policy("(app.role_level() >= 1)")
    loose = done()
    policy(right)
    # Whoever sees the row at all: an invitation is not shown below an admin, so there the gain is hers.
    assert sum(loose) > sum(done()) == 1


def test_enough_was_tried(ground: Ground, request: pytest.FixtureRequest) -> None:
    if len([item for item in request.session.items if "test_role_matrix" in str(item.path)]) < len(METHODS):
        pytest.skip("counts only when the whole matrix is tried")
    assert all(ground.held[way] >= least for way, least in LEAST.items()), ground.held
