"""Ids are UUIDs of version 7, made by the service: a client's retry can bring the same one again."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from bulkhead_kit.errors import InvalidArgument

_canonical = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE).fullmatch

PLATFORM_LOG: Final = UUID("00000000-0000-0000-0000-000000000001")
"""The reserved tenant of the log of what happens outside any tenant; same value as app.platform_log_id()."""


def new_id() -> UUID:
    return uuid7()


def parse_id(text: str, field: str) -> UUID:
    """A UUID of any version in its usual form of 36 characters; braces, urn: and bare hex are refused.

    uuid.UUID() alone would take those, and two spellings of one id defeat whoever compares texts.
    """
    if _canonical(text) is None:
        raise InvalidArgument.field(field, "must be a UUID such as 0190163d-8694-739b-aea5-966c26f8ad91")
    return UUID(text)


def parse_optional_id(text: str, field: str) -> UUID | None:
    """None for the empty text, which is how proto3 says "not set"."""
    return parse_id(text, field) if text else None
