"""Messages about passwords."""

from __future__ import annotations

from bulkhead.identity.v1 import auth_service_pb2 as pb
from bulkhead_kit.ids import parse_optional_id

from bulkhead_identity.password.rules import Change, Reset


def reset(request: pb.ResetPasswordRequest) -> Reset:
    request_id = parse_optional_id(request.request_id, "request_id")
    return Reset(token=request.token, password=request.new_password, request_id=request_id)


def change(request: pb.ChangePasswordRequest) -> Change:
    return Change(current=request.current_password, password=request.new_password)
