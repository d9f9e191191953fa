"""The call to audit, and what its failures mean for a batch."""

from __future__ import annotations

import enum
from typing import Final, Protocol
from uuid import UUID

import grpc
import grpc.aio
from bulkhead.audit.v1 import audit_writer_service_pb2 as pb
from bulkhead.audit.v1.audit_writer_service_pb2_grpc import AuditWriterServiceStub
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from bulkhead_kit import metadata
from bulkhead_kit.client import connect
from bulkhead_kit.services_auth import ServiceTokens
from bulkhead_kit.tls import TlsFiles

CONTRACT: Final = "bulkhead.audit.v1.AuditWriterService"
DEADLINE: Final = 10.0


class Meaning(enum.Enum):
    DOWN = "down"
    """Audit cannot be reached or does not know us: true of every tenant."""
    LATER = "later"
    """This batch met trouble that passes."""
    REFUSED = "refused"
    """The same batch will be refused again."""
    FAULT = "fault"
    """Something broke in audit: perhaps over this batch, perhaps not."""


class Failure(Exception):
    def __init__(self, meaning: Meaning, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.meaning = meaning
        self.reason = reason
        self.text = text


class Append(Protocol):
    async def __call__(self, tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        """Raises Failure."""


class AuditClient:
    """Proves itself as the service whose outbox it delivers."""

    def __init__(self, address: str, tokens: ServiceTokens, tls: TlsFiles | None = None) -> None:
        self._tokens = tokens
        self._channel = connect(
            address, service="audit", contracts=[CONTRACT], token=lambda _: tokens.token("audit"), tls=tls
        )
        self._stub = AuditWriterServiceStub(self._channel)

    async def __call__(self, tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        entries = metadata.outgoing(token=self._tokens.token("audit", tenant_id), tenant_id=tenant_id)
        try:
            # Not by Channel.call: that hides from people what a relay has to tell apart.
            return await self._stub.AppendEvents(request, timeout=DEADLINE, metadata=entries)
        except grpc.aio.AioRpcError as error:
            raise understand(error) from None

    async def close(self) -> None:
        await self._channel.close()


_MEANINGS: Final = {
    grpc.StatusCode.UNAVAILABLE: Meaning.DOWN,
    grpc.StatusCode.UNAUTHENTICATED: Meaning.DOWN,
    grpc.StatusCode.PERMISSION_DENIED: Meaning.DOWN,
    grpc.StatusCode.UNIMPLEMENTED: Meaning.DOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED: Meaning.LATER,
    grpc.StatusCode.ABORTED: Meaning.LATER,
    grpc.StatusCode.CANCELLED: Meaning.LATER,
    grpc.StatusCode.INTERNAL: Meaning.FAULT,
    grpc.StatusCode.UNKNOWN: Meaning.FAULT,
    grpc.StatusCode.DATA_LOSS: Meaning.FAULT,
}


def understand(error: grpc.aio.AioRpcError) -> Failure:
    reason = _reason(error)
    meaning = _MEANINGS.get(error.code(), Meaning.REFUSED)
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and reason:
        # A full server says so with a reason; a message that is too long is refused by grpc without one.
        meaning = Meaning.LATER
    return Failure(meaning, reason or error.code().name, (error.details() or "")[:1000])


def _reason(error: grpc.aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == metadata.STATUS_DETAILS and isinstance(value, bytes):
            try:
                details = Status.FromString(value).details
            except DecodeError:
                return ""
            for detail in details:
                if detail.Is(ErrorInfo.DESCRIPTOR):
                    return str(ErrorInfo.FromString(detail.value).reason)
    return ""
