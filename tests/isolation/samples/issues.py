"""Issues."""

from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import workflow_pb2
from bulkhead_kit.caller import Role

from tests.isolation.samples.base import Fields, name, rid, sample
from tests.isolation.world import Company
from tests.support.builders import make_issue


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
