"""States that must not be, tried by SQL as the service's own login: the database refuses each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from bulkhead_kit.caller import Role

from tests.issues.support import as_app
from tests.support.builders import make_comment, make_issue, make_label, make_project
from tests.support.house import House, Tenant

Connection = psycopg.AsyncConnection[Any]
DENIED = "42501"
FOREIGN_KEY = "23503"
CHECK = "23514"
UNIQUE = "23505"
REFUSED = "BH009"


class Place:
    """Two issues of one project, a label and a comment, and another tenant with an issue of its own."""

    def __init__(self, house: House, tenant: Tenant, stranger: Tenant) -> None:
        self.house, self.tenant, self.stranger = house, tenant, stranger

    async def fill(self) -> Place:
        owner = self.tenant.owner
        self.project = (await make_project(owner)).project_id
        self.other_project = (await make_project(owner)).project_id
        self.first, self.second = [(await make_issue(owner, self.project)).issue_id for _ in range(2)]
        self.elsewhere = (await make_issue(owner, self.other_project)).issue_id
        self.label = (await make_label(owner)).label_id
        self.comment = (await make_comment(owner, self.first, visibility=2)).comment_id
        found = (await owner.issues.ListStatuses()).statuses
        self.status = {one.name: one.status_id for one in found}
        theirs = self.stranger.owner
        self.foreign_project = (await make_project(theirs)).project_id
        self.foreign_issue = (await make_issue(theirs, self.foreign_project)).issue_id
        self.foreign_label = (await make_label(theirs)).label_id
        self.foreign_status = (await theirs.issues.ListStatuses()).statuses[0].status_id
        return self

    @property
    def values(self) -> dict[str, Any]:
        return {
            **vars(self),
            **{f"status_{name.lower().replace(' ', '_')}": value for name, value in self.status.items()},
            "tenant": self.tenant.tenant_id,
            "user": self.tenant.people[Role.OWNER].user_id,
            "stranger": self.stranger.tenant_id,
            "member": self.tenant.people[Role.MEMBER].user_id,
            "foreign_user": self.stranger.people[Role.OWNER].user_id,
        }


@pytest.fixture(name="place", scope="module")
async def fixture_place(house: House) -> Place:
    return await Place(house, await house.tenant("acme"), await house.tenant("globex")).fill()


@pytest.fixture(name="app")
async def fixture_app(house: House, place: Place) -> AsyncIterator[Connection]:
    async with as_app(house, place.tenant) as connection:
        yield connection


@pytest.fixture(name="importer")
async def fixture_importer(house: House, place: Place) -> AsyncIterator[Connection]:
    async with as_app(house, place.tenant, importing=True) as connection:
        yield connection


async def attempt(connection: Connection, place: Place, statement: str, state: str, says: str = "") -> None:
    """The statement, or the commit behind it, fails with this SQLSTATE."""
    with pytest.raises(psycopg.Error) as caught:
        await run(connection, place, statement)
    assert caught.value.sqlstate == state, caught.value
    assert says in str(caught.value)


async def run(connection: Connection, place: Place, statement: str) -> None:
    await connection.execute(statement, place.values)
    await connection.execute("set constraints all immediate")


NEW_ISSUE = (
    "insert into issues.issues (tenant_id, issue_id, project_id, title, reporter_id, {0}) "
    "values (%(tenant)s, gen_random_uuid(), %(project)s, 'x', %(user)s, {1})"
)


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        # Of another tenant: project, status, label, parent, assignee, author.
        (
            "insert into issues.issues (tenant_id, issue_id, project_id, title, reporter_id) "
            "values (%(tenant)s, gen_random_uuid(), %(foreign_project)s, 'x', %(user)s)",
            "BH005",
        ),
        (NEW_ISSUE.format("status_id", "%(foreign_status)s"), "BH003"),
        (NEW_ISSUE.format("parent_id", "%(foreign_issue)s"), "BH003"),
        (NEW_ISSUE.format("assignee_id", "%(foreign_user)s"), FOREIGN_KEY),
        (
            "insert into issues.issue_labels (tenant_id, issue_id, label_id) "
            "values (%(tenant)s, %(first)s, %(foreign_label)s)",
            FOREIGN_KEY,
        ),
        (
            "insert into issues.issue_labels (tenant_id, issue_id, label_id) "
            "values (%(tenant)s, %(foreign_issue)s, %(label)s)",
            FOREIGN_KEY,
        ),
        (
            "insert into issues.comments (tenant_id, comment_id, issue_id, author_id, body) "
            "values (%(tenant)s, gen_random_uuid(), %(foreign_issue)s, %(user)s, 'x')",
            FOREIGN_KEY,
        ),
        (
            "insert into issues.projects (tenant_id, project_id, workspace_id, key, name, lead_id) "
            "select tenant_id, gen_random_uuid(), workspace_id, 'LEAD', 'x', %(foreign_user)s "
            "from issues.projects where project_id = %(project)s",
            FOREIGN_KEY,
        ),
        # Rows for another tenant.
        (
            "insert into issues.issues (tenant_id, issue_id, project_id, title, reporter_id) "
            "values (%(stranger)s, gen_random_uuid(), %(foreign_project)s, 'x', %(foreign_user)s)",
            DENIED,
        ),
        (
            "insert into issues.labels (tenant_id, label_id, name, color) "
            "values (%(stranger)s, gen_random_uuid(), 'x', '#000000')",
            DENIED,
        ),
        ("update issues.issues set tenant_id = %(stranger)s", DENIED),
        # Parents.
        ("update issues.issues set parent_id = issue_id where issue_id = %(first)s", REFUSED),
        ("update issues.issues set parent_id = %(elsewhere)s where issue_id = %(first)s", REFUSED),
        # Statuses.
        ("update issues.issues set status_id = %(status_done)s where issue_id = %(first)s", REFUSED),
        ("update issues.issues set status_id = %(foreign_status)s where issue_id = %(first)s", "BH003"),
        ("update issues.issues set status_category = 4 where issue_id = %(first)s", DENIED),
        ("update issues.statuses set category = 4", DENIED),
        ("update issues.statuses set is_default = false", REFUSED),
        ("update issues.statuses set is_default = true", UNIQUE),
        ("update issues.statuses set archived_at = now()", CHECK),
        # Due and breached.
        ("update issues.issues set start_at = now(), due_at = now() - interval '1 day'", CHECK),
        ("update issues.issues set breached_at = now() where issue_id = %(first)s", DENIED),
        # Histories are written by triggers only.
        ("update issues.issue_status_history set left_at = now()", DENIED),
        (
            "insert into issues.issue_status_history (tenant_id, issue_id, seq, status_id, entered_at) "
            "values (%(tenant)s, %(first)s, 2, %(status_done)s, now())",
            DENIED,
        ),
        ("delete from issues.issue_status_history", DENIED),
        (
            "insert into issues.issue_changes (tenant_id, issue_id, changed_at, field) "
            "values (%(tenant)s, %(first)s, now(), 'title')",
            DENIED,
        ),
        ("update issues.issue_changes set new_value = 'x'", DENIED),
        (
            "insert into issues.comment_revisions (tenant_id, comment_id, revision, visibility, body, replaced_at) "
            "values (%(tenant)s, %(comment)s, 1, 1, 'x', now())",
            DENIED,
        ),
        ("update issues.comment_revisions set body = 'x'", DENIED),
        ("update issues.comments set visibility = 1", DENIED),
        ("update issues.comments set author_id = %(member)s", DENIED),
        ("update issues.comments set revision = 9", DENIED),
        (
            "insert into issues.outbox (tenant_id, action, entity_type, entity_id) "
            "values (%(tenant)s, 'x', 'x', %(first)s)",
            DENIED,
        ),
        ("select changes from issues.outbox", DENIED),
        # Refused calls of this service are recorded, and nothing else.
        *(
            (f"select issues.record_event({said}, '{{}}')", "P0001")
            for said in (
                "'issue.updated', 'issue', %(first)s, 'denied'",
                "'call.denied', 'issue', %(first)s, 'denied'",
                "'call.denied', 'user', %(user)s, 'failed'",
                "'call.denied', 'user', %(user)s, 'denied'",
            )
        ),
        (
            "insert into issues.issues (tenant_id, issue_id, project_id, title, reporter_id) "
            "values (%(tenant)s, gen_random_uuid(), %(project)s, 'in her name', %(member)s)",
            DENIED,
        ),
        # An issue that nobody could read, with its labels.
        (
            "with made as (insert into issues.labels (tenant_id, label_id, name, color) "
            "select %(tenant)s, gen_random_uuid(), 'many ' || n, '#000000' from generate_series(1, 101) as n "
            "returning label_id) "
            "insert into issues.issue_labels (tenant_id, issue_id, label_id) "
            "select %(tenant)s, %(first)s, label_id from made",
            REFUSED,
        ),
        # Nothing is deleted, nobody is another.
        ("delete from issues.issues", DENIED),
        ("delete from issues.comments", DENIED),
        ("truncate issues.labels", DENIED),
        ("update issues.issues set reporter_id = %(member)s", DENIED),
        ("update issues.issues set number = 7", DENIED),
        ("update issues.issues set version = 7", DENIED),
        ("update issues.projects set key = 'OTHER'", DENIED),
        ("update issues.projects set next_number = 1", DENIED),
        (
            "insert into issues.comments (tenant_id, comment_id, issue_id, author_id, body) "
            "values (%(tenant)s, gen_random_uuid(), %(first)s, %(member)s, 'in her name')",
            DENIED,
        ),
        (
            "insert into issues.projects (tenant_id, project_id, workspace_id, key, name) "
            "select tenant_id, gen_random_uuid(), workspace_id, key, 'x' from issues.projects "
            "where project_id = %(project)s",
            UNIQUE,
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
async def test_the_database_refuses(app: Connection, place: Place, statement: str, state: str) -> None:
    await attempt(app, place, statement, state)


@pytest.mark.parametrize(
    ("statement", "state", "says"),
    [
        # Even where an import brings reporters and times of its own.
        (
            "insert into issues.issues "
            "(tenant_id, issue_id, project_id, title, reporter_id, number, created_at, updated_at) "
            "values (%(tenant)s, gen_random_uuid(), %(project)s, 'x', %(foreign_user)s, 9, now(), now())",
            FOREIGN_KEY,
            "issues_tenant_id_reporter_id_fkey",
        ),
        (
            "update issues.issues set resolved_at = now() where issue_id = %(first)s",
            CHECK,
            "issues_resolved_at_check",
        ),
        (
            "insert into issues.issues "
            "(tenant_id, issue_id, project_id, title, reporter_id, number, created_at, updated_at) "
            "select tenant_id, gen_random_uuid(), project_id, 'x', reporter_id, number, created_at, updated_at "
            "from issues.issues where issue_id = %(first)s",
            UNIQUE,
            "issues_tenant_id_project_id_number_key",
        ),
        (
            "update issues.issues set updated_at = now() + interval '2 hours' where issue_id = %(first)s",
            "BH003",
            "INVALID_FIELD",
        ),
        (
            "insert into issues.comments (tenant_id, comment_id, issue_id, author_id, body, created_at, updated_at) "
            "values (%(tenant)s, gen_random_uuid(), %(first)s, %(user)s, 'x', now() + interval '2 hours', now())",
            "BH003",
            "INVALID_FIELD",
        ),
        (
            "update issues.issues set status_id = %(status_done)s, resolved_at = now() + interval '2 hours' "
            "where issue_id = %(first)s",
            "BH003",
            "INVALID_FIELD",
        ),
        (
            "update issues.issues set external_digest = 'short' where issue_id = %(first)s",
            CHECK,
            "issues_external_digest_check",
        ),
        (
            "update issues.comments set external_body_digest = 'short' where comment_id = %(comment)s",
            CHECK,
            "comments_external_body_digest_check",
        ),
    ],
)
async def test_the_database_refuses_importers(
    importer: Connection, place: Place, statement: str, state: str, says: str
) -> None:
    await attempt(importer, place, statement, state, says)


async def test_a_time_of_resolution_is_not_set_by_hand(app: Connection, place: Place) -> None:
    await app.execute("update issues.issues set resolved_at = now() where issue_id = %(first)s", place.values)
    cursor = await app.execute("select resolved_at from issues.issues where issue_id = %(first)s", place.values)
    assert await cursor.fetchone() == (None,)


async def test_times_and_numbers_are_not_brought_without_an_import(app: Connection, place: Place) -> None:
    cursor = await app.execute(
        "insert into issues.issues "
        "(tenant_id, issue_id, project_id, title, reporter_id, number, created_at, updated_at) "
        "values (%(tenant)s, gen_random_uuid(), %(project)s, 'x', %(user)s, 500, '2001-01-01', '2001-01-01') "
        "returning number, created_at = now(), updated_at = now(), version",
        place.values,
    )
    assert await cursor.fetchone() == (3, True, True, 1)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.MANAGER])
async def test_who_may_not_import_brings_no_times_and_no_reporters(house: House, place: Place, role: Role) -> None:
    new = (
        "insert into issues.issues (tenant_id, issue_id, project_id, title, reporter_id, created_at, updated_at) "
        "values (%(tenant)s, gen_random_uuid(), %(project)s, 'x', %(reporter)s, '2001-01-01', '2001-01-01') "
        "returning created_at = now()"
    )
    me, another = place.tenant.people[role].user_id, place.tenant.people[Role.OWNER].user_id
    async with as_app(house, place.tenant, role, importing=True) as connection:
        cursor = await connection.execute(new, {**place.values, "reporter": me})
        assert await cursor.fetchone() == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(new, {**place.values, "reporter": another})


@pytest.mark.parametrize(
    "statement",
    [
        "update issues.issues set reporter_id = %(another)s where issue_id = %(first)s",
        "update issues.comments set author_id = %(another)s where comment_id = %(comment)s",
    ],
)
async def test_nobody_signs_over_what_somebody_said_but_an_import(house: House, place: Place, statement: str) -> None:
    values = {**place.values, "another": place.tenant.people[Role.VIEWER].user_id}
    for role, importing in ((Role.ADMIN, False), (Role.OWNER, False), (Role.MANAGER, True)):
        async with as_app(house, place.tenant, role, importing=importing) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="by an import only"):
                await connection.execute(statement, values)
    async with as_app(house, place.tenant, importing=True) as connection:
        assert (await connection.execute(statement, values)).rowcount == 1


async def test_an_edit_keeps_the_earlier_text_whoever_makes_it(app: Connection, place: Place) -> None:
    await app.execute("update issues.comments set body = 'by hand' where comment_id = %(comment)s", place.values)
    cursor = await app.execute(
        "select r.body, r.visibility, c.revision from issues.comment_revisions as r "
        "inner join issues.comments as c using (tenant_id, comment_id) where c.comment_id = %(comment)s",
        place.values,
    )
    assert await cursor.fetchall() == [("Seen.", 2, 2)]


async def test_a_move_by_hand_leaves_a_history_without_a_hole(app: Connection, place: Place) -> None:
    for status in ("to_do", "in_progress", "done"):
        await app.execute(
            f"update issues.issues set status_id = %(status_{status})s where issue_id = %(first)s", place.values
        )
    cursor = await app.execute(
        "select seq, left_at = lead(entered_at) over (order by seq), left_at is null "
        "from issues.issue_status_history where issue_id = %(first)s order by seq",
        place.values,
    )
    assert await cursor.fetchall() == [(1, True, False), (2, True, False), (3, True, False), (4, None, True)]


async def test_what_the_grants_keep_away_is_refused_to_the_owner_too(house: House, place: Place) -> None:
    """Constraints behind the grants: a history with a hole or two open spans, a breach that is none."""
    for statement, state in (
        (
            "insert into issues.issue_status_history (tenant_id, issue_id, seq, status_id, entered_at) "
            "values (%(tenant)s, %(second)s, 3, %(status_done)s, now())",
            UNIQUE,
        ),
        (
            "insert into issues.issue_status_history (tenant_id, issue_id, seq, status_id, entered_at, left_at) "
            "values (%(tenant)s, %(second)s, 3, %(status_done)s, now(), now())",
            FOREIGN_KEY,
        ),
        (
            "update issues.issue_status_history set left_at = entered_at - interval '1 second' "
            "where issue_id = %(second)s",
            CHECK,
        ),
        # Late without a time to be late for, or before it.
        ("update issues.issues set breached_at = now() where issue_id = %(second)s", CHECK),
        (
            "update issues.issues set due_at = now(), breached_at = now() - interval '1 second' "
            "where issue_id = %(second)s",
            CHECK,
        ),
        # A status of another category than the issue says.
        ("update issues.issues set status_category = 2 where issue_id = %(second)s", FOREIGN_KEY),
    ):
        async with await psycopg.AsyncConnection.connect(house.database.admin_dsn) as connection:
            await connection.execute("set local role bulkhead_issues_owner")
            await attempt(connection, place, statement, state)
            await connection.rollback()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
async def test_writes_below_the_right_role_are_refused_by_the_database_too(
    house: House, place: Place, role: Role
) -> None:
    label = (
        "insert into issues.labels (tenant_id, label_id, name, color) values (%s, gen_random_uuid(), 'x', '#000000')"
    )
    async with as_app(house, place.tenant, role) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(label, (place.tenant.tenant_id,))
    async with as_app(house, place.tenant, role) as connection:
        touched = await connection.execute("update issues.projects set name = 'x'")
        assert touched.rowcount == 0
        touched = await connection.execute("update issues.issues set title = 'x'")
        assert touched.rowcount == (3 if role is Role.MEMBER else 0)
        touched = await connection.execute("update issues.comments set body = 'x'")
        assert touched.rowcount == 0


async def test_viewers_find_no_internal_comment_by_any_statement(house: House, place: Place) -> None:
    async with as_app(house, place.tenant) as connection:
        await connection.execute("update issues.comments set body = 'edited'")
        await connection.commit()
    for table in ("comments", "comment_revisions"):
        for role, wanted in ((Role.MEMBER, 1), (Role.VIEWER, 0)):
            async with as_app(house, place.tenant, role) as connection:
                cursor = await connection.execute(f"select count(*) from issues.{table}")
                assert await cursor.fetchone() == (wanted,)


async def test_without_a_context_there_is_nothing(house: House, place: Place) -> None:
    async with await psycopg.AsyncConnection.connect(house.database.dsn("bulkhead_issues_app")) as connection:
        for table in ("workspaces", "projects", "statuses", "labels", "issues", "comments", "issue_changes"):
            cursor = await connection.execute(f"select count(*) from issues.{table}")
            assert await cursor.fetchone() == (0,)


async def test_two_who_close_a_ring_together_do_not(house: House, place: Place) -> None:
    """One after the other would be refused; at once the second waits for the first and then sees it."""
    begun = asyncio.Event()

    async def first() -> None:
        async with as_app(house, place.tenant) as connection:
            await connection.execute(
                "update issues.issues set parent_id = %(second)s where issue_id = %(first)s", place.values
            )
            begun.set()
            await asyncio.sleep(0.2)
            await connection.commit()

    async def second() -> None:
        await begun.wait()
        async with as_app(house, place.tenant) as connection:
            await attempt(
                connection,
                place,
                "update issues.issues set parent_id = %(first)s where issue_id = %(second)s",
                REFUSED,
                "PARENT_CYCLE",
            )

    await asyncio.gather(first(), second())


async def test_two_who_move_the_default_at_once_leave_one(house: House, place: Place) -> None:
    async def move(name: str) -> str:
        async with as_app(house, place.tenant) as connection:
            try:
                await connection.execute("update issues.statuses set is_default = false where is_default")
                await asyncio.sleep(0.1)
                await connection.execute("update issues.statuses set is_default = true where name = %s", (name,))
                await connection.commit()
            except psycopg.Error as error:
                return error.sqlstate or ""
        return "moved"

    answers = await asyncio.gather(move("To do"), move("In progress"))
    assert "moved" in answers
    async with as_app(house, place.tenant) as connection:
        cursor = await connection.execute("select count(*) from issues.statuses where is_default")
        assert await cursor.fetchone() == (1,)
