"""LabelService."""

from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import label_pb2 as label_pb
from bulkhead.issues.v1 import label_service_pb2 as pb
from bulkhead.issues.v1.label_service_pb2_grpc import LabelServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.etags import expected_version
from bulkhead_kit.ids import parse_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_issues.calls import REQUEST_IDS
from bulkhead_issues.label import actions, store, wire

Context = ServicerContext[Any, Any]


class LabelHandler(LabelServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def CreateLabel(self, request: pb.CreateLabelRequest, _context: Context) -> label_pb.Label:
        caller = current_caller()
        new = wire.new_label(request.label)
        return await REQUEST_IDS.once(
            self._database, caller, request, label_pb.Label, lambda tx: actions.create_label(tx, new), wire.label
        )

    async def GetLabel(self, request: pb.GetLabelRequest, _context: Context) -> label_pb.Label:
        row = await store.load(self._database.read(current_caller()), request.label_id)
        if row is None:
            raise NotFound("label")
        return wire.label(row)

    async def ListLabels(self, request: pb.ListLabelsRequest, _context: Context) -> pb.ListLabelsResponse:
        caller = current_caller()
        page = page_of(self._page_tokens, caller, request, request.show_archived)
        rows = await store.list_labels(
            self._database.read(caller), show_archived=request.show_archived, after=page.after, limit=page.size + 1
        )
        rows, token = cut(rows, page, lambda row: (row.name_key,))
        return pb.ListLabelsResponse(labels=map(wire.label, rows), next_page_token=token)

    async def UpdateLabel(self, request: pb.UpdateLabelRequest, _context: Context) -> label_pb.Label:
        caller = current_caller()
        label_id = parse_id(request.label.label_id, "label.label_id")
        values = wire.changes(request)
        version = expected_version(request.label.etag, "label.etag")
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            label_pb.Label,
            lambda tx: actions.update_label(tx, label_id, values, version),
            wire.label,
        )

    async def ArchiveLabel(self, request: pb.ArchiveLabelRequest, _context: Context) -> label_pb.Label:
        caller = current_caller()
        label_id = parse_id(request.label_id, "label_id")
        return await REQUEST_IDS.once(
            self._database, caller, request, label_pb.Label, lambda tx: actions.archive_label(tx, label_id), wire.label
        )

    async def UnarchiveLabel(self, request: pb.UnarchiveLabelRequest, _context: Context) -> label_pb.Label:
        caller = current_caller()
        label_id = parse_id(request.label_id, "label_id")
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            label_pb.Label,
            lambda tx: actions.unarchive_label(tx, label_id),
            wire.label,
        )
