"""Messages of ApiKeyService."""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.identity.v1 import api_key_pb2 as key_pb
from bulkhead.identity.v1 import api_key_service_pb2 as pb
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit.ids import parse_optional_id
from bulkhead_kit.wire import timestamp, to_datetime

from bulkhead_identity import texts
from bulkhead_identity.api_key import rules
from bulkhead_identity.api_key.rules import ApiKeyRow, NewKey

_STATES = {stored: key_pb.ApiKey.State.Value(f"STATE_{name}") for name, stored in rules.STATES.items()}


def new_key(request: pb.CreateApiKeyRequest) -> NewKey:
    user_id = parse_optional_id(request.user_id, "user_id")
    rules.demand_one_account(request.role, user_id)
    return NewKey(
        display_name=texts.name(request.display_name, "display_name"),
        role=request.role or None,
        user_id=user_id,
        expires_at=to_datetime(request.expire_time, "expire_time") if request.HasField("expire_time") else None,
        ip_ranges=rules.networks(request.ip_ranges),
    )


def api_key(row: ApiKeyRow) -> key_pb.ApiKey:
    return key_pb.ApiKey(
        api_key_id=row.api_key_id,
        user_id=row.user_id,
        display_name=row.display_name,
        prefix=row.prefix,
        role=options_pb2.Role.ValueType(row.role),
        effective_role=options_pb2.Role.ValueType(row.effective_role),
        state=_STATES[row.state],
        ip_ranges=row.ip_ranges,
        expire_time=timestamp(row.expires_at),
        last_use_time=timestamp(row.last_used_at),
        create_time=timestamp(row.created_at),
        created_by=row.created_by or "",
        revoke_time=timestamp(row.revoked_at),
        revoked_by=row.revoked_by or "",
    )


def created(row: ApiKeyRow) -> pb.CreateApiKeyResponse:
    """What is kept for a repeat: everything but the key."""
    return pb.CreateApiKeyResponse(api_key=api_key(row))


def with_key(answer: pb.CreateApiKeyResponse, text: str) -> pb.CreateApiKeyResponse:
    return pb.CreateApiKeyResponse(api_key=answer.api_key, key=text)


def api_keys(rows: Iterable[ApiKeyRow], next_page_token: str) -> pb.ListApiKeysResponse:
    return pb.ListApiKeysResponse(api_keys=map(api_key, rows), next_page_token=next_page_token)
