"""What an event is, from its arrival to its place in a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.moments import from_us_since_2000

EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
MAX_AHEAD: Final = timedelta(days=92)
"""A clock that is further ahead is wrong, and must not make us a partition for every month to come."""

SEES_WHOLE_LOG: Final = 4
"""The least role, that of an admin."""
ACTOR_TYPES: Final = ("person", "service_account", "service", "anonymous", "system", "database")
OUTCOMES: Final = ("ok", "denied", "failed")
VISIBILITIES: Final = {"EVERYONE": 1, "INTERNAL": 2}

OWNERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *("api_key", "credential", "invitation", "mail_ask", "member", "one_time_token", "plan", "refresh_token"),
            *("session", "support_entry", "support_grant", "team", "team_member", "tenant", "tenant_allowance", "user"),
            "user_profile",
        ),
        "identity",
    ),
    **dict.fromkeys(
        ("comment", "issue", "issue_label", "label", "project", "status", "status_transition", "workspace"), "issues"
    ),
}
"""Whose kinds of entities are whose, as audit.kind_owner says."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is kept of a value that was too large for an event."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field's values before and after, each as canonical JSON text."""

    field: str
    old: str
    new: str
    old_cut: Cut | None = None
    new_cut: Cut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event as its service recorded it. Ids are in lower case, times in microseconds since 2000 (UTC)."""

    event_id: str
    occurred_at: int
    actor_type: str
    actor_id: str | None
    on_behalf_of: str | None
    request_id: str | None
    service: str | None
    rpc: str | None
    action: str
    entity_type: str
    entity_id: str
    sub_id: str | None
    project_id: str | None
    visibility: int
    outcome: str
    changes: tuple[Change, ...]
    """Sorted by field."""
    ip: str | None
    user_agent: str | None

    @property
    def key(self) -> tuple[int, str]:
        """What makes a repeat known as such, within its tenant."""
        return self.occurred_at, self.event_id

    @property
    def fields(self) -> list[str]:
        return [change.field for change in self.changes]


class EventRow(NamedTuple):
    """An event as it is listed. Times in microseconds since 2000 (UTC).

    None besides what can be missing: what is not shown to who may not see the whole log.
    """

    event_id: str
    seq: int | None
    occurred_at: int
    recorded_at: int | None
    actor_type: str
    actor_id: str | None
    on_behalf_of: str | None
    request_id: str | None
    service: str | None
    rpc: str | None
    action: str
    entity_type: str
    entity_id: str
    sub_id: str | None
    project_id: str | None
    visibility: int
    outcome: str
    fields: list[str]
    encoding: int | None
    values_digest: bytes | None
    leaf_hash: bytes | None
    changes: str | None
    """None after an erasure."""
    ip: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Leaf:
    """An event with its place in a log, and the two hashes that bind it there."""

    event: NewEvent
    seq: int
    recorded_at: int
    encoding: int
    salt: bytes
    changes_text: str
    values_digest: bytes
    leaf_hash: bytes


def sees_whole_log(role: int | None) -> bool:
    """Everybody else sees their own acts. The database says the same."""
    return role is not None and role >= SEES_WHOLE_LOG


def demand_plausible(occurred_at: int, now: datetime, field: str) -> None:
    if not EARLIEST <= from_us_since_2000(occurred_at) <= now + MAX_AHEAD:
        raise InvalidArgument.field(field, "must be a time from 2020 to three months from now")


def demand_own(service: str, events: Sequence[NewEvent], *, refusal: str) -> None:
    """The database says the same, but not which event it was: the relay has to find the one that is refused.

    `refusal`: the action of a refused call, which is known by its method.
    """
    for position, event in enumerate(events):
        if event.action == refusal:
            wrong = "" if (event.rpc or "").startswith(f"bulkhead.{service}.") else "rpc"
        else:
            named = {"entity_type": event.entity_type, "action": event.action.partition(".")[0]}
            wrong = next((field for field, kind in named.items() if OWNERS.get(kind, service) != service), "")
        if wrong:
            raise InvalidArgument.field(f"events[{position}].{wrong}", f"is another service's than {service}'s")


def months(events: Sequence[NewEvent]) -> set[date]:
    """The first days of the months that the events belong to."""
    return {from_us_since_2000(event.occurred_at).date().replace(day=1) for event in events}


def only_new(events: Sequence[NewEvent], known: set[tuple[int, str]]) -> list[NewEvent]:
    """Without those in the log already, and each but once; in the order given."""
    fresh: dict[tuple[int, str], NewEvent] = {}
    for event in events:
        if event.key not in known:
            fresh.setdefault(event.key, event)
    return list(fresh.values())
