"""What the catalogue has no place for: the meaning of columns that are alike everywhere, of roles and of schemas."""

from collections.abc import Mapping
from dataclasses import dataclass

from bulkhead_cli.schema.model import Column, Table

SCHEMAS: Mapping[str, str] = {
    "app": "What the services' tables stand on: tenant context, walls, stamps, outbox and capture. No tables.",
    "identity": "Tenants, people, memberships, teams, sessions and tokens; the published membership check.",
    "issues": "Workspaces, projects, workflow, labels, issues, comments and their histories.",
    "audit": "The log of every change: numbered, hashed, partitioned by month, never changed.",
}

ROLES: Mapping[str, str] = {
    "bulkhead_app_owner": "Owns schema app.",
    "bulkhead_identity_owner": "Owns identity's tables and trigger functions; its migrations run under it.",
    "bulkhead_issues_owner": "Owns issues' tables and trigger functions; its migrations run under it.",
    "bulkhead_audit_owner": "Owns audit's tables and trigger functions; its migrations run under it.",
    "bulkhead_identity_definer": "Owns the functions that look across tenants before one is known, and nothing else.",
    "bulkhead_issues_definer": "Owns issues' functions that reach past what a call may, such as recording refusals.",
    "bulkhead_issues_search": "For a search function, which must look past policies for its index; owns nothing yet.",
    "bulkhead_audit_definer": "Owns audit's views of what somebody did, for those who may not read the whole log.",
    "bulkhead_audit_partition": "Owns the function that makes months of the log.",
    "bulkhead_identity_app": "The RPCs of identity.",
    "bulkhead_issues_app": "The RPCs of issues.",
    "bulkhead_audit_app": "The RPCs of audit.",
    "bulkhead_platform_app": "The RPCs of platform administrators: tenants and plans, never a tenant's work.",
    "bulkhead_identity_relay": "Delivers identity's outbox to audit and removes what audit has acknowledged.",
    "bulkhead_issues_relay": "Delivers issues' outbox to audit and removes what audit has acknowledged.",
    "bulkhead_identity_worker": "Due work of identity: sends mails, removes what has expired.",
    "bulkhead_issues_worker": "Due work of issues: removes answered calls that have expired.",
    "bulkhead_audit_worker": "Due work of audit: makes the coming months.",
    "bulkhead_ops": "Commands of operators, such as a bulk load.",
    "bulkhead_eraser": "For a command that will erase a person's values and leave an event of it; may do nothing yet.",
    "bulkhead_backup": "Dumps: the one role that reads past the walls, so that a dump misses no row.",
}

# Told once for all tables. A column of this name that means something else has a comment of its own, which wins.
COMMON: Mapping[str, str] = {
    "tenant_id": "The tenant whose row it is.",
    "created_at": "When the row was made; set by trigger.",
    "created_by": "The user who made it; null where no user did. Set by trigger.",
    "updated_at": "When it last changed; never goes back. Set by trigger.",
    "version": "Counts the changes; the etag of the API. Set by trigger.",
    "deleted_at": "Set: deleted, and hidden from lists. The row stays.",
    "archived_at": "Set: archived, kept for reading and no longer for use.",
    "removed_at": "Set: the two are no longer tied together. The row stays.",
    "revoked_at": "Set: no longer good for anything.",
    "expires_at": "Good for nothing from then on.",
    "external_source": "Where an imported row comes from, such as github/owner/repository.",
    "external_id": "Its name there.",
    "token_hash": "SHA-256 of the secret, which itself is stored nowhere.",
    "name": "What people call it.",
    "name_key": "The name as it is compared: `app.fold` of it.",
    "full_name": "First and last name, as she writes it.",
    "description": "Longer text for people.",
    "avatar_url": "Address of a picture.",
    "attempts": "How often it was tried.",
    "last_error": "What went wrong the last time.",
    "metadata": "Whatever a client wants to keep with it; read by no rule.",
    # Of events, on their way and in the log.
    "outbox_id": "The order in which a tenant's rows are delivered.",
    "event_id": "The event's id, from the outbox on.",
    "occurred_at": "When it happened, to the microsecond.",
    "action": "What happened: the entity and a past participle, such as issue.created.",
    "entity_type": "What it happened to, such as issue.",
    "entity_id": "Which one.",
    "sub_id": "The other end of an entity that ties two together, such as the label of an issue.",
    "project_id": "The project it belongs to; null outside of projects.",
    "visibility": "1: everyone. 2: internal, not for viewers.",
    "outcome": "ok, denied or failed.",
    "changes": "Field name -> [old value, new value].",
    "actor_id": "The user who did it; null when it was no user.",
    "actor_type": "person, service_account, service, anonymous, system or database.",
    "on_behalf_of": "The user for whom the actor did it, if for another.",
    "service": "The service through which it was done.",
    "rpc": "The full name of the called method.",
    "request_id": "The caller's own name for the call, by which a repeat is known.",
    "ip": "The caller's address.",
    "user_agent": "The caller's program, as it names itself.",
    "parked_at": "When the tenant's first refused batch was set aside.",
    "retry_at": "Not tried again before.",
    # Of answered calls.
    "principal": "Who called: the user, else the service.",
    "request_digest": "SHA-256 of the request: the same id with another request is refused.",
    "reply": "The answer, given again to a repeat.",
}


@dataclass(frozen=True)
class Tie:
    """One that no foreign key holds, with the reason."""

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    why: str


TIES = (
    Tie(
        "audit.event_values",
        ("tenant_id", "occurred_at", "event_id"),
        "audit.events",
        ("tenant_id", "occurred_at", "event_id"),
        "written in one transaction; erasing values and archiving a month must not wait for each other",
    ),
    Tie(
        "audit.events",
        ("tenant_id",),
        "audit.logs",
        ("tenant_id",),
        "the head is locked before every append, and neither is ever removed",
    ),
)


def purpose(table: Table, column: Column) -> str | None:
    """Its own comment, else what it refers to, else what its name means everywhere."""
    if column.comment:
        return column.comment
    if column.name.endswith("_id") and column.name != "tenant_id":
        for key in table.of_kind("f"):
            if column.name in key.columns:
                return f"Refers to {key.target}."
    if column.name in COMMON:
        return COMMON[column.name]
    if column.type == "uuid" and table.primary_key[-1:] == (column.name,):
        return "Its id: a UUIDv7, made by the service."
    return None
