"""Messages of AuthService."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from bulkhead.identity.v1 import auth_pb2 as auth_pb
from bulkhead.identity.v1 import auth_service_pb2 as pb
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit.ids import parse_optional_id
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.wire import timestamp
from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_identity import texts
from bulkhead_identity.session.rules import Issued, LogIn, SessionRow, SignedIn


def log_in(request: pb.LoginRequest) -> LogIn:
    email = texts.address(request.email, "email")
    return LogIn(
        email=email,
        address_key=texts.address_key(email),
        password=request.password,
        device_token=request.device_token,
        request_id=parse_optional_id(request.request_id, "request_id"),
    )


def access_token(issued: Issued) -> auth_pb.AccessToken:
    return auth_pb.AccessToken(token=issued.token, expire_time=Timestamp(seconds=issued.expires_at))


def refresh_token(token: str, expires_at: int) -> auth_pb.RefreshToken:
    return auth_pb.RefreshToken(token=token, expire_time=timestamp(expires_at))


def signed_in(done: SignedIn) -> pb.LoginResponse:
    return pb.LoginResponse(
        user_id=done.user_id,
        session_id=done.session_id,
        access_token=access_token(done.access),
        refresh_token=refresh_token(done.refresh_token, done.refresh_expires_at),
        device_token=done.device_token,
    )


def refreshed(done: SignedIn) -> pb.RefreshTokenResponse:
    return pb.RefreshTokenResponse(
        access_token=access_token(done.access),
        refresh_token=refresh_token(done.refresh_token, done.refresh_expires_at),
    )


def selected(issued: Issued, role: int) -> pb.SelectTenantResponse:
    return pb.SelectTenantResponse(access_token=access_token(issued), role=options_pb2.Role.ValueType(role))


def sessions(rows: Sequence[SessionRow], next_page_token: str, own: UUID) -> pb.ListSessionsResponse:
    return pb.ListSessionsResponse(
        sessions=[session(row, is_current=row.session_id == str(own)) for row in rows], next_page_token=next_page_token
    )


def session(row: SessionRow, *, is_current: bool) -> auth_pb.Session:
    return auth_pb.Session(
        session_id=row.session_id,
        create_time=timestamp(row.created_at),
        last_seen_time=timestamp(row.last_seen_at),
        expire_time=timestamp(row.expires_at),
        ip=(row.ip or "").removesuffix("/32").removesuffix("/128"),
        user_agent=row.user_agent or "",
        is_current=is_current,
    )


def jwks(keys: KeySet) -> pb.GetJwksResponse:
    return pb.GetJwksResponse(keys=[auth_pb.JsonWebKey(**key) for key in keys.to_jwks()["keys"]])
