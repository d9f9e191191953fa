"""How a filter is refused: with the place where reading it stopped making sense."""

from __future__ import annotations

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit.errors import FieldViolation, InvalidArgument


def refusal(position: int, text: str) -> InvalidArgument:
    description = f"{text}, at character {position}"
    return InvalidArgument(
        ErrorReason.INVALID_FILTER,
        f"filter: {description}",
        metadata={"position": str(position)},
        violations=[FieldViolation("filter", description)],
    )


def shown(text: str) -> str:
    """A piece of the caller's filter, short enough for an error."""
    return repr(text if len(text) <= 40 else text[:40] + "...")
