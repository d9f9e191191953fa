"""One valid request for every RPC, made fresh each time: what a probe bends, and what its twin sends unbent.

A sample is made for a company and a role; what it needs is made on the way, so that it can be sent once and work.
An RPC without a sample fails the suite.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from bulkhead.issues.v1 import workflow_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.world import Company, close_support, import_of, new_event, open_support
from tests.support import people
from tests.support.builders import make_comment, make_issue, make_label
from tests.support.client import message_class

Request = Message | list[Message]
"""A list for a method that takes a stream."""
Fields = dict[str, Any]
Make = Callable[[Company, Role], Awaitable[Fields | list[Fields]]]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Sample:
    make: Make
    """Gives the request's fields."""
    expects: str = "OK"
    """The status of the unbent call; another than OK where only a mail or a password could do better."""

    async def request(self, method: MethodDescriptor, company: Company, role: Role) -> Request:
        kind = message_class(method.input_type.full_name)
        made = await self.make(company, role)
        return [kind(**fields) for fields in made] if isinstance(made, list) else kind(**made)


SAMPLES: dict[str, Sample] = {}


def sample(method: str, *, expects: str = "OK") -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        SAMPLES[f"bulkhead.{method}"] = Sample(make, expects)
        return make

    return keep


def fixed(method: str, *, expects: str = "OK", **fields: Any) -> None:
    """For a request that needs nothing of the company."""

    async def make(_company: Company, _role: Role) -> Fields:
        return fields

    SAMPLES[f"bulkhead.{method}"] = Sample(make, expects)


def rid() -> str:
    return str(new_id())


def name() -> str:
    return f"sample {next(_numbers)}"


# identity

fixed("identity.v1.AuthService/GetJwks")
fixed("identity.v1.AuthService/RefreshToken", refresh_token="bhr_unknown", expects="UNAUTHENTICATED")
fixed(
    "identity.v1.AuthService/VerifyEmail",
    token="unknown",
    password="not her password",
    expects="FAILED_PRECONDITION",
)
fixed("identity.v1.TenantService/ListMyTenants", show_deleted=True)
fixed("identity.v1.TenantService/LookupTenant", slug="nobody-has-it")
fixed("identity.v1.TenantService/GetUsage")
fixed("identity.v1.PlatformService/ListPlans")
fixed("identity.v1.PlatformService/ListTenants", filter='slug = "nobody-has-it"')
fixed("identity.v1.MembershipService/ListMembers")
fixed("identity.v1.MembershipService/ListInvitations", filter="state = OPEN")
fixed("identity.v1.MembershipService/AcceptInvitation", token="unknown", expects="FAILED_PRECONDITION")
fixed("identity.v1.AuthService/Logout")
fixed("identity.v1.AuthService/ListSessions")
fixed("identity.v1.AuthService/ResendVerification", email="nobody@example.com")
fixed("identity.v1.AuthService/RequestPasswordReset", email="nobody@example.com")
fixed(
    "identity.v1.AuthService/ResetPassword",
    token="unknown",
    new_password="four other words there",
    expects="FAILED_PRECONDITION",
)
fixed("identity.v1.AuthService/RevokeOtherSessions")


@sample("identity.v1.AuthService/Login", expects="UNAUTHENTICATED")
async def _login(_company: Company, _role: Role) -> Fields:
    # Another address each time: one that is tried often has to wait.
    return {"email": f"{rid()}@example.com", "password": "not her password"}


@sample("identity.v1.AuthService/ChangePassword", expects="UNAUTHENTICATED")
async def _change_password(company: Company, _role: Role) -> Fields:
    _forget_failures(company)
    return {"current_password": "not her password", "new_password": "four other words there"}


def _forget_failures(company: Company) -> None:
    """Who has tried often with a wrong password has to wait, and it is always the owner who tries."""
    with psycopg.connect(company.tenant.house.database.admin_dsn) as connection:
        connection.execute("update identity.login_throttles set failures = 0, retry_at = now()")


@sample("identity.v1.AuthService/SignUp")
async def _sign_up(_company: Company, _role: Role) -> Fields:
    return {
        "email": f"{rid()}@example.com",
        "password": "four plain words here",
        "full_name": "Ada",
        "request_id": rid(),
    }


