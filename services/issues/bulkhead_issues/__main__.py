"""python -m bulkhead_issues serve | relay | retry | work | migrate: puts the issues service together, here only."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc.aio
from bulkhead.issues.v1 import (
    comment_service_pb2_grpc,
    import_service_pb2_grpc,
    issue_service_pb2_grpc,
    label_service_pb2_grpc,
    project_service_pb2_grpc,
    workflow_service_pb2_grpc,
    workspace_service_pb2_grpc,
)
from bulkhead_kit import assembly, program
from bulkhead_kit.assembly import Parts
from bulkhead_kit.outbox.process import retry_parked, run_relay
from bulkhead_kit.server import Service
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.worker import Duty

from bulkhead_issues.comment.handler import CommentHandler
from bulkhead_issues.expiry.actions import expire
from bulkhead_issues.importing.handler import ImportHandler
from bulkhead_issues.issue.handler import IssueHandler
from bulkhead_issues.label.handler import LabelHandler
from bulkhead_issues.project.handler import ProjectHandler
from bulkhead_issues.settings import IssuesSettings
from bulkhead_issues.workflow.handler import WorkflowHandler
from bulkhead_issues.workspace.handler import WorkspaceHandler

# No other service calls this one.
ALLOWED = ServiceAllowList({})


def register(parts: Parts, server: grpc.aio.Server) -> None:
    database, page_tokens = parts.database, parts.page_tokens
    workspace_service_pb2_grpc.add_WorkspaceServiceServicer_to_server(WorkspaceHandler(database, page_tokens), server)
    project_service_pb2_grpc.add_ProjectServiceServicer_to_server(ProjectHandler(database, page_tokens), server)
    workflow_service_pb2_grpc.add_WorkflowServiceServicer_to_server(WorkflowHandler(database), server)
    label_service_pb2_grpc.add_LabelServiceServicer_to_server(LabelHandler(database, page_tokens), server)
    issue_service_pb2_grpc.add_IssueServiceServicer_to_server(IssueHandler(database, page_tokens), server)
    comment_service_pb2_grpc.add_CommentServiceServicer_to_server(CommentHandler(database, page_tokens), server)
    identity = parts.channel("identity", parts.settings.identity_address, ["bulkhead.identity.v1.MembershipService"])
    imports = ImportHandler(database, identity, _own(parts).import_patience_seconds)
    import_service_pb2_grpc.add_ImportServiceServicer_to_server(imports, server)


def build(settings: IssuesSettings) -> Service:
    """Not yet listening. Needs a running event loop."""
    return assembly.build(settings, register, ALLOWED)


def duties(parts: Parts) -> list[Duty]:
    return [Duty("expire", _own(parts).expire_every_seconds, lambda caller: expire(parts.database, caller))]


def _own(parts: Parts) -> IssuesSettings:
    assert isinstance(parts.settings, IssuesSettings)
    return parts.settings


def main(arguments: Sequence[str] | None = None) -> int:
    commands = {
        "serve": lambda: program.serve(IssuesSettings.load(), register, ALLOWED),
        "relay": lambda: run_relay(IssuesSettings.load()),
        "retry": lambda: retry_parked(IssuesSettings.load()),
        "work": lambda: program.work(IssuesSettings.load(), duties),
        "migrate": lambda: program.migrate(IssuesSettings.load()),
    }
    return program.main("bulkhead_issues", commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
