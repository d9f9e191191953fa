"""Every constraint of the services' tables: by which request it would be violated, or why by none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class By:
    """A field of a request whose value reaches the constraint's column."""

    method: str
    place: str
    beside: dict[str, str] = field(default_factory=dict)
    """What other columns of the constraint hold then, which are null otherwise."""


@dataclass(frozen=True)
class Together:
    """Fields that are wrong only with each other."""

    method: str
    values: dict[str, Any]
    """By place, as JSON has them."""
    field: str
    reason: str = "INVALID_FIELD"
    code: str = "INVALID_ARGUMENT"


@dataclass(frozen=True)
class Twice:
    """The same value in a second call, for something else."""

    method: str
    place: str
    first: str = ""
    """The call that takes the value, if it is another one."""


@dataclass(frozen=True)
class Never:
    why: str


Verdict = By | Together | Twice | Never

SERVER_MAKES_IDS: Final = Never("the server makes the id anew for every row")
KNOWN_TENANT: Final = Never("the tenant is the caller's own, which the transaction's entry has found")
OWN_VALUE: Final = Never("the service writes one of a few values of its own")
DIGEST: Final = Never("a digest of fixed length that the service makes")
TOGETHER: Final = Never("one statement of the service sets or clears these columns together")
COUNTED: Final = Never("a counter that only the database's own functions and triggers move")
BY_TRIGGER: Final = Never("only triggers write this table, from a row that has passed its own constraints")
OWN_USER: Final = Never("the person is the signed-in one or was made in the same transaction")
NO_CALL_YET: Final = Never("no call writes this yet")
MEMBER_CALLER: Final = Never("the member is the caller, whom the transaction's entry has found")

RANDOM: Final = Never("256 random bits")
UPSERTED: Final = Never("the statement takes what is there: on conflict")