@sample("identity.v1.AuthService/SelectTenant")
async def _select_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant_id": company.one("tenant")}


@sample("identity.v1.AuthService/RevokeSession")
async def _revoke_session(company: Company, _role: Role) -> Fields:
    house = company.tenant.house
    return {
        "session_id": str(await people.start_session(await house.connection(), company.tenant.people[Role.OWNER])),
        "request_id": rid(),
    }


@sample("identity.v1.TenantService/CreateTenant")
async def _create_tenant(_company: Company, _role: Role) -> Fields:
    slug = f"t{rid()}"
    return {"tenant": {"slug": slug, "name": slug}, "request_id": rid()}


@sample("identity.v1.TenantService/GetTenant")
async def _get_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant_id": company.one("tenant")}


@sample("identity.v1.TenantService/UpdateTenant")
async def _update_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant": {"tenant_id": company.one("tenant"), "description": name()}, "request_id": rid()}


@sample("identity.v1.TenantService/DeleteTenant", expects="INVALID_ARGUMENT")
async def _delete_tenant(company: Company, _role: Role) -> Fields:
    """Not with the right slug: the probes need their company. What it does then is in tests/identity/tenant."""
    return {"tenant_id": company.one("tenant"), "slug": "not-the-slug", "request_id": rid()}


@sample("identity.v1.TenantService/UndeleteTenant", expects="ALREADY_EXISTS")
async def _undelete_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant_id": company.one("tenant"), "request_id": rid()}


@sample("identity.v1.TenantService/GrantSupportAccess")
async def _grant_support(company: Company, _role: Role) -> Fields:
    await close_support(company)
    return {"role": Role.VIEWER.value, "duration": {"seconds": 600}, "reason": name(), "request_id": rid()}


@sample("identity.v1.TenantService/RevokeSupportAccess")
async def _revoke_support(company: Company, _role: Role) -> Fields:
    return {"grant_id": await open_support(company), "request_id": rid()}


@sample("identity.v1.PlatformService/EnterSupportAccess")
async def _enter_support(company: Company, _role: Role) -> Fields:
    await open_support(company)
    return {"tenant_id": company.one("tenant"), "request_id": rid()}


@sample("identity.v1.PlatformService/SuspendTenant")
async def _suspend(company: Company, _role: Role) -> Fields:
    """One of the platform's own making: the probes need their companies."""
    return {"tenant_id": await _bystander(company), "reason": name(), "request_id": rid()}


@sample("identity.v1.PlatformService/ResumeTenant")
async def _resume(company: Company, _role: Role) -> Fields:
    return {"tenant_id": await _bystander(company), "request_id": rid()}


@sample("identity.v1.PlatformService/ChangePlan")
async def _change_plan(company: Company, _role: Role) -> Fields:
    return {"tenant_id": await _bystander(company), "plan_code": "pro", "request_id": rid()}


async def _bystander(company: Company) -> str:
    house = company.tenant.house
    owner = await house.person()
    return str(await people.make_tenant(await house.connection(), owner, slug=f"t{rid()}"))


@sample("identity.v1.MembershipService/InviteMember")
async def _invite(_company: Company, _role: Role) -> Fields:
    return {"email": f"{rid()}@example.com", "role": Role.VIEWER.value, "request_id": rid()}


@sample("identity.v1.MembershipService/RevokeInvitation")
async def _revoke_invitation(company: Company, role: Role) -> Fields:
    invitation = await company.client(Role.OWNER).identity.InviteMember(email=f"{rid()}@example.com", role=role.value)
    return {"invitation_id": invitation.invitation_id, "request_id": rid()}


@sample("identity.v1.MembershipService/GetMember")
async def _get_member(company: Company, _role: Role) -> Fields:
    return {"user_id": company.one("member")}


@sample("identity.v1.MembershipService/LeaveTenant")
async def _leave_tenant(company: Company, _role: Role) -> Fields:
    """Another's tenant, which our owner has joined: her own she could not leave."""
    connection = await company.tenant.house.connection()
    founder = await people.make_person(connection)
    tenant_id = await people.make_tenant(connection, founder, slug=f"t{rid()}")
    await people.add_member(connection, tenant_id, founder, company.tenant.people[Role.OWNER], Role.MEMBER)
    return {"tenant_id": str(tenant_id), "request_id": rid()}


