"""Whether the roles of an installation are those that `bulkhead migrate` made, and nobody else can take their place.

Roles belong to the whole server. One that was there before may have members, a password or powers that somebody else
counts on; so what was not made here is neither changed nor trusted. The look is at the catalogue only and open to every
login: a migration, each process at its start and the doctor take the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import psycopg

from bulkhead_kit.start_error import StartError

OWNERS: Final = ("bulkhead_app_owner", "bulkhead_identity_owner", "bulkhead_issues_owner", "bulkhead_audit_owner")
DEFINERS: Final = (
    "bulkhead_identity_definer",
    "bulkhead_issues_definer",
    "bulkhead_issues_search",
    "bulkhead_audit_partition",
    "bulkhead_audit_definer",
)
LOGINS: Final = (
    "bulkhead_identity_app",
    "bulkhead_issues_app",
    "bulkhead_audit_app",
    "bulkhead_platform_app",
    "bulkhead_identity_relay",
    "bulkhead_issues_relay",
    "bulkhead_identity_worker",
    "bulkhead_issues_worker",
    "bulkhead_audit_worker",
    "bulkhead_ops",
    "bulkhead_eraser",
    "bulkhead_backup",
)
MARK: Final = "Made by bulkhead migrate."
"""The comment of each role. It keeps an accident away, such as a role of the same name for something else; against
somebody who writes it on a role of his own there is the look at who has power over it."""


class RoleFault(NamedTuple):
    role: str
    fault: str
    mend: str
    """A statement for a superuser; empty where there is more than one way."""


class RolesRefusedError(StartError):
    """Roles of the server are not to be trusted. Nothing was changed."""

    def __init__(self, faults: Sequence[RoleFault]) -> None:
        super().__init__(said(faults))
        self.faults = tuple(faults)


class Login(NamedTuple):
    """Who a connection is, as the server says."""

    name: str
    acts_as: str
    is_superuser: bool
    bypasses_rls: bool
    owns: bool
    """Anything on the server. An owner may change policies and triggers of what it owns."""


LOGIN: Final = """
select
    cast(session_user as text) as name,
    cast(current_user as text) as acts_as,
    bool_or(r.rolsuper) as is_superuser,
    bool_or(r.rolbypassrls) as bypasses_rls,
    exists (
        select from pg_catalog.pg_shdepend as s inner join pg_catalog.pg_roles as o on o.oid = s.refobjid
        where s.refclassid = cast('pg_authid' as regclass) and s.deptype = 'o'
            and o.rolname in (session_user, current_user)
    ) as owns
