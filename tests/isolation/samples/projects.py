"""Workspaces, projects, workflow and labels."""

from __future__ import annotations

from bulkhead_kit.caller import Role

from tests.isolation.samples.base import Fields, fixed, name, numbers, rid, sample
from tests.isolation.world import Company
from tests.support.builders import make_label

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
    number = next(numbers)
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