@sample("identity.v1.MembershipService/ChangeRole")
async def _change_role(company: Company, _role: Role) -> Fields:
    return {"user_id": await _new_member(company), "role": Role.MEMBER.value, "request_id": rid()}


@sample("identity.v1.MembershipService/DisableMember")
async def _disable(company: Company, _role: Role) -> Fields:
    return {"user_id": await _new_member(company), "request_id": rid()}


@sample("identity.v1.MembershipService/EnableMember")
async def _enable(company: Company, _role: Role) -> Fields:
    user_id = await _new_member(company)
    await company.client(Role.OWNER).identity.DisableMember(user_id=user_id)
    return {"user_id": user_id, "request_id": rid()}


@sample("identity.v1.ApiKeyService/CreateApiKey")
async def _create_api_key(company: Company, _role: Role) -> Fields:
    return {"display_name": name(), "user_id": company.one("service account"), "request_id": rid()}


fixed("identity.v1.ApiKeyService/ListApiKeys")


@sample("identity.v1.ApiKeyService/RevokeApiKey")
async def _revoke_api_key(company: Company, _role: Role) -> Fields:
    account = company.one("service account")
    made = await company.client(Role.OWNER).identity.CreateApiKey(display_name=name(), user_id=account)
    return {"api_key_id": made.api_key.api_key_id, "request_id": rid()}


@sample("identity.v1.MembershipService/ImportMembers")
async def _import_members(_company: Company, _role: Role) -> Fields:
    author = {"external_id": rid(), "display_name": name()}
    return {"external_source": "sample", "authors": [author]}


fixed("identity.v1.TeamService/ListTeams", show_archived=True, filter="user_id != me")


@sample("identity.v1.TeamService/CreateTeam")
async def _create_team(_company: Company, _role: Role) -> Fields:
    return {"team": {"name": name()}, "request_id": rid()}


@sample("identity.v1.TeamService/GetTeam")
async def _get_team(company: Company, _role: Role) -> Fields:
    return {"team_id": company.one("team")}


@sample("identity.v1.TeamService/UpdateTeam")
async def _update_team(company: Company, _role: Role) -> Fields:
    return {"team": {"team_id": await _new_team(company), "name": name()}, "request_id": rid()}


@sample("identity.v1.TeamService/ArchiveTeam")
async def _archive_team(company: Company, _role: Role) -> Fields:
    return {"team_id": await _new_team(company), "request_id": rid()}


@sample("identity.v1.TeamService/UnarchiveTeam")
async def _unarchive_team(company: Company, _role: Role) -> Fields:
    team_id = await _new_team(company)
    await company.client(Role.OWNER).identity.ArchiveTeam(team_id=team_id)
    return {"team_id": team_id, "request_id": rid()}


@sample("identity.v1.TeamService/AddTeamMember")
async def _add_team_member(company: Company, _role: Role) -> Fields:
    return {"team_id": await _new_team(company), "user_id": company.one("member"), "request_id": rid()}


@sample("identity.v1.TeamService/RemoveTeamMember")
async def _remove_team_member(company: Company, _role: Role) -> Fields:
    place = {"team_id": await _new_team(company), "user_id": company.one("member")}
    await company.client(Role.OWNER).identity.AddTeamMember(**place)
    return {**place, "request_id": rid()}


@sample("identity.v1.TeamService/ListTeamMembers")
async def _list_team_members(company: Company, _role: Role) -> Fields:
    return {"team_id": company.one("team")}


fixed("identity.v1.UserService/GetMe")


@sample("identity.v1.UserService/CloseAccount", expects="UNAUTHENTICATED")
async def _close_account(company: Company, _role: Role) -> Fields:
    _forget_failures(company)
    return {"password": "not her password"}


@sample("identity.v1.UserService/UpdateMe")
async def _update_me(_company: Company, _role: Role) -> Fields:
    return {"user": {"bio": name()}, "request_id": rid()}


@sample("identity.v1.UserService/BatchGetMembers")
async def _batch_get_members(company: Company, _role: Role) -> Fields:
    return {"user_ids": [company.one("member")]}


async def _new_team(company: Company) -> str:
    return str((await company.client(Role.OWNER).identity.CreateTeam(team={"name": name()})).team_id)


