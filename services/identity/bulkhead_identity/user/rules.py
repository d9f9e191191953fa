"""What a person says of herself, and which of it can be true."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import InvalidArgument, Unauthenticated

# The form of a language tag (RFC 5646): language, script, region, variants, extensions, private use. Not the old
# irregular tags, which no list of languages offers. user_profiles_locale_check says the same.
_language_tag = re.compile(
    r"(?P<language>[a-z]{2,3}(-[a-z]{3}){0,3})(-(?P<script>[a-z]{4}))?(-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<rest>(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?)",
    re.ASCII | re.IGNORECASE,
).fullmatch
MAX_PREFERENCES: Final = 8_192
"""Bytes as JSON."""
NAMES: Final = ("full_name", "first_name", "last_name", "avatar_url")
"""Of the account itself; the rest is of the profile."""


class UserRow(NamedTuple):
    user_id: str
    email: str
    full_name: str
    first_name: str | None
    last_name: str | None
    avatar_url: str | None
    is_platform_admin: bool
    last_login_at: int | None
    created_at: int
    bio: str | None
    phone: str | None
    company: str | None
    department: str | None
    job_title: str | None
    time_zone: str | None
    locale: str | None
    preferences: dict[str, Any] | None
    is_onboarded: bool
    updated_at: int
    version: int
    """Of account and profile together: it grows with either."""


class CardRow(NamedTuple):
    user_id: str
    display_name: str
    avatar_url: str | None
    kind: str
    status: str
    support_until: int | None


@dataclass(frozen=True, slots=True)
class Closing:
    """A wish to close the account, whose password has been looked at."""

    session_id: UUID
    bucket: bytes
    checked_hash: str = ""
    unknown_hash: str = ""
    """Of a password that nobody knows."""
    refusal: Unauthenticated | None = None


def demand_open(row: UserRow | None) -> UserRow:
    if row is None:
        raise Unauthenticated(ErrorReason.SESSION_ENDED, "the account is closed, log in again")
    return row


def wrong_password() -> Unauthenticated:
    return Unauthenticated(ErrorReason.CREDENTIALS_INVALID, "the password is wrong")


@cache
def _time_zones() -> frozenset[str]:
    # Without the names of files that are no zones of anybody.
    return frozenset(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})


def time_zone(text: str, field: str) -> str:
    if text and text not in _time_zones():
        raise InvalidArgument.field(field, "must be a zone of the IANA time zone database, such as Europe/Berlin")
    return text


def locale(text: str, field: str) -> str:
    """In the case that is usual: de-AT, zh-Hant-TW."""
    if not text:
        return ""
    found = _language_tag(text)
    if found is None:
        raise InvalidArgument.field(field, "must be a language tag such as de-AT")
    script, region = found["script"], found["region"]
    parts = [found["language"].lower(), script.title() if script else None, region.upper() if region else None]
    return "-".join(part for part in parts if part) + found["rest"].lower()
