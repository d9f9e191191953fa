"""What each login may do, written down by hand: the probes compare what happens with this, not with the catalogue.

Whoever grants more, or loosens a policy, has to say so here, where a reviewer sees it.
"""

from __future__ import annotations

from typing import NamedTuple

EVERY_OTHER = "*"
"""Tables that are not named, those to come too."""

RIGHTS: dict[str, dict[str, str]] = {
    # By login and table: S select, I insert, U update, D delete; of some columns at least.
    "bulkhead_identity_app": {
        "identity.alembic_version": "S",
        "identity.api_keys": "SIU",
        "identity.invitations": "SIU",
        "identity.memberships": "SU",
        "identity.plans": "S",
        "identity.request_ids": "SIU",
        "identity.sessions": "SU",
        "identity.support_grants": "SIU",
        "identity.team_members": "SIU",
        "identity.teams": "SIU",
        "identity.tenant_usage": "S",
        "identity.tenants": "SU",
        "identity.user_request_ids": "SIU",
        "identity.user_profiles": "SIU",
        "identity.users": "SU",
    },
    "bulkhead_issues_app": {
        "issues.alembic_version": "S",
        "issues.comment_revisions": "S",
        "issues.comments": "SIU",
        "issues.issue_changes": "S",
        "issues.issue_labels": "SIU",
        "issues.issue_status_history": "S",
        "issues.issues": "SIU",
        "issues.labels": "SIU",
        "issues.projects": "SIU",
        "issues.request_ids": "SIU",
        "issues.status_transitions": "SIU",
        "issues.statuses": "SIU",
        "issues.workspaces": "SIU",
    },
    "bulkhead_audit_app": {
        "audit.alembic_version": "S",
        "audit.event_values": "SI",
        "audit.events": "SI",
        "audit.logs": "SIU",
        "audit.own_event_values": "S",
        "audit.own_events": "S",
    },
    "bulkhead_platform_app": {
        "identity.plans": "S",
        "identity.tenant_usage": "S",
        "identity.tenants": "SU",
        "identity.user_request_ids": "SIU",
    },
    "bulkhead_identity_relay": {"identity.outbox": "SD", "identity.outbox_parked": "SIUD"},
    "bulkhead_issues_relay": {"issues.outbox": "SD", "issues.outbox_parked": "SIUD"},
    "bulkhead_identity_worker": {
        "identity.face_changes": "S",
        "identity.invitations": "S",
        "identity.login_throttles": "SD",
        "identity.mail_asks": "SD",
        "identity.mail_limits": "SD",
        "identity.mails": "SUD",
        "identity.one_time_tokens": "SD",
        "identity.refresh_tokens": "SD",
        "identity.request_ids": "SD",
        "identity.sessions": "SD",
        "identity.user_request_ids": "SD",
    },
    "bulkhead_issues_worker": {"issues.request_ids": "SD"},
    "bulkhead_audit_worker": {},
    "bulkhead_ops": {},
    "bulkhead_eraser": {},
    # A dump has the text of views, not their rows.
    "bulkhead_backup": {EVERY_OTHER: "S", "audit.own_event_values": "", "audit.own_events": ""},
}

NEVER_WRITTEN = ("tenant_id", "user_id", "principal", "created_by", "created_at", "version")
"""Columns no app role may update: whose a row is stays, the rest is the triggers'."""


class Levels(NamedTuple):
    """The least app.role_level() that reads, inserts and updates; None where the app role has no such right."""

    read: int
    insert: int | None = None
    update: int | None = None


LEVELS = {
    "identity.api_keys": Levels(4, 4, 4),
    "identity.invitations": Levels(4, 4, 4),
    "identity.memberships": Levels(1, None, 4),
    "identity.support_grants": Levels(5, 5, 5),
    "identity.team_members": Levels(1, 3, 3),
    "identity.teams": Levels(1, 3, 3),
    "identity.tenant_usage": Levels(1),
    "identity.tenants": Levels(1, None, 4),
    "issues.comment_revisions": Levels(1),
    "issues.comments": Levels(1, 2, 2),
    "issues.issue_changes": Levels(1),
    "issues.issue_labels": Levels(1, 2, 2),
    "issues.issue_status_history": Levels(1),
    "issues.issues": Levels(1, 2, 2),
    "issues.labels": Levels(1, 3, 3),
    "issues.projects": Levels(1, 3, 3),
    "issues.status_transitions": Levels(1, 3, 3),
    "issues.statuses": Levels(1, 3, 3),
    "issues.workspaces": Levels(1, 3, 3),
    "audit.event_values": Levels(4, 6),
    "audit.events": Levels(4, 6),
    "audit.logs": Levels(6, 6, 6),
}

HIDDEN: dict[str, tuple[int, str]] = {
    # By table: below this level not even a row of the own tenant that fulfils the condition is seen.
    "issues.comments": (2, "visibility = 2"),
    "issues.comment_revisions": (2, "visibility = 2"),
}


class OwnRows(NamedTuple):
    """A table where a person sees and changes only what is hers, within a tenant or without one."""

    others: str
    """True of a row that is somebody else's."""
    change: str = ""
    """What she may do to hers."""
    insert: str = ""
    """A row of whose it is to be."""


_CALL = (
    "insert into identity.user_request_ids (user_id, request_id, rpc, request_digest)"
    " values (%s, gen_random_uuid(), 'a/B', decode(repeat('00', 32), 'hex'))"
)
OWN_ROWS = {
    "identity.users": OwnRows("user_id <> app.current_user_id()", "full_name = 'X'"),
    "identity.user_profiles": OwnRows(
        "user_id <> app.current_user_id()", "bio = 'X'", "insert into identity.user_profiles (user_id) values (%s)"
    ),
    "identity.sessions": OwnRows("user_id <> app.current_user_id()", "revoked_at = now(), revoked_reason = 'logout'"),
    "identity.user_request_ids": OwnRows("user_id <> app.current_user_id()", "reply = ''", _CALL),
    "identity.request_ids": OwnRows("principal <> app.principal()", "reply = ''"),
    "issues.request_ids": OwnRows("principal <> app.principal()", "reply = ''"),
}

READ_BY_MEMBERS = {"identity.plans"}
"""Tables of no tenant that every role of one reads, and nobody without a role."""

PLATFORM = {
    # What bulkhead_platform_app sees and changes, in the name of a person and outside every tenant only.
    "identity.plans": frozenset[str](),
    "identity.tenant_usage": frozenset[str](),
    "identity.tenants": frozenset({"plan_code"}),
}