async def _new_member(company: Company) -> str:
    house = company.tenant.house
    connection = await house.connection()
    person = await people.make_person(connection)
    owner = company.tenant.people[Role.OWNER]
    await people.add_member(connection, company.tenant.tenant_id, owner, person, Role.VIEWER)
    return str(person.user_id)


# issues

fixed("issues.v1.WorkspaceService/ListWorkspaces")
fixed("issues.v1.WorkflowService/ListStatuses")
fixed("issues.v1.LabelService/ListLabels", show_archived=True)


@sample("issues.v1.WorkspaceService/CreateWorkspace")
async def _create_workspace(_company: Company, _role: Role) -> Fields:
    return {"workspace": {"name": name()}, "request_id": rid()}


@sample("issues.v1.WorkspaceService/GetWorkspace")
async def _get_workspace(company: Company, _role: Role) -> Fields:
    return {"workspace_id": company.one("workspace")}


@sample("issues.v1.ProjectService/CreateProject")
async def _create_project(company: Company, _role: Role) -> Fields:
    number = next(_numbers)
    project = {
        "workspace_id": company.one("workspace"),
        "key": f"S{number}",
        "name": f"sample {number}",
        "lead_id": company.one("user"),
        "owner_team_id": company.one("team"),
    }
    return {"project": project, "request_id": rid()}


@sample("issues.v1.ProjectService/GetProject")
async def _get_project(company: Company, _role: Role) -> Fields:
    return {"project_id": company.one("project")}


@sample("issues.v1.ProjectService/ListProjects")
async def _list_projects(company: Company, _role: Role) -> Fields:
    return {"workspace_id": company.one("workspace")}


@sample("issues.v1.ProjectService/UpdateProject")
async def _update_project(company: Company, _role: Role) -> Fields:
    project = {
        "project_id": company.one("project"),
        "name": name(),
        "lead_id": company.one("user"),
        "owner_team_id": company.one("team"),
    }
    return {"project": project, "request_id": rid()}


@sample("issues.v1.LabelService/CreateLabel")
async def _create_label(_company: Company, _role: Role) -> Fields:
    return {"label": {"name": name()}, "request_id": rid()}


@sample("issues.v1.LabelService/GetLabel")
async def _get_label(company: Company, _role: Role) -> Fields:
    return {"label_id": company.one("label")}


@sample("issues.v1.LabelService/UpdateLabel")
async def _update_label(company: Company, _role: Role) -> Fields:
    label = {"label_id": company.one("label"), "name": name()}
    return {"label": label, "request_id": rid()}


@sample("issues.v1.LabelService/ArchiveLabel")
async def _archive_label(company: Company, _role: Role) -> Fields:
    return {"label_id": await _new_label(company), "request_id": rid()}


@sample("issues.v1.LabelService/UnarchiveLabel")
async def _unarchive_label(company: Company, _role: Role) -> Fields:
    label_id = await _new_label(company)
    await company.client(Role.OWNER).issues.ArchiveLabel(label_id=label_id)
    return {"label_id": label_id, "request_id": rid()}


async def _new_label(company: Company) -> str:
    return str((await make_label(company.client(Role.OWNER), name=name())).label_id)


@sample("issues.v1.IssueService/CreateIssue")
async def _create_issue(company: Company, _role: Role) -> Fields:
    issue = {
        "project_id": company.one("project"),
        "title": name(),
        "type": 1,
        "status_id": company.one("status"),
        "assignee_id": company.one("user"),
        "parent_id": company.one("issue"),
        "label_ids": [company.one("label")],
    }
    return {"issue": issue, "request_id": rid()}


@sample("issues.v1.IssueService/GetIssue")
async def _get_issue(company: Company, _role: Role) -> Fields:
    return {"issue_id": company.one("issue")}


@sample("issues.v1.IssueService/BatchGetIssues")
async def _batch_get_issues(company: Company, _role: Role) -> Fields:
    return {"issue_ids": [company.one("issue")]}


@sample("issues.v1.IssueService/ListIssues")
async def _list_issues(company: Company, _role: Role) -> Fields:
    return {"project_id": company.one("project"), "show_deleted": True}


@sample("issues.v1.IssueService/UpdateIssue")
async def _update_issue(company: Company, _role: Role) -> Fields:
    issue = {"issue_id": await _new_issue(company), "title": name(), "parent_id": company.one("issue")}
    return {"issue": issue, "request_id": rid()}


