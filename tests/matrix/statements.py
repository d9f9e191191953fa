"""The statement that does by SQL what a call does, as the service's own login: the same role must be enough for both.

Each is tried with the context of a member and undone. Calls without one are named with the reason.
"""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from bulkhead.issues.v1 import workflow_pb2
from bulkhead_kit.ids import new_id

from tests.isolation.world import Company

_MEMBER = "where tenant_id = %(tenant)s and user_id = %(member)s"
_ISSUE = "where tenant_id = %(tenant)s and issue_id = %(issue)s"
_COMMENT = "where tenant_id = %(tenant)s and comment_id = %(comment)s"
_OWN = "where tenant_id = %(tenant)s and comment_id = %(own)s"
_TEAM = "where tenant_id = %(tenant)s and team_id = %(team)s"
_LABEL = "where tenant_id = %(tenant)s and label_id = %(label)s"
_PROJECT = "where tenant_id = %(tenant)s and project_id = %(project)s"
_LABELLED = f"{_ISSUE} and label_id = %(label)s"

STATEMENTS = {
    "audit.AuditService/GetEvent": (
        "select count(*) from audit.own_events where tenant_id = %(tenant)s and event_id = any(%(events)s)"
    ),
    "audit.AuditService/ListEvents": "select count(*) from audit.own_events where tenant_id = %(tenant)s",
    "identity.ApiKeyService/CreateApiKey": (
        "insert into identity.api_keys (tenant_id, api_key_id, user_id, display_name, prefix, secret_hash)"
        " select tenant_id, %(new)s, user_id, 'by hand', 'bh_aaaaaaaa', %(hash)s from identity.memberships"
        " where tenant_id = %(tenant)s and kind = 'service' limit 1"
    ),
    "identity.ApiKeyService/ListApiKeys": "select count(*) from identity.api_keys where tenant_id = %(tenant)s",
    "identity.ApiKeyService/RevokeApiKey": (
        "update identity.api_keys set revoked_at = now() where tenant_id = %(tenant)s and api_key_id = %(api_key)s"
    ),
    "identity.MembershipService/ChangeRole": f"update identity.memberships set role = 2 {_MEMBER}",
    "identity.MembershipService/DisableMember": f"update identity.memberships set status = 'disabled' {_MEMBER}",
    "identity.MembershipService/EnableMember": (
        "update identity.memberships set status = 'active' where tenant_id = %(tenant)s and user_id = %(disabled)s"
    ),
    "identity.MembershipService/GetMember": f"select count(*) from identity.memberships {_MEMBER}",
    "identity.MembershipService/InviteMember": (
        "insert into identity.invitations (tenant_id, invitation_id, email, role, token_hash, expires_at)"
        " values (%(tenant)s, %(new)s, 'x@example.com', 1, %(hash)s, now() + interval '1 day')"
    ),
    "identity.MembershipService/ListInvitations": (
        "select count(*) from identity.invitations where tenant_id = %(tenant)s"
    ),
    "identity.MembershipService/ListMembers": "select count(*) from identity.memberships where tenant_id = %(tenant)s",
    "identity.MembershipService/RevokeInvitation": (
        "update identity.invitations set status = 'revoked'"
        " where tenant_id = %(tenant)s and invitation_id = %(invitation)s"
    ),
    "identity.TeamService/AddTeamMember": (
        "insert into identity.team_members (tenant_id, team_id, user_id) values (%(tenant)s, %(team)s, %(member)s)"
    ),
    "identity.TeamService/ArchiveTeam": f"update identity.teams set archived_at = now() {_TEAM}",
    "identity.TeamService/CreateTeam": (
        "insert into identity.teams (tenant_id, team_id, name) values (%(tenant)s, %(new)s, 'by hand')"
    ),
    "identity.TeamService/GetTeam": f"select count(*) from identity.teams {_TEAM}",
    "identity.TeamService/ListTeamMembers": f"select count(*) from identity.team_members {_TEAM}",
    "identity.TeamService/ListTeams": "select count(*) from identity.teams where tenant_id = %(tenant)s",
    "identity.TeamService/RemoveTeamMember": f"update identity.team_members set removed_at = now() {_TEAM}",
    "identity.TeamService/UnarchiveTeam": f"update identity.teams set archived_at = null {_TEAM}",
    "identity.TeamService/UpdateTeam": f"update identity.teams set name = 'by hand' {_TEAM}",
    "identity.TenantService/GetTenant": "select count(*) from identity.tenants where tenant_id = %(tenant)s",
    "identity.TenantService/GetUsage": "select count(*) from identity.tenant_usage where tenant_id = %(tenant)s",
    "identity.TenantService/GrantSupportAccess": (
        "insert into identity.support_grants (tenant_id, grant_id, role, reason, expires_at)"
        " values (%(tenant)s, %(new)s, 1, 'by hand', now() + interval '1 hour')"
    ),
    "identity.TenantService/RevokeSupportAccess": (
        "update identity.support_grants set revoked_at = now() where tenant_id = %(tenant)s"
    ),
    "identity.TenantService/UpdateTenant": (
        "update identity.tenants set description = 'other' where tenant_id = %(tenant)s"
    ),
    "identity.UserService/BatchGetMembers": f"select count(*) from identity.memberships {_MEMBER}",
    "issues.CommentService/CreateComment": (
        "insert into issues.comments (tenant_id, comment_id, issue_id, author_id, body)"
        " values (%(tenant)s, %(new)s, %(issue)s, %(caller)s, 'by hand')"
    ),
    "issues.CommentService/DeleteComment": f"update issues.comments set deleted_at = now() {_OWN}",
    "issues.CommentService/GetComment": f"select count(*) from issues.comments {_COMMENT}",
    "issues.CommentService/ListCommentRevisions": f"select count(*) from issues.comment_revisions {_COMMENT}",
    "issues.CommentService/ListComments": f"select count(*) from issues.comments {_ISSUE}",
    "issues.CommentService/UpdateComment": f"update issues.comments set body = 'by hand' {_OWN}",
    "issues.IssueService/AddLabel": (
        "insert into issues.issue_labels (tenant_id, issue_id, label_id) values (%(tenant)s, %(child)s, %(label)s)"
    ),
    "issues.IssueService/AssignIssue": f"update issues.issues set assignee_id = %(caller)s {_ISSUE}",
    "issues.IssueService/BatchGetIssues": f"select count(*) from issues.issues {_ISSUE}",
    "issues.IssueService/CreateIssue": (
        "insert into issues.issues (tenant_id, issue_id, project_id, number, title, status_id, reporter_id)"
        " values (%(tenant)s, %(new)s, %(project)s, 99999, 'by hand', %(status)s, %(caller)s)"
    ),
    "issues.IssueService/DeleteIssue": (
        "update issues.issues set deleted_at = now() where tenant_id = %(tenant)s and issue_id = %(child)s"
    ),
    "issues.IssueService/GetIssue": f"select count(*) from issues.issues {_ISSUE}",
    "issues.IssueService/ListActivity": f"select count(*) from issues.issue_changes {_ISSUE}",
    "issues.IssueService/ListIssues": f"select count(*) from issues.issues {_PROJECT}",
    "issues.IssueService/ListStatusHistory": f"select count(*) from issues.issue_status_history {_ISSUE}",
    "issues.IssueService/RemoveLabel": f"update issues.issue_labels set removed_at = now() {_LABELLED}",
    "issues.IssueService/TransitionIssue": f"update issues.issues set status_id = %(started)s {_ISSUE}",
    "issues.IssueService/UndeleteIssue": (
        "update issues.issues set deleted_at = null where tenant_id = %(tenant)s and issue_id = %(deleted)s"
    ),
    "issues.IssueService/UpdateIssue": f"update issues.issues set title = 'by hand' {_ISSUE}",
    "issues.LabelService/ArchiveLabel": f"update issues.labels set archived_at = now() {_LABEL}",
    "issues.LabelService/CreateLabel": (
        "insert into issues.labels (tenant_id, label_id, name, color)"
        " values (%(tenant)s, %(new)s, 'by hand', '#000000')"
    ),
    "issues.LabelService/GetLabel": f"select count(*) from issues.labels {_LABEL}",
    "issues.LabelService/ListLabels": "select count(*) from issues.labels where tenant_id = %(tenant)s",
    "issues.LabelService/UnarchiveLabel": (
        "update issues.labels set archived_at = null where tenant_id = %(tenant)s and label_id = %(archived)s"
    ),
    "issues.LabelService/UpdateLabel": f"update issues.labels set name = 'by hand' {_LABEL}",
    "issues.ProjectService/CreateProject": (
        "insert into issues.projects (tenant_id, project_id, workspace_id, key, name)"
        " values (%(tenant)s, %(new)s, %(workspace)s, 'HAND', 'by hand')"
    ),
    "issues.ProjectService/GetProject": f"select count(*) from issues.projects {_PROJECT}",
    "issues.ProjectService/ListProjects": "select count(*) from issues.projects where tenant_id = %(tenant)s",
    "issues.ProjectService/UpdateProject": f"update issues.projects set name = 'by hand' {_PROJECT}",
    "issues.WorkflowService/ListStatuses": "select count(*) from issues.statuses where tenant_id = %(tenant)s",
    "issues.WorkspaceService/CreateWorkspace": (
        "insert into issues.workspaces (tenant_id, workspace_id, name) values (%(tenant)s, %(new)s, 'by hand')"
    ),
    "issues.WorkspaceService/GetWorkspace": (
        "select count(*) from issues.workspaces where tenant_id = %(tenant)s and workspace_id = %(workspace)s"
    ),
    "issues.WorkspaceService/ListWorkspaces": "select count(*) from issues.workspaces where tenant_id = %(tenant)s",
}
WITHOUT = {
    "identity.TenantService/DeleteTenant": "no login has the right: a function does it, which asks for an owner",
    "issues.ImportService/ImportItems": "writes what the calls for single things write, many at once",
}
AMONG = {
    # %(reached)s: the member, the invitation or the service account; %(given)s: the role that is given.
    "InviteMember": (
        "insert into identity.invitations (tenant_id, invitation_id, email, role, token_hash, expires_at)"
        " values (%(tenant)s, %(new)s, 'x@example.com', %(given)s, %(hash)s, now() + interval '1 day')"
    ),
    "RevokeInvitation": (
        "update identity.invitations set status = 'revoked'"
        " where tenant_id = %(tenant)s and invitation_id = %(reached)s"
    ),
    "DisableMember": (
        "update identity.memberships set status = 'disabled' where tenant_id = %(tenant)s and user_id = %(reached)s"
    ),
    "EnableMember": (
        "update identity.memberships set status = 'active' where tenant_id = %(tenant)s and user_id = %(reached)s"
    ),
    "CreateApiKey": (
        "insert into identity.api_keys (tenant_id, api_key_id, user_id, display_name, prefix, secret_hash)"
        " values (%(tenant)s, %(new)s, %(reached)s, 'by hand', 'bh_aaaaaaaa', %(hash)s)"
    ),
    "ChangeRole": (
        "update identity.memberships set role = %(given)s where tenant_id = %(tenant)s and user_id = %(reached)s"
    ),
}


def values(company: Company) -> dict[str, Any]:
    """Of a company's things; `caller`, `member`, `disabled` and `own`, her comment, are the test's."""
    issue, child, deleted = company.things["issue"][:3]
    label, archived = company.things["label"][:2]
    return {
        "tenant": company.tenant.tenant_id,
        "new": new_id(),
        "hash": secrets.token_bytes(32),
        "issue": issue,
        "child": child,
        "deleted": deleted,
        "label": label,
        "archived": archived,
        "started": company.statuses[workflow_pb2.STATUS_CATEGORY_IN_PROGRESS],
        **{
            kind: company.one(kind)
            for kind in ("project", "workspace", "comment", "status", "invitation", "team", "api_key")
        },
        "events": [UUID(event_id) for event_id in company.things["audit_event"]],
    }
