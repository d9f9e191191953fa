"""Triggers that refuse: which there are, and the tests that must notice when one is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.support.postgres import ScratchDatabase

ROOT = Path(__file__).resolve().parents[2]


class Guard(NamedTuple):
    table: str
    trigger: str

    def __str__(self) -> str:
        return f"{self.table} {self.trigger}"


_API_KEYS = "tests/identity/api_key/test_api_keys.py"
_CLOSING = "tests/identity/user/test_close_account.py::test_nobody_else_can_be_closed_by_sql"
_FACES = "tests/identity/user/test_faces.py"
_IDENTITY = "tests/identity/test_impossible_states.py"
_IMMUTABLE = "tests/audit/test_immutable.py"
_INVITATIONS = "tests/identity/membership/test_invitations.py"
_ISSUES = "tests/issues/test_impossible.py"
_SUPPORT = "tests/identity/platform/test_support.py"
_SUSPENDED = "tests/isolation/test_suspended.py"
TESTS = {
    "audit.event_values no_delete": _IMMUTABLE,
    "audit.event_values no_update": _IMMUTABLE,
    "audit.event_values with_event": "tests/audit/test_values.py",
    "audit.events check_source": "tests/audit/event/test_sources.py",
    "audit.events move_head": "tests/audit/event/test_append.py",
    "audit.events no_change": _IMMUTABLE,
    "audit.logs no_delete": _IMMUTABLE,
    "audit.logs no_truncate": _IMMUTABLE,
    "audit.logs only_grow": "tests/audit/test_heads.py",
    "identity.api_keys ab_keep_suspended": _SUSPENDED,
    "identity.api_keys ab_settle": _SUSPENDED,
    "identity.api_keys admit": _API_KEYS,
    "identity.api_keys ae_demand_own_name": _SUPPORT,
    "identity.api_keys demand_colleague": _SUPPORT,
    "identity.invitations ab_keep_suspended": _SUSPENDED,
    "identity.invitations ab_settle": _SUSPENDED,
    "identity.invitations count_seats": _INVITATIONS,
    "identity.invitations demand_colleague": _SUPPORT,
    "identity.invitations give_seat_back": _INVITATIONS,
    "identity.invitations keep_support_from_joining": _SUPPORT,
    "identity.memberships aa_stamp": _INVITATIONS,
    "identity.memberships ab_guard_support": _SUPPORT,
    "identity.memberships ab_keep_suspended": _SUSPENDED,
    "identity.memberships ab_keep_suspended_change": _SUSPENDED,
    "identity.memberships ac_face_of_new": _CLOSING,
    "identity.memberships ac_face_of_returning": _FACES,
    "identity.memberships ae_demand_own_name": _SUPPORT,
    "identity.memberships count_seats": _IDENTITY,
    "identity.memberships demand_colleague": _SUPPORT,
    "identity.memberships demand_colleague_to_lift": _SUPPORT,
    "identity.memberships keep_owner": _IDENTITY,
    "identity.one_time_tokens ae_demand_own_name": _SUPPORT,
    "identity.support_grants ab_keep_suspended": _SUSPENDED,
    "identity.support_grants keep_one": _SUPPORT,
    "identity.team_members ab_admit": "tests/identity/team/test_team_members.py",
    "identity.team_members ab_keep_suspended": _SUSPENDED,
    "identity.teams ab_keep_suspended": _SUSPENDED,
    "identity.teams ae_demand_own_name": _SUPPORT,
    "identity.tenants ab_demand_admin": "tests/identity/platform/test_platform.py",
    "identity.tenants ab_guard_slug": "tests/identity/tenant/test_update.py",
    "identity.tenants ab_keep_suspended": _SUSPENDED,
    "identity.tenants ae_demand_own_name": _SUPPORT,
    "identity.tenants need_owner": _IDENTITY,
    "identity.users ae_demand_own_name": _SUPPORT,
    "issues.comments bb_author": _ISSUES,
    "issues.comments bb_hold_issue": "tests/issues/comment/test_api.py",
    "issues.issue_labels yb_count": _ISSUES,
    "issues.issue_labels yb_count_again": "tests/issues/issue/test_api.py",
    "issues.issues ba_number": _ISSUES,
    "issues.issues bb_status": _ISSUES,
    "issues.issues bc_parent": _ISSUES,
    "issues.issues bd_family": _ISSUES,
    "issues.issues be_resolution": _ISSUES,
    "issues.issues bf_reporter": _ISSUES,
    "issues.statuses yy_one_default": _ISSUES,
}
"""By guard the file, or the test, that fails without it."""
EQUIVALENT = {
    "audit.event_values no_truncate": "each month has its own, and TRUNCATE asks them all",
    "audit.events no_truncate": "each month has its own, and TRUNCATE asks them all",
}

_GUARDS = r"""
select c.oid::regclass::text, t.tgname from pg_trigger as t
inner join pg_class as c on c.oid = t.tgrelid
inner join pg_proc as p on p.oid = t.tgfoid
where not t.tgisinternal and not c.relispartition
    and c.relnamespace::regnamespace::text in ('identity', 'issues', 'audit')
    and p.pronamespace::regnamespace::text <> 'app' and p.prosrc ~ 'raise (exception|insufficient)|app\.refuse'
order by 1, 2
"""


def all_guards(admin: psycopg.Connection) -> list[Guard]:
    admin.execute("set search_path = pg_catalog")
    return [Guard(*row) for row in admin.execute(_GUARDS).fetchall()]


class Run(NamedTuple):
    passed: bool
    output: str


def run_tests(database: ScratchDatabase, tests: Sequence[str]) -> Run:
    """pytest by this database as the template, up to the first test that fails."""
    environment = os.environ | {
        "BULKHEAD_TEST_POSTGRES": "url",
        "BULKHEAD_TEST_DATABASE_URL": database.server.admin_url(),
        "BULKHEAD_TEST_TEMPLATE": database.name,
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-m",
        "not soak",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"pytest {' '.join(tests)}: {done.stdout}{done.stderr}")
    return Run(done.returncode == 0, done.stdout)