@sample("issues.v1.IssueService/TransitionIssue")
async def _transition(company: Company, _role: Role) -> Fields:
    target = company.statuses[workflow_pb2.STATUS_CATEGORY_IN_PROGRESS]
    return {"issue_id": await _new_issue(company), "status_id": target, "request_id": rid()}


@sample("issues.v1.IssueService/AssignIssue")
async def _assign(company: Company, _role: Role) -> Fields:
    return {"issue_id": await _new_issue(company), "assignee_id": company.one("user"), "request_id": rid()}


@sample("issues.v1.IssueService/AddLabel")
async def _add_label(company: Company, _role: Role) -> Fields:
    return {"issue_id": await _new_issue(company), "label_id": company.one("label"), "request_id": rid()}


@sample("issues.v1.IssueService/RemoveLabel")
async def _remove_label(company: Company, _role: Role) -> Fields:
    issue_id = await _new_issue(company, label_ids=[company.one("label")])
    return {"issue_id": issue_id, "label_id": company.one("label"), "request_id": rid()}


@sample("issues.v1.IssueService/DeleteIssue")
async def _delete_issue(company: Company, _role: Role) -> Fields:
    return {"issue_id": await _new_issue(company), "request_id": rid()}


@sample("issues.v1.IssueService/UndeleteIssue")
async def _undelete_issue(company: Company, _role: Role) -> Fields:
    issue_id = await _new_issue(company)
    await company.client(Role.OWNER).issues.DeleteIssue(issue_id=issue_id)
    return {"issue_id": issue_id, "request_id": rid()}


@sample("issues.v1.IssueService/ListStatusHistory")
async def _status_history(company: Company, _role: Role) -> Fields:
    return {"issue_id": company.one("issue")}


@sample("issues.v1.IssueService/ListActivity")
async def _activity(company: Company, _role: Role) -> Fields:
    return {"issue_id": company.one("issue")}


async def _new_issue(company: Company, **fields: Any) -> str:
    issue = await make_issue(company.client(Role.OWNER), company.one("project"), **fields)
    return str(issue.issue_id)


@sample("issues.v1.CommentService/CreateComment")
async def _create_comment(company: Company, _role: Role) -> Fields:
    comment = {"issue_id": company.one("issue"), "body": name(), "visibility": 1}
    return {"comment": comment, "request_id": rid()}


@sample("issues.v1.CommentService/GetComment")
async def _get_comment(company: Company, _role: Role) -> Fields:
    return {"comment_id": company.one("comment")}


@sample("issues.v1.CommentService/ListComments")
async def _list_comments(company: Company, _role: Role) -> Fields:
    return {"issue_id": company.one("issue"), "show_deleted": True}


@sample("issues.v1.CommentService/UpdateComment")
async def _update_comment(company: Company, role: Role) -> Fields:
    comment = {"comment_id": await _new_comment(company, role), "body": name()}
    return {"comment": comment, "request_id": rid()}


@sample("issues.v1.CommentService/DeleteComment")
async def _delete_comment(company: Company, role: Role) -> Fields:
    return {"comment_id": await _new_comment(company, role), "request_id": rid()}


@sample("issues.v1.CommentService/ListCommentRevisions")
async def _revisions(company: Company, _role: Role) -> Fields:
    return {"comment_id": company.one("comment")}


async def _new_comment(company: Company, role: Role) -> str:
    """By the one who is to change it."""
    comment = await make_comment(company.client(role), company.one("issue"), body=name())
    return str(comment.comment_id)


@sample("issues.v1.ImportService/ImportItems")
async def _import_items(company: Company, _role: Role) -> list[Fields]:
    return import_of(company, f"sample:{rid()}", name())


# audit


@sample("audit.v1.AuditService/ListEvents")
async def _list_events(_company: Company, _role: Role) -> Fields:
    return {}


@sample("audit.v1.AuditService/GetEvent")
async def _get_event(company: Company, _role: Role) -> Fields:
    return {"event_id": company.one("audit_event")}


@sample("audit.v1.AuditWriterService/AppendEvents")
async def _append_events(company: Company, _role: Role) -> Fields:
    return {"events": [new_event(company)]}
