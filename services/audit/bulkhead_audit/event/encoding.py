"""The encoding of events, version 1. docs/audit-encoding.md is the same in words, with test vectors.

It never changes for events that have it; another encoding gets another number.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from json.encoder import encode_basestring as quoted
from typing import Final

from bulkhead_kit import canonical_json
from bulkhead_kit.canonical_json import Json, Number, canonical
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.moments import from_us_since_2000

from bulkhead_audit.event.rules import Change, Cut, Leaf, NewEvent

ENCODING: Final = 1
SALT_BYTES: Final = 32

_is_cut = re.compile("(0|[1-9][0-9]{0,17}) [0-9a-f]{64}").fullmatch


def number(tenant_id: str, events: Sequence[NewEvent], *, size: int, recorded_at: int, salts: bytes) -> list[Leaf]:
    """The leaves that follow a log of `size` events; `salts` holds 32 random bytes for each."""
    return [
        _leaf(tenant_id, event, size + 1 + i, recorded_at, salts[i * SALT_BYTES : (i + 1) * SALT_BYTES])
        for i, event in enumerate(events)
    ]


def _leaf(tenant_id: str, event: NewEvent, seq: int, recorded_at: int, salt: bytes) -> Leaf:
    text = changes_text(event.changes)
    digest = values_digest(salt, text, event.ip, event.user_agent)
    line = envelope(tenant_id, event, seq=seq, recorded_at=recorded_at, digest=digest)
    return Leaf(event, seq, recorded_at, ENCODING, salt, text, digest, leaf_hash(line))


def values_digest(salt: bytes, changes: str, ip: str | None, user_agent: str | None) -> bytes:
    """`changes` is the canonical text; the three members stand in the order of their names."""
    values = f'{{"changes":{changes},"ip":{_optional(ip)},"user_agent":{_optional(user_agent)}}}'
    return hashlib.sha256(salt + values.encode()).digest()


def envelope(tenant_id: str, event: NewEvent, *, seq: int, recorded_at: int, digest: bytes) -> str:
    """Everything about an event that is never erased, as one line of canonical JSON."""
    members = {
        "action": event.action,
        "actor_id": event.actor_id,
        "actor_type": event.actor_type,
        "encoding": ENCODING,
        "entity_id": event.entity_id,
        "entity_type": event.entity_type,
        "event_id": event.event_id,
        "fields": event.fields,
        "occurred_at": rfc3339(event.occurred_at),
        "on_behalf_of": event.on_behalf_of,
        "outcome": event.outcome,
        "project_id": event.project_id,
        "recorded_at": rfc3339(recorded_at),
        "request_id": event.request_id,
        "rpc": event.rpc,
        "seq": seq,
        "service": event.service,
        "sub_id": event.sub_id,
        "tenant_id": tenant_id,
        "values_digest": digest.hex(),
        "visibility": event.visibility,
    }
    # The names are plain ASCII in sorted order, and no number is a float: this is canonical as it stands.
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def leaf_hash(line: str) -> bytes:
    """The leading zero keeps leaves apart from inner nodes of a Merkle tree (RFC 6962)."""
    return hashlib.sha256(b"\x00" + line.encode()).digest()


def rfc3339(us_since_2000: int) -> str:
    return from_us_since_2000(us_since_2000).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _optional(text: str | None) -> str:
    return "null" if text is None else quoted(text)


def changes_text(changes: Sequence[Change]) -> str:
    """Canonical JSON of changes that are in the order of their fields."""
    return "{" + ",".join([f"{quoted(one.field)}:{_change_text(one)}" for one in changes]) + "}"


def _change_text(change: Change) -> str:
    if change.old_cut is None and change.new_cut is None:
        return f"[{change.old},{change.new}]"
    cuts = [
        f'"{side}":{{"bytes":{cut.size_bytes},"sha256":"{cut.sha256}"}}'
        for side, cut in (("new", change.new_cut), ("old", change.old_cut))
        if cut is not None
    ]
    return f"[{change.old},{change.new},{{{','.join(cuts)}}}]"


def parse_changes(text: str, field: str) -> tuple[Change, ...]:
    """From JSON text that maps names to [old, new] or [old, new, cuts]; what is wrong is said of `field`."""
    try:
        tree = canonical_json.parse(text or "{}")
        if not isinstance(tree, dict):
            raise ValueError("must be an object")
        return tuple([_change(name, tree[name]) for name in canonical_json.in_order(tree)])
    except ValueError as error:
        raise InvalidArgument.field(field, f"must be JSON of changes: {error}") from None


def _change(name: str, pair: Json) -> Change:
    canonical_json.quote(name)
    if isinstance(pair, list) and len(pair) == 2:
        return Change(name, canonical(pair[0]), canonical(pair[1]))
    if isinstance(pair, list) and len(pair) == 3:
        old, new, cuts = pair
        if isinstance(cuts, dict) and cuts and cuts.keys() <= {"old", "new"}:
            return Change(name, canonical(old), canonical(new), _cut(cuts, "old"), _cut(cuts, "new"))
    raise ValueError("every member must be [old, new] or [old, new, cuts]")


def _cut(cuts: dict[str, Json], side: str) -> Cut | None:
    if side not in cuts:
        return None
    cut = cuts[side]
    if isinstance(cut, dict) and cut.keys() == {"bytes", "sha256"}:
        size, digest = cut["bytes"], cut["sha256"]
        if isinstance(size, Number) and isinstance(digest, str) and _is_cut(f"{size.text} {digest}"):
            return Cut(int(size.text), digest)
    raise ValueError('a cut must be {"bytes": length, "sha256": 64 hexadecimal digits}')
