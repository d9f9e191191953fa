"""Names, forms and limits of the metadata of a call. The only file that knows header names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.ids import new_id

AUTHORIZATION: Final = "authorization"
TENANT_ID: Final = "x-tenant-id"
REQUEST_ID: Final = "x-request-id"
TRACEPARENT: Final = "traceparent"
FORWARDED_FOR: Final = "x-forwarded-for"
FORWARDED_USER_AGENT: Final = "x-forwarded-user-agent"
USER_AGENT: Final = "user-agent"
STATUS_DETAILS: Final = "grpc-status-details-bin"

MAX_BYTES: Final = 8192
ENTRY_OVERHEAD: Final = 32
"""What HTTP/2 counts for an entry besides its key and its value."""
MAX_REQUEST_ID: Final = 64
MAX_USER_AGENT: Final = 512
MAX_FORWARDED_FOR: Final = 1024
BEARER: Final = "Bearer "
_SCHEME: Final = "bearer"

Entry = tuple[str, str | bytes]


@dataclass(slots=True)
class CallMetadata:
    """What came with a call, checked for form only: nothing in it is believed yet."""

    request_id: str = ""
    token: str | None = None
    tenant_id: UUID | None = None
    traceparent: str | None = None
    forwarded_for: str | None = None
    forwarded_user_agent: str | None = None
    user_agent: str | None = None


def malformed(key: str, rule: str) -> InvalidArgument:
    return InvalidArgument(ErrorReason.INVALID_METADATA, f"metadata {key}: {rule}", metadata={"key": key})


def read(entries: Iterable[Entry]) -> CallMetadata:
    found = CallMetadata()
    size = 0
    for key, value in entries:
        size += len(key) + len(value) + ENTRY_OVERHEAD
        setter = _READERS.get(key)
        if setter is not None:
            if not isinstance(value, str):
                raise malformed(key, "must be text")
            setter(found, value)
    if size > MAX_BYTES:
        raise InvalidArgument(
            ErrorReason.INVALID_METADATA,
            f"the metadata takes {size} bytes, {MAX_BYTES} are allowed",
            metadata={"key": "*"},
        )
    if not found.request_id:
        found.request_id = str(new_id())
    return found


def _read_authorization(found: CallMetadata, value: str) -> None:
    if found.token is not None:
        raise malformed(AUTHORIZATION, "must be given once")
    scheme, _, rest = value.partition(" ")
    token = rest.strip(" ")
    # RFC 9110, 11.1 and 11.4: the scheme has no case, and blanks stand behind it.
    if scheme.lower() != _SCHEME or not token or " " in token:
        raise malformed(AUTHORIZATION, "must read 'Bearer' and one token")
    found.token = token


def _read_tenant_id(found: CallMetadata, value: str) -> None:
    if found.tenant_id is not None:
        raise malformed(TENANT_ID, "must be given once")
    tenant_id = _uuid(value)
    if tenant_id is None:
        raise malformed(TENANT_ID, "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")
    found.tenant_id = tenant_id


def _read_request_id(found: CallMetadata, value: str) -> None:
    if found.request_id:
        raise malformed(REQUEST_ID, "must be given once")
    if not 1 <= len(value) <= MAX_REQUEST_ID or not is_visible_ascii(value):
        raise malformed(REQUEST_ID, f"must be 1 to {MAX_REQUEST_ID} visible ASCII characters without spaces")
    found.request_id = value


def _read_traceparent(found: CallMetadata, value: str) -> None:
    # A broken one is no fault of the call: W3C has the receiver start a new trace.
    found.traceparent = value


def _read_forwarded_for(found: CallMetadata, value: str) -> None:
    if len(value) > MAX_FORWARDED_FOR:
        raise malformed(FORWARDED_FOR, f"must have at most {MAX_FORWARDED_FOR} characters")
    # Each proxy may add an entry of its own; together they read like one list.
    found.forwarded_for = value if found.forwarded_for is None else f"{found.forwarded_for},{value}"


def _read_forwarded_user_agent(found: CallMetadata, value: str) -> None:
    found.forwarded_user_agent = _cut(value)


def _read_user_agent(found: CallMetadata, value: str) -> None:
    found.user_agent = _cut(value)


_READERS = {
    AUTHORIZATION: _read_authorization,
    TENANT_ID: _read_tenant_id,
    REQUEST_ID: _read_request_id,
    TRACEPARENT: _read_traceparent,
    FORWARDED_FOR: _read_forwarded_for,
    FORWARDED_USER_AGENT: _read_forwarded_user_agent,
    USER_AGENT: _read_user_agent,
}


def is_visible_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


@lru_cache(maxsize=1024)
def _cut(text: str) -> str:
    """A user agent is a hint for people: cut it, do not refuse the call for it."""
    short = text[:MAX_USER_AGENT]
    return short if short.isprintable() else "".join(c if c.isprintable() else "?" for c in short)


@lru_cache(maxsize=4096)
def _uuid(text: str) -> UUID | None:
    try:
        value = UUID(text)
    except ValueError:
        return None
    # UUID() also reads braces, "urn:uuid:" and missing hyphens; one form is enough for everybody.
    return value if str(value) == text.lower() else None


def outgoing(
    *, token: str | None, tenant_id: UUID | None = None, request_id: str | None = None, traceparent: str | None = None
) -> Sequence[tuple[str, str]]:
    """The metadata of a call to another service; what is missing is left out."""
    entries = []
    if token is not None:
        entries.append((AUTHORIZATION, BEARER + token))
    if tenant_id is not None:
        entries.append((TENANT_ID, str(tenant_id)))
    if request_id is not None:
        entries.append((REQUEST_ID, request_id))
    if traceparent is not None:
        entries.append((TRACEPARENT, traceparent))
    return entries
