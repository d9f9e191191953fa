"""A small archive as the import takes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from bulkhead.issues.v1 import import_pb2, import_service_pb2, issue_pb2

from tests.issues.support import stamp
from tests.support.house import Tenant

SOURCE = "github/example/bilge-watch"
Part = import_pb2.ImportLabel | import_pb2.ImportIssue | import_pb2.ImportMoreComments


def label(name: str = "bug", **fields: Any) -> import_pb2.ImportLabel:
    return import_pb2.ImportLabel(**{"name": name, "description": "Wrong", "color": "#d73a4a", **fields})


def comment(number: int, **fields: Any) -> import_pb2.ImportComment:
    return import_pb2.ImportComment(
        **{
            "external_id": f"c{number}",
            "author": "mira",
            "body": f"Comment {number}",
            "create_time": stamp("2025-03-02T10:00:00Z"),
            "update_time": stamp("2025-03-02T10:00:00Z"),
            **fields,
        }
    )


def issue(number: int, **fields: Any) -> import_pb2.ImportIssue:
    return import_pb2.ImportIssue(
        **{
            "external_id": f"I{number}",
            "number": number,
            "type": issue_pb2.ISSUE_TYPE_BUG,
            "title": f"Item {number}",
            "description": "Line one\nLine two",
            "state": import_pb2.IMPORT_STATE_OPEN,
            "author": "jonas",
            "create_time": stamp("2025-03-01T09:00:00Z"),
            "update_time": stamp("2025-03-05T09:00:00.123456Z"),
            **fields,
        }
    )


def closed(number: int, **fields: Any) -> import_pb2.ImportIssue:
    return issue(
        number,
        **{"state": import_pb2.IMPORT_STATE_DONE, "close_time": stamp("2025-03-04T08:00:00Z"), **fields},
    )


def options(project_id: str, **fields: Any) -> import_service_pb2.ImportItemsRequest:
    given = {"project_id": project_id, "source": SOURCE, **fields}
    return import_service_pb2.ImportItemsRequest(options=import_service_pb2.ImportOptions(**given))


def request(part: Part) -> import_service_pb2.ImportItemsRequest:
    if isinstance(part, import_pb2.ImportLabel):
        return import_service_pb2.ImportItemsRequest(label=part)
    if isinstance(part, import_pb2.ImportIssue):
        return import_service_pb2.ImportItemsRequest(issue=part)
    return import_service_pb2.ImportItemsRequest(more_comments=part)


async def run(tenant: Tenant, project_id: str, parts: Iterable[Part], **fields: Any) -> Any:
    """The report of an import by the tenant's admin, unless another client is named."""
    client = fields.pop("client", None) or tenant.owner

    async def stream() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
        yield options(project_id, **fields)
        for part in parts:
            yield request(part)

    return await client.issues.ImportItems(stream(), timeout=30)


def counts(found: import_pb2.ImportCounts) -> tuple[int, int, int]:
    return found.created, found.updated, found.unchanged
