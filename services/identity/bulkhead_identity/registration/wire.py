"""Messages of a sign-up."""

from __future__ import annotations

from bulkhead.identity.v1 import auth_service_pb2 as pb
from bulkhead_kit.ids import parse_optional_id

from bulkhead_identity import texts
from bulkhead_identity.registration.rules import SignUp


def sign_up(request: pb.SignUpRequest, digest: bytes) -> SignUp:
    request_id = parse_optional_id(request.request_id, "request_id")
    return SignUp(
        email=texts.address(request.email, "email"),
        full_name=texts.name(request.full_name, "full_name"),
        password=request.password,
        request_id=request_id,
        digest=digest if request_id is not None else None,
    )
