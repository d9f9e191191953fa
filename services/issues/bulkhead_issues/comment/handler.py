"""CommentService."""

from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import comment_pb2 as comment_pb
from bulkhead.issues.v1 import comment_service_pb2 as pb
from bulkhead.issues.v1.comment_service_pb2_grpc import CommentServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.etags import expected_version
from bulkhead_kit.ids import parse_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_issues.calls import REQUEST_IDS
from bulkhead_issues.comment import actions, store, wire

Context = ServicerContext[Any, Any]


class CommentHandler(CommentServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def CreateComment(self, request: pb.CreateCommentRequest, _context: Context) -> comment_pb.Comment:
        caller = current_caller()
        new = wire.new_comment(request.comment)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            comment_pb.Comment,
            lambda tx: actions.create_comment(tx, new),
            wire.comment,
        )

    async def GetComment(self, request: pb.GetCommentRequest, _context: Context) -> comment_pb.Comment:
        row = await store.load(self._database.read(current_caller()), request.comment_id)
        if row is None:
            raise NotFound("comment")
        return wire.comment(row)

    async def ListComments(self, request: pb.ListCommentsRequest, _context: Context) -> pb.ListCommentsResponse:
        caller = current_caller()
        page = page_of(self._page_tokens, caller, request, request.issue_id, request.show_deleted)
        reader = self._database.read(caller)
        rows = await store.list_comments(
            reader, request.issue_id, show_deleted=request.show_deleted, after=page.after, limit=page.size + 1
        )
        if not rows and not await store.issue_exists(reader, request.issue_id):
            raise NotFound("issue")
        rows, token = cut(rows, page, lambda row: (row.created_at, row.comment_id))
        return pb.ListCommentsResponse(comments=map(wire.comment, rows), next_page_token=token)

    async def UpdateComment(self, request: pb.UpdateCommentRequest, _context: Context) -> comment_pb.Comment:
        caller = current_caller()
        comment_id = parse_id(request.comment.comment_id, "comment.comment_id")
        version = expected_version(request.comment.etag, "comment.etag")
        body = wire.new_body(request)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            comment_pb.Comment,
            lambda tx: actions.update_comment(tx, comment_id, body, version),
            wire.comment,
        )

    async def DeleteComment(self, request: pb.DeleteCommentRequest, _context: Context) -> comment_pb.Comment:
        caller = current_caller()
        comment_id = parse_id(request.comment_id, "comment_id")
        version = expected_version(request.etag)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            comment_pb.Comment,
            lambda tx: actions.delete_comment(tx, comment_id, version),
            wire.comment,
        )

    async def ListCommentRevisions(
        self, request: pb.ListCommentRevisionsRequest, _context: Context
    ) -> pb.ListCommentRevisionsResponse:
        caller = current_caller()
        page = page_of(self._page_tokens, caller, request, request.comment_id)
        reader = self._database.read(caller)
        rows = await store.list_revisions(reader, request.comment_id, after=page.after, limit=page.size + 1)
        if not rows and await store.load(reader, request.comment_id) is None:
            raise NotFound("comment")
        rows, token = cut(rows, page, lambda row: (row.revision,))
        return pb.ListCommentRevisionsResponse(revisions=map(wire.revision, rows), next_page_token=token)