VERDICTS: Final[dict[str, list[Verdict]]] = {
    # audit: what may come in is refused by the writer's rules before.
    "audit.event_values_changes_check": [By("AppendEvents", "events[0].changes_json")],
    "audit.event_values_ip_check": [By("AppendEvents", "events[0].ip")],
    "audit.event_values_user_agent_check": [By("AppendEvents", "events[0].user_agent")],
    "audit.events_action_check": [By("AppendEvents", "events[0].action")],
    "audit.events_entity_type_check": [By("AppendEvents", "events[0].entity_type")],
    "audit.events_request_id_check": [By("AppendEvents", "events[0].request_id")],
    "audit.events_rpc_check": [By("AppendEvents", "events[0].rpc")],
    "audit.events_service_check": [By("AppendEvents", "events[0].service")],
    "audit.(event_values_salt|events_leaf_hash|events_values_digest)_check": [DIGEST],
    "audit.events_(actor_type|outcome|visibility|encoding)_check": [OWN_VALUE],
    "audit.(events_seq|logs_size)_check": [COUNTED],
    "audit.(events|event_values|logs)_pkey": [UPSERTED],
    # identity: rows that its own code makes.
    "identity.(api_keys|invitations|mail_asks|mails|one_time_tokens|refresh_tokens|sessions|support_entries"
    "|support_grants|teams|tenants|users)_pkey": [SERVER_MAKES_IDS],
    "identity.(face_changes|login_throttles|mail_limits|tenant_allowances|user_credentials|user_profiles)_pkey": [
        UPSERTED
    ],
    "identity.tenant_usage_pkey": [Never("made once, with its tenant")],
    "identity.(memberships|tenants|tenant_usage|support_grants|teams|invitations)_(.*_)?tenant_id_fkey": [KNOWN_TENANT],
    "identity.(outbox|outbox_parked)_.*": [BY_TRIGGER],
    "identity.(login_throttles_bucket|mail_limits_bucket|mail_asks_request_digest|mails_request_digest"
    "|request_ids_request_digest|user_request_ids_request_digest|api_keys_secret_hash|invitations_token_hash"
    "|one_time_tokens_token_hash|refresh_tokens_token_hash)_check": [DIGEST],
    "identity.(api_keys_secret_hash|invitations_token_hash|one_time_tokens_token_hash|refresh_tokens_token_hash)_key": [
        RANDOM
    ],
    "identity.(mail_asks_purpose|mails_kind|one_time_tokens_purpose|sessions_revoked_reason|users_kind|users_status"
    "|memberships_status|invitations_status|tenants_status)_check": [OWN_VALUE],
    "identity.(mail_asks_mailed_at|mails_sent_at|mails_to_whom|api_keys_revoked_at|invitations_accepted|invitations_revoked"
    "|invitations_to_whom|memberships_disabled_at|memberships_left_at|one_time_tokens_used_at|one_time_tokens_used_by_request"
    "|sessions_revoked_at|support_grants_revoked_at|tenants_deleted_at|team_members_is_lead"
    "|memberships_support_until|one_time_tokens_password_hash)_check": [TOGETHER],
    "identity.(login_throttles_failures|mails_attempts|one_time_tokens_attempts|tenant_usage_.*)_check": [COUNTED],
    "identity.mails_last_error_check": [Never("the worker shortens what an SMTP server said")],
    "identity.mails_details_check": [Never("made of texts whose own lengths are bounded")],
    "identity.mails_cause_check": [Never("the table's own trigger sets whose turn it is, of each row")],
    "identity.mails_is_due_check": [Never("the table's own trigger sets it, of each row")],
    "identity.mails_to_address_check": [By("ResendVerification", "email")],
    "identity.mail_asks_email_check": [By("RequestPasswordReset", "email"), By("ResendVerification", "email")],
    "identity.api_keys_display_name_check": [By("CreateApiKey", "display_name")],
    "identity.api_keys_expires_at_check": [
        Together("CreateApiKey", {"expire_time": "2020-01-01T00:00:00Z"}, "expire_time")
    ],
    "identity.api_keys_ip_ranges_check": [
        Together("CreateApiKey", {"ip_ranges": [f"10.0.{n}.0/24" for n in range(21)]}, "ip_ranges")
    ],
    "identity.api_keys_prefix_check": [OWN_VALUE],
    "identity.api_keys_user_id_fkey": [By("CreateApiKey", "user_id")],
    "identity.invitations_email_check": [By("InviteMember", "email")],
    "identity.invitations_role_check": [By("InviteMember", "role")],
    "identity.invitations_open_email_key": [Twice("InviteMember", "email")],
    "identity.invitations_accepted_by_fkey": [TOGETHER],
    "identity.one_time_tokens_full_name_check": [By("SignUp", "full_name")],
    "identity.one_time_tokens_user_id_fkey": [OWN_USER],
    "identity.one_time_tokens_live_reset_key": [
        Never("the statement that makes a token revokes the live one, with the person's row locked")
    ],
    "identity.plans_.*": [NO_CALL_YET],
    "identity.refresh_tokens_(parent_id_check|parent_id_key|first_key|session_id_fkey)": [
        Never("a child is made of its parent, with the session's row locked")
    ],
    "identity.(request_ids|user_request_ids)_pkey": [
        Never("looked up in the same transaction; of two at once one waits and replays: tests/system/test_concurrency")
    ],
    "identity.request_ids_principal_check": [OWN_VALUE],
    "identity.sessions_user_id_fkey": [OWN_USER],
    "identity.sessions_user_agent_check": [Never("metadata.py cuts it: tests/kit/rpc/test_metadata")],
    "identity.support_grants_expires_at_check": [Together("GrantSupportAccess", {"duration": "691200s"}, "duration")],
    "identity.support_grants_reason_check": [By("GrantSupportAccess", "reason")],
    "identity.support_grants_role_check": [By("GrantSupportAccess", "role")],
    "identity.support_entries_.*_fkey": [TOGETHER],
    "identity.team_members_pkey": [UPSERTED],
    "identity.team_members_team_id_fkey": [By("AddTeamMember", "team_id")],
    "identity.team_members_user_id_fkey": [By("AddTeamMember", "user_id")],
    "identity.teams_name_key_check": [By("CreateTeam", "team.name"), By("UpdateTeam", "team.name")],
    "identity.teams_name_check": [By("CreateTeam", "team.name"), By("UpdateTeam", "team.name")],
    "identity.teams_name_key_key": [
        Twice("CreateTeam", "team.name"),
        Twice("UpdateTeam", "team.name", first="CreateTeam"),
    ],
    "identity.teams_description_check": [
        By("CreateTeam", "team.description"),
        By("UpdateTeam", "team.description"),
    ],
    "identity.tenants_branding_check": [By("UpdateTenant", "tenant.branding")],
    "identity.tenants_branding_depth_check": [By("UpdateTenant", "tenant.branding")],
    "identity.tenants_settings_check": [By("UpdateTenant", "tenant.settings")],
    "identity.tenants_settings_depth_check": [By("UpdateTenant", "tenant.settings")],
    "identity.tenants_description_check": [By("UpdateTenant", "tenant.description")],
    "identity.tenants_domain_check": [By("UpdateTenant", "tenant.domain")],
    "identity.tenants_industry_check": [By("UpdateTenant", "tenant.industry")],
    "identity.tenants_logo_url_check": [By("UpdateTenant", "tenant.logo_url")],
    "identity.tenants_website_url_check": [By("UpdateTenant", "tenant.website_url")],
    "identity.tenants_name_check": [By("CreateTenant", "tenant.name"), By("UpdateTenant", "tenant.name")],
    "identity.tenants_slug_check": [By("CreateTenant", "tenant.slug")],
    "identity.tenants_slug_key": [Twice("CreateTenant", "tenant.slug")],
    "identity.tenants_size_check": [OWN_VALUE],
    "identity.tenants_status_reason_check": [By("SuspendTenant", "reason")],
    "identity.tenants_max_users_override_check": [By("ChangePlan", "overrides.max_users")],
    "identity.tenants_max_projects_override_check": [By("ChangePlan", "overrides.max_projects")],
    "identity.tenants_max_storage_bytes_override_check": [By("ChangePlan", "overrides.max_storage_bytes")],
    "identity.tenants_plan_code_fkey": [By("ChangePlan", "plan_code")],
    "identity.tenants_tenant_id_check": [SERVER_MAKES_IDS],
    "identity.user_credentials_password_hash_check": [DIGEST],
    "identity.(face_changes|user_credentials|user_profiles)_user_id_fkey": [OWN_USER],
    "identity.tenant_allowances_user_id_fkey": [Never("the statement before has found the person")],
    "identity.tenant_allowances_max_tenants_check": [By("SetTenantLimit", "max_tenants")],
    "identity.user_profiles_bio_check": [By("UpdateMe", "user.bio")],
    "identity.user_profiles_company_check": [By("UpdateMe", "user.company")],
    "identity.user_profiles_department_check": [By("UpdateMe", "user.department")],
    "identity.user_profiles_job_title_check": [By("UpdateMe", "user.job_title")],
    "identity.user_profiles_locale_check": [By("UpdateMe", "user.locale")],
    "identity.user_profiles_phone_check": [By("UpdateMe", "user.phone")],
    "identity.user_profiles_preferences_check": [By("UpdateMe", "user.preferences")],
    "identity.user_profiles_preferences_depth_check": [By("UpdateMe", "user.preferences")],
    "identity.user_profiles_time_zone_check": [By("UpdateMe", "user.time_zone")],
    "identity.users_(avatar_url|first_name|last_name)_check": [
        By("UpdateMe", "user.avatar_url"),
        By("UpdateMe", "user.first_name"),
        By("UpdateMe", "user.last_name"),
    ],
    "identity.users_full_name_check": [By("UpdateMe", "user.full_name"), By("SignUp", "full_name")],
    "identity.users_email_check": [By("SignUp", "email")],
    "identity.users_email_key_key": [
        Never("a known address is mailed instead, so that nobody learns of it: tests/identity/registration")
    ],
    "identity.users_user_id_kind_key": [SERVER_MAKES_IDS],
    "identity.users_(email_verified_at|is_platform_admin)_check": [OWN_VALUE],
    "identity.memberships_avatar_url_check": [
        By("UpdateMe", "user.avatar_url"),
        By("ImportMembers", "authors[0].avatar_url"),
    ],
    "identity.memberships_display_name_check": [
        By("UpdateMe", "user.full_name"),
        By("ImportMembers", "authors[0].display_name"),
    ],
    "identity.memberships_external_check": [
        By("ImportMembers", "authors[0].external_id", beside={"external_source": "x"})
    ],
    "identity.memberships_external_source_check": [By("ImportMembers", "external_source")],
    "identity.memberships_external_id_key": [UPSERTED],
    "identity.memberships_pkey": [
        Never("who is a member already is told so, with the person's lock held: tests/identity/membership")
    ],
    "identity.memberships_(kind_role|placeholder_role)_check": [
        Never("ChangeRole and CreateApiKey refuse it by the kind of member: tests/identity/membership, api_key")
    ],
    "identity.memberships_role_check": [By("ChangeRole", "role")],
    "identity.memberships_user_id_kind_fkey": [OWN_USER],
    "identity.memberships_disabled_by_fkey": [MEMBER_CALLER],
    "identity.(keep_owner|need_owner)": [Never("LAST_OWNER has tests of its own: tests/identity/membership")],
    # issues
    "issues.(comments|issues|labels|projects|workspaces)_pkey": [SERVER_MAKES_IDS],
    "issues.(labels|workspaces)_tenant_id_fkey": [KNOWN_TENANT],
    "issues.(outbox|outbox_parked|comment_revisions|issue_changes|issue_status_history)_.*": [BY_TRIGGER],
    "issues.(statuses|status_transitions)_.*": [NO_CALL_YET],
    "issues.yy_one_default": [NO_CALL_YET],
    "issues.request_ids_pkey": [
        Never("looked up in the same transaction; of two at once one waits and replays: tests/system/test_concurrency")
    ],
    "issues.request_ids_principal_check": [OWN_VALUE],
    "issues.(request_ids_request|issues_external|comments_external|comments_external_body)_digest_check": [DIGEST],
    "issues.comments_body_check": [By("CreateComment", "comment.body"), By("UpdateComment", "comment.body")],
    "issues.comments_visibility_check": [
        By("CreateComment", "comment.visibility"),
        By("UpdateComment", "comment.visibility"),
    ],
    "issues.comments_revision_check": [COUNTED],
    "issues.(comments|issues)_external_id_check": [
        Never("refused item by item, with a report: tests/system/test_bad_values, tests/issues/importing")
    ],
    "issues.(comments|issues)_tenant_id_external_key": [UPSERTED],
    "issues.comments_tenant_id_issue_id_fkey": [By("CreateComment", "comment.issue_id")],
    "issues.comments_tenant_id_author_id_fkey": [MEMBER_CALLER],
    "issues.issue_labels_pkey": [UPSERTED],
    "issues.issue_labels_tenant_id_issue_id_fkey": [By("AddLabel", "issue_id")],
    "issues.issue_labels_tenant_id_label_id_fkey": [
        By("AddLabel", "label_id"),
        By("CreateIssue", "issue.label_ids[0]"),
    ],
    "issues.issues_breached_at_check": [NO_CALL_YET],
    "issues.issues_due_at_check": [
        Together(
            method,
            {"issue.start_time": "2026-02-02T00:00:00Z", "issue.due_time": "2026-02-01T00:00:00Z"},
            "issue.due_time",
        )
        for method in ("CreateIssue", "UpdateIssue")
    ],
    "issues.issues_description_check": [
        By("CreateIssue", "issue.description"),
        By("UpdateIssue", "issue.description"),
    ],
    "issues.issues_(estimate|spent)_minutes_check": [
        By(method, f"issue.{name}_minutes")
        for method in ("CreateIssue", "UpdateIssue")
        for name in ("estimate", "spent")
    ],
    "issues.issues_metadata_check": [By("CreateIssue", "issue.metadata"), By("UpdateIssue", "issue.metadata")],
    "issues.issues_metadata_depth_check": [By("CreateIssue", "issue.metadata"), By("UpdateIssue", "issue.metadata")],
    "issues.issues_priority_check": [By("CreateIssue", "issue.priority"), By("UpdateIssue", "issue.priority")],
    "issues.issues_type_check": [By("CreateIssue", "issue.type"), By("UpdateIssue", "issue.type")],
    "issues.issues_title_check": [By("CreateIssue", "issue.title"), By("UpdateIssue", "issue.title")],
    "issues.issues_number_check": [COUNTED],
    "issues.issues_tenant_id_project_id_number_key": [
        Never("the number comes from the project's counter, under its lock: tests/system/test_concurrency")
    ],
    "issues.issues_resolved_at_check": [BY_TRIGGER],
    "issues.issues_tenant_id_assignee_id_fkey": [
        By("CreateIssue", "issue.assignee_id"),
        By("AssignIssue", "assignee_id"),
    ],
    "issues.issues_tenant_id_parent_id_fkey": [By("CreateIssue", "issue.parent_id")],
    "issues.issues_tenant_id_project_id_fkey": [By("CreateIssue", "issue.project_id")],
    "issues.issues_tenant_id_reporter_id_fkey": [MEMBER_CALLER],
    "issues.issues_tenant_id_status_id_status_category_fkey": [
        By("CreateIssue", "issue.status_id"),
        By("TransitionIssue", "status_id"),
    ],
    "issues.labels_color_check": [By("CreateLabel", "label.color"), By("UpdateLabel", "label.color")],
    "issues.labels_description_check": [
        By("CreateLabel", "label.description"),
        By("UpdateLabel", "label.description"),
    ],
    "issues.labels_name_key_check": [By("CreateLabel", "label.name"), By("UpdateLabel", "label.name")],
    "issues.labels_name_check": [By("CreateLabel", "label.name"), By("UpdateLabel", "label.name")],
    "issues.labels_tenant_id_name_key_key": [
        Twice("CreateLabel", "label.name"),
        Twice("UpdateLabel", "label.name", first="CreateLabel"),
    ],
    "issues.projects_budget_check": [By("CreateProject", "project.budget"), By("UpdateProject", "project.budget")],
    "issues.projects_description_check": [
        By("CreateProject", "project.description"),
        By("UpdateProject", "project.description"),
    ],
    "issues.projects_end_date_check": [
        Together(
            method,
            {"project.start_date": "2026-02-02", "project.end_date": "2026-02-01"},
            "project.end_date",
        )
        for method in ("CreateProject", "UpdateProject")
    ],
    "issues.projects_key_check": [By("CreateProject", "project.key")],
    "issues.projects_tenant_id_key_key": [Twice("CreateProject", "project.key")],
    "issues.projects_metadata_check": [
        By("CreateProject", "project.metadata"),
        By("UpdateProject", "project.metadata"),
    ],
    "issues.projects_metadata_depth_check": [
        By("CreateProject", "project.metadata"),
        By("UpdateProject", "project.metadata"),
    ],
    "issues.projects_name_check": [By("CreateProject", "project.name"), By("UpdateProject", "project.name")],
    "issues.projects_next_number_check": [COUNTED],
    "issues.projects_priority_check": [
        By("CreateProject", "project.priority"),
        By("UpdateProject", "project.priority"),
    ],
    "issues.projects_status_check": [By("CreateProject", "project.status"), By("UpdateProject", "project.status")],
    "issues.projects_tenant_id_created_by_fkey": [MEMBER_CALLER],
    "issues.projects_tenant_id_lead_id_fkey": [
        By("CreateProject", "project.lead_id"),
        By("UpdateProject", "project.lead_id"),
    ],
    "issues.projects_tenant_id_owner_team_id_fkey": [
        By("CreateProject", "project.owner_team_id"),
        By("UpdateProject", "project.owner_team_id"),
    ],
    "issues.projects_tenant_id_workspace_id_fkey": [By("CreateProject", "project.workspace_id")],
    "issues.workspaces_name_key_check": [By("CreateWorkspace", "workspace.name")],
    "issues.workspaces_name_check": [By("CreateWorkspace", "workspace.name")],
    "issues.workspaces_description_check": [By("CreateWorkspace", "workspace.description")],
    "issues.workspaces_tenant_id_name_key_key": [Twice("CreateWorkspace", "workspace.name")],
}
"""By the names of constraints, as patterns; each constraint belongs to exactly one."""
