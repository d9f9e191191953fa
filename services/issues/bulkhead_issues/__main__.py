"""python -m bulkhead_issues serve | relay | work | migrate: the one place that puts the issues service together."""

from __future__ import annotations

import argparse
import asyncio
import signal
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
from bulkhead_kit import migrations, program, telemetry
from bulkhead_kit.keyfiles import KeyFileError
from bulkhead_kit.outbox.process import run_relay
from bulkhead_kit.program import Parts
from bulkhead_kit.server import AddressError, Service
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.settings import SettingsError

from bulkhead_issues.comment.handler import CommentHandler
from bulkhead_issues.expiry import worker
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
    import_service_pb2_grpc.add_ImportServiceServicer_to_server(ImportHandler(database, identity), server)


def build(settings: IssuesSettings) -> Service:
    """Not yet listening. Needs a running event loop."""
    return program.build(settings, register, ALLOWED)


async def work(settings: IssuesSettings) -> None:
    """Until SIGTERM or SIGINT."""
    database = program.open_database(settings, "worker_database_url")
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        telemetry.serve(host, int(port))
    await database.open()
    working = asyncio.create_task(worker.keep_expiring(database, every=settings.expire_every_seconds))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    await asyncio.wait([working])
    await database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bulkhead_issues", description=__doc__)
    parser.add_argument("command", choices=["serve", "relay", "work", "migrate"])
    command = parser.parse_args(arguments).command
    try:
        settings = IssuesSettings.load()
        if command == "serve":
            program.serve(settings, register, ALLOWED)
        elif command == "relay":
            run_relay(settings)
        elif command == "work":
            program.start_logging(settings)
            asyncio.run(work(settings))
        else:
            program.start_logging(settings)
            migrations.upgrade(settings.conninfo("migration_database_url"), "issues")
    except (SettingsError, KeyFileError, AddressError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log, and for a person to read
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
