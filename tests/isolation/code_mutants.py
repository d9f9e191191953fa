"""The services with one check left out. Each is patched before a house is built, and must be noticed by calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from bulkhead_kit import tokens
from bulkhead_kit.interceptors import base, caller, policy
from bulkhead_kit.services_auth import ServiceAllowList

from tests.support.postgres import ScratchDatabase

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class CodeMutant:
    name: str
    method: str
    """One whose probes must notice."""
    patch: Patch | None = None
    sql: str = ""

    def plant(self, monkeypatch: pytest.MonkeyPatch, database: ScratchDatabase) -> None:
        if self.patch is not None:
            self.patch(monkeypatch)
        if self.sql:
            with database.server.admin(database.name) as connection:
                connection.execute(self.sql.encode())


def _nothing(*_: Any, **__: Any) -> None:
    """In place of a check."""


def _no_scope(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(base, "checker", lambda *_: _nothing)


def _no_role(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policy, "_member_checker", lambda _: _nothing)


def _no_list_of_services(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ServiceAllowList, "check", _nothing)


def _people_as_services(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policy, "_services_only", _nothing)


def _services_as_people(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policy, "_check_service", _nothing)


def _no_header_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(caller, "_demand_tenant", _nothing)


def _header_believed(patch: pytest.MonkeyPatch) -> None:
    """The tenant of the metadata, whatever the token says."""
    member = caller._member

    def trusting(claims: Any, call: Any, found: Any) -> Any:
        named = replace(claims, tid=found.tenant_id or claims.tid)
        return member(named, call, found)

    patch.setattr(caller, "_member", trusting)


def _no_expiry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tokens.Verifier, "_check_times", _nothing)


def _no_signature(patch: pytest.MonkeyPatch) -> None:
    class Credulous:
        @staticmethod
        def verify(*_: object) -> bool:
            return True

    patch.setattr(tokens, "_es256", Credulous)


def _no_audience(patch: pytest.MonkeyPatch) -> None:
    read = tokens._object

    def forgetful(segment: str) -> dict[str, object]:
        payload = read(segment)
        return {**payload, "aud": "bulkhead"} if payload.get("aud") == "elsewhere" else payload

    patch.setattr(tokens, "_object", forgetful)


_NO_MEMBERSHIP = """
    create or replace function identity.check_membership(
        p_tenant uuid, p_user uuid, p_role smallint, p_version integer, p_write boolean
    ) returns table (role smallint, status text, team_ids uuid[])
    language sql volatile security definer rows 1 set search_path = pg_catalog, pg_temp
    as $$ select p_role, 'active', array[]::uuid[] $$
"""
_NO_STATUS = """
    create or replace function identity.check_membership(
        p_tenant uuid, p_user uuid, p_role smallint, p_version integer, p_write boolean
    ) returns table (role smallint, status text, team_ids uuid[])
    language sql volatile security definer rows 1 set search_path = pg_catalog, pg_temp
    as $$
        select m.role, m.status, array[]::uuid[] from identity.memberships as m
        where m.tenant_id = p_tenant and m.user_id = p_user and m.version = p_version
    $$
"""
_NO_TENANT = """
    create or replace function identity.check_tenant(p_tenant uuid, p_write boolean) returns void
    language sql volatile security definer set search_path = pg_catalog, pg_temp as $$ select $$
"""
_NO_ADMINISTRATORS = """
    create or replace function identity.check_platform_admin() returns void
    language sql stable security definer set search_path = pg_catalog, pg_temp as $$ select $$
"""
_LABEL = "bulkhead.issues.v1.LabelService/CreateLabel"
_APPEND = "bulkhead.audit.v1.AuditWriterService/AppendEvents"
_PLANS = "bulkhead.identity.v1.PlatformService/ListPlans"
_IMPORT = "bulkhead.identity.v1.MembershipService/ImportMembers"

MUTANTS = [
    CodeMutant("the scope is not checked", _LABEL, _no_scope),
    CodeMutant("the role is not checked", _LABEL, _no_role),
    CodeMutant("the list of services is not kept", _IMPORT, _no_list_of_services),
    CodeMutant("people may call what is for services", _APPEND, _people_as_services),
    CodeMutant("services may call what is for people", _LABEL, _services_as_people),
    CodeMutant("the tenant header is not compared", _LABEL, _no_header_compared),
    CodeMutant("the tenant header is believed", _LABEL, _header_believed),
    CodeMutant("expiry is not checked", _LABEL, _no_expiry),
    CodeMutant("signatures are not checked", _LABEL, _no_signature),
    CodeMutant("the audience is not checked", _LABEL, _no_audience),
    CodeMutant("the membership is not checked", _LABEL, sql=_NO_MEMBERSHIP),
    CodeMutant("the membership's state and role are not checked", _LABEL, sql=_NO_STATUS),
    CodeMutant("who administers the platform is not looked up", _PLANS, sql=_NO_ADMINISTRATORS),
    CodeMutant("the tenant of a service's call is not checked", _IMPORT, sql=_NO_TENANT),
]
