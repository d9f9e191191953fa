"""IssueService."""

from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import issue_pb2 as issue_pb
from bulkhead.issues.v1 import issue_service_pb2 as pb
from bulkhead.issues.v1.issue_service_pb2_grpc import IssueServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database, Reader
from bulkhead_kit.errors import InvalidArgument, NotFound
from bulkhead_kit.etags import expected_version
from bulkhead_kit.ids import parse_id, parse_optional_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import MAX_PAGE_BYTES, cut, page_of
from grpc.aio import ServicerContext

from bulkhead_issues.calls import REQUEST_IDS
from bulkhead_issues.issue import actions, history, lists, store, wire

Context = ServicerContext[Any, Any]


class IssueHandler(IssueServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def CreateIssue(self, request: pb.CreateIssueRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        new = wire.new_issue(request.issue)
        return await REQUEST_IDS.once(
            self._database, caller, request, issue_pb.Issue, lambda tx: actions.create_issue(tx, new), wire.issue
        )

    async def GetIssue(self, request: pb.GetIssueRequest, _context: Context) -> issue_pb.Issue:
        reader = self._database.read(current_caller())
        if request.HasField("key"):
            project_key, _, number = request.key.rpartition("-")
            row = await store.load_by_key(reader, project_key, int(number))
        else:
            row = await store.load(reader, request.issue_id)
        if row is None:
            raise NotFound("issue")
        return wire.issue(row)

    async def BatchGetIssues(self, request: pb.BatchGetIssuesRequest, _context: Context) -> pb.BatchGetIssuesResponse:
        ids = [str(parse_id(text, f"issue_ids[{i}]")) for i, text in enumerate(request.issue_ids)]
        rows = {row.issue_id: row for row in await store.load_several(self._database.read(current_caller()), ids)}
        if sum(map(wire.weight, rows.values())) > MAX_PAGE_BYTES:
            raise InvalidArgument.field("issue_ids", "these issues do not fit into one message: ask for fewer")
        if any(issue_id not in rows for issue_id in ids):
            raise NotFound("issue")
        return pb.BatchGetIssuesResponse(issues=[wire.issue(rows[issue_id]) for issue_id in ids])

    async def ListIssues(self, request: pb.ListIssuesRequest, _context: Context) -> pb.ListIssuesResponse:
        caller = current_caller()
        order = lists.ORDERS.parse(request.order_by)
        page = page_of(
            self._page_tokens,
            caller,
            request,
            request.project_id,
            request.filter,
            request.order_by,
            request.show_deleted,
        )
        reader = self._database.read(caller)
        rows = await lists.list_issues(
            reader,
            project_id=request.project_id,
            asked=lists.FILTERS.parse(request.filter, {"me": caller.user_id}),
            order=order,
            show_deleted=request.show_deleted,
            after=page.after,
            limit=page.size + 1,
        )
        if not rows and request.project_id and not await lists.project_exists(reader, request.project_id):
            raise NotFound("project")
        rows, token = cut(rows, page, order.keys, wire.weight)
        return pb.ListIssuesResponse(issues=map(wire.issue, rows), next_page_token=token)

    async def UpdateIssue(self, request: pb.UpdateIssueRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        issue_id = parse_id(request.issue.issue_id, "issue.issue_id")
        version = expected_version(request.issue.etag, "issue.etag")
        values = wire.changes(request)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            issue_pb.Issue,
            lambda tx: actions.update_issue(tx, issue_id, values, version),
            wire.issue,
        )

    async def TransitionIssue(self, request: pb.TransitionIssueRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        issue_id, status_id = parse_id(request.issue_id, "issue_id"), parse_id(request.status_id, "status_id")
        version = expected_version(request.etag)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            issue_pb.Issue,
            lambda tx: actions.transition_issue(tx, issue_id, status_id, version),
            wire.issue,
        )

    async def AssignIssue(self, request: pb.AssignIssueRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        issue_id = parse_id(request.issue_id, "issue_id")
        assignee_id = parse_optional_id(request.assignee_id, "assignee_id")
        version = expected_version(request.etag)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            issue_pb.Issue,
            lambda tx: actions.assign_issue(tx, issue_id, assignee_id, version),
            wire.issue,
        )

    async def AddLabel(self, request: pb.AddLabelRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        issue_id, label_id = parse_id(request.issue_id, "issue_id"), parse_id(request.label_id, "label_id")
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            issue_pb.Issue,
            lambda tx: actions.add_label(tx, issue_id, label_id),
            wire.issue,
        )

    async def RemoveLabel(self, request: pb.RemoveLabelRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        issue_id, label_id = parse_id(request.issue_id, "issue_id"), parse_id(request.label_id, "label_id")
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            issue_pb.Issue,
            lambda tx: actions.remove_label(tx, issue_id, label_id),
            wire.issue,
        )

    async def DeleteIssue(self, request: pb.DeleteIssueRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        issue_id = parse_id(request.issue_id, "issue_id")
        version = expected_version(request.etag)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            issue_pb.Issue,
            lambda tx: actions.delete_issue(tx, issue_id, version),
            wire.issue,
        )

    async def UndeleteIssue(self, request: pb.UndeleteIssueRequest, _context: Context) -> issue_pb.Issue:
        caller = current_caller()
        issue_id = parse_id(request.issue_id, "issue_id")
        return await REQUEST_IDS.once(
            self._database, caller, request, issue_pb.Issue, lambda tx: actions.undelete_issue(tx, issue_id), wire.issue
        )

    async def ListStatusHistory(
        self, request: pb.ListStatusHistoryRequest, _context: Context
    ) -> pb.ListStatusHistoryResponse:
        caller = current_caller()
        page = page_of(self._page_tokens, caller, request, request.issue_id)
        reader = self._database.read(caller)
        rows = await history.list_spans(reader, request.issue_id, after=page.after, limit=page.size + 1)
        await _demand_issue(reader, request.issue_id, bool(rows))
        rows, token = cut(rows, page, lambda row: (row.seq,))
        return pb.ListStatusHistoryResponse(spans=map(wire.span, rows), next_page_token=token)

    async def ListActivity(self, request: pb.ListActivityRequest, _context: Context) -> pb.ListActivityResponse:
        caller = current_caller()
        page = page_of(self._page_tokens, caller, request, request.issue_id)
        reader = self._database.read(caller)
        rows = await history.list_changes(reader, request.issue_id, after=page.after, limit=page.size + 1)
        await _demand_issue(reader, request.issue_id, bool(rows))
        rows, token = cut(rows, page, lambda row: (row.seq,))
        return pb.ListActivityResponse(changes=map(wire.change, rows), next_page_token=token)


async def _demand_issue(reader: Reader, issue_id: str, has_rows: bool) -> None:
    """Tells an issue without rows from no issue; one with rows needs no second look."""
    if not has_rows and await store.load(reader, issue_id) is None:
        raise NotFound("issue")
