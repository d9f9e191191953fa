"""The issues service, put together for calls: here only."""

from __future__ import annotations

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
from bulkhead_kit import assembly, serving
from bulkhead_kit.parts import Parts
from bulkhead_kit.server import Service
from bulkhead_kit.services_auth import ServiceAllowList

from bulkhead_issues.comment.handler import CommentHandler
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


def serve(settings: IssuesSettings) -> None:
    serving.serve(settings, register, ALLOWED)


def _own(parts: Parts) -> IssuesSettings:
    assert isinstance(parts.settings, IssuesSettings)
    return parts.settings
