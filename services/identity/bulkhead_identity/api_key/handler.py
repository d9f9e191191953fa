"""ApiKeyService."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import api_key_pb2 as key_pb
from bulkhead.identity.v1 import api_key_service_pb2 as pb
from bulkhead.identity.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.ids import new_id, parse_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_identity.api_key import actions, rules, store, wire
from bulkhead_identity.calls import REQUEST_IDS

Context = ServicerContext[Any, Any]


class ApiKeyHandler(ApiKeyServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, _context: Context) -> pb.CreateApiKeyResponse:
        new, api_key_id, secret = wire.new_key(request), new_id(), rules.new_secret()
        answer = await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            pb.CreateApiKeyResponse,
            lambda tx: actions.create_api_key(tx, api_key_id, new, secret),
            wire.created,
            locks_limits=True,
        )
        # The answer to a repeat is about another key than the one that came to nothing here.
        made_now = answer.api_key.api_key_id == str(api_key_id)
        return wire.with_key(answer, secret.text) if made_now else answer

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, _context: Context) -> pb.ListApiKeysResponse:
        caller = current_caller()
        asked = store.FILTERS.parse(request.filter, words={"me": str(caller.user_id)})
        page = page_of(self._page_tokens, caller, request, request.filter)
        rows = await store.list_keys(self._database.read(caller), asked, page.after, page.size + 1)
        return wire.api_keys(*cut(rows, page, lambda row: (row.api_key_id,)))

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, _context: Context) -> key_pb.ApiKey:
        api_key_id = parse_id(request.api_key_id, "api_key_id")
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            key_pb.ApiKey,
            lambda tx: actions.revoke_api_key(tx, api_key_id),
            wire.api_key,
            locks_limits=True,
        )
