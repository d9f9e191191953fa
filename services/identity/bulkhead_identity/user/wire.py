"""Messages of UserService."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from bulkhead.identity.v1 import user_pb2 as user_pb
from bulkhead.identity.v1 import user_service_pb2 as pb
from bulkhead_kit import texts as kit_texts
from bulkhead_kit.etags import etag
from bulkhead_kit.ids import parse_id
from bulkhead_kit.masks import MutableFields
from bulkhead_kit.structs import struct, values_of
from bulkhead_kit.wire import timestamp

from bulkhead_identity import texts
from bulkhead_identity.user import rules
from bulkhead_identity.user.rules import CardRow, UserRow
from bulkhead_identity.wire import MEMBER_KINDS, MEMBER_STATES


def changes(request: pb.UpdateMeRequest) -> dict[str, object]:
    """Column values to write."""
    paths = _MUTABLE.to_write(request.user, request.update_mask)
    return {_COLUMNS.get(path, path): _READ[path](request.user) for path in paths}


def user_ids(request: pb.BatchGetMembersRequest) -> list[UUID]:
    return [parse_id(one, f"user_ids[{position}]") for position, one in enumerate(request.user_ids)]


def user(row: UserRow) -> user_pb.User:
    return user_pb.User(
        user_id=row.user_id,
        email=row.email,
        full_name=row.full_name,
        first_name=row.first_name or "",
        last_name=row.last_name or "",
        avatar_url=row.avatar_url or "",
        bio=row.bio or "",
        phone=row.phone or "",
        company=row.company or "",
        department=row.department or "",
        job_title=row.job_title or "",
        time_zone=row.time_zone or "",
        locale=row.locale or "",
        preferences=struct(row.preferences),
        onboarded=row.is_onboarded,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        last_login_time=timestamp(row.last_login_at),
        is_platform_admin=row.is_platform_admin,
        etag=etag(row.version),
    )


def cards(asked: Sequence[UUID], rows: Iterable[CardRow]) -> pb.BatchGetMembersResponse:
    found = {row.user_id: row for row in rows}
    ids = [str(one) for one in asked]
    return pb.BatchGetMembersResponse(
        members=[_card(found[one]) for one in ids if one in found],
        missing_user_ids=[one for one in ids if one not in found],
    )


def _card(row: CardRow) -> user_pb.MemberCard:
    return user_pb.MemberCard(
        user_id=row.user_id,
        display_name=row.display_name,
        avatar_url=row.avatar_url or "",
        kind=MEMBER_KINDS[row.kind],
        state=MEMBER_STATES[row.status],
        is_support=row.support_until is not None,
    )


Read = Callable[[user_pb.User], object]


def _line(field: str) -> Read:
    return lambda message: kit_texts.optional_line(getattr(message, field), f"user.{field}") or None


def _name(field: str) -> Read:
    return lambda message: texts.optional_name(getattr(message, field), f"user.{field}") or None


_READ: Mapping[str, Read] = {
    "full_name": lambda message: texts.name(message.full_name, "user.full_name"),
    "first_name": _name("first_name"),
    "last_name": _name("last_name"),
    "avatar_url": lambda m: texts.web_address(m.avatar_url, "user.avatar_url", schemes=["https"]) or None,
    "bio": lambda message: kit_texts.optional_prose(message.bio, "user.bio") or None,
    "phone": _line("phone"),
    "company": _line("company"),
    "department": _line("department"),
    "job_title": _line("job_title"),
    "time_zone": lambda message: rules.time_zone(message.time_zone, "user.time_zone") or None,
    "locale": lambda message: rules.locale(message.locale, "user.locale") or None,
    "preferences": lambda message: values_of(message.preferences, "user.preferences", rules.MAX_PREFERENCES),
    "onboarded": lambda message: message.onboarded,
}
_COLUMNS = {"onboarded": "is_onboarded"}
_MUTABLE = MutableFields(user_pb.User, _READ)