from pg_catalog.pg_roles as r where r.rolname in (session_user, current_user)
"""


def login_faults(found: Login, wanted: str) -> list[RoleFault]:
    """Why a process must not work as it is logged in: the walls bind none but the login they are written for."""
    faults = []
    if found.name != wanted:
        faults.append(f"is logged in where {wanted} is wanted: correct the database's URL")
    if found.acts_as != found.name:
        faults.append(f"acts as {found.acts_as}, as by alter role ... set role")
    if found.is_superuser:
        faults.append("is a superuser, whom no row-level security binds")
    elif found.bypasses_rls:
        faults.append("has BYPASSRLS, so that no row-level security binds it")
    if found.owns and not found.is_superuser:
        faults.append("owns something in the database, and an owner may change what protects it")
    return [RoleFault(found.name, fault, "") for fault in faults]


def said(faults: Iterable[RoleFault]) -> str:
    return "; ".join(dict.fromkeys(f"{fault.role} {fault.fault}" for fault in faults))


def look(connection: psycopg.Connection[Any]) -> list[RoleFault]:
    with connection.cursor() as cursor:
        return [RoleFault(*row) for row in cursor.execute(FAULTS).fetchall()]


def demand_ours(connection: psycopg.Connection[Any], *, adopt: bool = False) -> None:
    """Raises RolesRefusedError. `adopt` takes roles made elsewhere, but none that somebody else has power over."""
    faults = [one for one in look(connection) if not (adopt and one.fault.startswith(NOT_OURS))]
    if faults:
        raise RolesRefusedError(faults)


NOT_OURS: Final = "was not made by bulkhead migrate"

# The database's owner migrates it, and a superuser may do everything: they are no finding. Whoever makes a role has it
# to give away, from PostgreSQL 16 on as a membership of his, so that a stranger who made one of ours is found here.
FAULTS: Final = """
with found as (
    select r.oid, r.rolname, r.rolname in (
        'bulkhead_identity_app', 'bulkhead_issues_app', 'bulkhead_audit_app', 'bulkhead_platform_app',
        'bulkhead_identity_relay', 'bulkhead_issues_relay', 'bulkhead_identity_worker', 'bulkhead_issues_worker',
        'bulkhead_audit_worker', 'bulkhead_ops', 'bulkhead_eraser', 'bulkhead_backup'
    ) as logs_in, coalesce(shobj_description(r.oid, 'pg_authid') = 'Made by bulkhead migrate.', false) as is_ours,
        r.rolsuper or r.rolcreatedb or r.rolcreaterole or r.rolreplication as is_mighty, r.rolbypassrls, r.rolcanlogin
    from pg_catalog.pg_roles as r
    where r.rolname in (
        'bulkhead_app_owner', 'bulkhead_identity_owner', 'bulkhead_issues_owner', 'bulkhead_audit_owner',
        'bulkhead_identity_definer', 'bulkhead_issues_definer', 'bulkhead_issues_search', 'bulkhead_audit_partition',
        'bulkhead_audit_definer',
        'bulkhead_identity_app', 'bulkhead_issues_app', 'bulkhead_audit_app', 'bulkhead_platform_app',
        'bulkhead_identity_relay', 'bulkhead_issues_relay', 'bulkhead_identity_worker', 'bulkhead_issues_worker',
        'bulkhead_audit_worker', 'bulkhead_ops', 'bulkhead_eraser', 'bulkhead_backup'
    )
),
trusted as (
    select r.oid from pg_catalog.pg_roles as r
    where r.rolsuper or r.oid = (
        select d.datdba from pg_catalog.pg_database as d where d.datname = current_database()
    )
),
members as (
    select m.roleid, m.member, m.admin_option, cast(m.roleid as regrole) as role_name,
        cast(m.member as regrole) as member_name, cast(m.grantor as regrole) as grantor_name
    from pg_catalog.pg_auth_members as m
),
faults as (
    select f.rolname, concat('was not made by bulkhead migrate', ' and is used in ' || (
        select string_agg(distinct cast(d.datname as text), ', ')
        from pg_catalog.pg_shdepend as s inner join pg_catalog.pg_database as d on d.oid = s.dbid
        where s.refclassid = cast('pg_authid' as regclass) and s.refobjid = f.oid
    )) as fault, '' as mend
    from found as f where not f.is_ours
    union all
    select f.rolname, 'has a power of the server that it was not given',
        -- Another program's role may need it.
        case when f.is_ours then format(
            'alter role %I %s nosuperuser nocreatedb nocreaterole noreplication%s',
            f.rolname, case when f.logs_in then 'login' else 'nologin' end,
            case when f.rolname = 'bulkhead_backup' then '' else ' nobypassrls' end
        ) else '' end
    from found as f
    where f.is_mighty or f.rolcanlogin <> f.logs_in or (f.rolbypassrls and f.rolname <> 'bulkhead_backup')
    union all
    select f.rolname, format('can be taken by %s', m.member_name),
        format('revoke %I from %s granted by %s cascade', f.rolname, m.member_name, m.grantor_name)
    from found as f inner join members as m on m.roleid = f.oid
    where m.member not in (select t.oid from trusted as t) and not (
        f.rolname = 'bulkhead_audit_owner' and not m.admin_option
        and m.member = (select o.oid from found as o where o.rolname = 'bulkhead_audit_partition')
    )
    union all
    select f.rolname, format('is a member of %s', m.role_name),
        format('revoke %s from %I granted by %s cascade', m.role_name, f.rolname, m.grantor_name)
    from found as f inner join members as m on m.member = f.oid
    where m.roleid not in (select o.oid from found as o)
        and (f.rolname <> 'bulkhead_backup' or m.role_name <> cast('pg_read_all_data' as regrole))
)
select cast(rolname as text) as role, fault, mend from faults order by rolname, fault, mend
"""
