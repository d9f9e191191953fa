"""The encoding against its published vectors, which were made from the document's words by other code."""

from __future__ import annotations

import hashlib
import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bulkhead_audit.event import encoding
from bulkhead_audit.event.rules import NewEvent
from bulkhead_kit import canonical_json, moments, wire
from bulkhead_kit.errors import InvalidArgument
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text())


def _event(vector: dict[str, Any]) -> tuple[NewEvent, dict[str, Any]]:
    said = json.loads(vector["envelope"])
    event = NewEvent(
        event_id=said["event_id"],
        occurred_at=_us(said["occurred_at"]),
        actor_type=said["actor_type"],
        actor_id=said["actor_id"],
        on_behalf_of=said["on_behalf_of"],
        request_id=said["request_id"],
        service=said["service"],
        rpc=said["rpc"],
        action=said["action"],
        entity_type=said["entity_type"],
        entity_id=said["entity_id"],
        sub_id=said["sub_id"],
        project_id=said["project_id"],
        visibility=said["visibility"],
        outcome=said["outcome"],
        changes=encoding.parse_changes(vector["changes_json"], "changes_json"),
        ip=vector["ip"],
        user_agent=vector["user_agent"],
    )
    return event, said


def _us(text: str) -> int:
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return moments.us_since_2000(wire.to_datetime(stamp))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    event, said = _event(vector)
    (leaf,) = encoding.number(
        said["tenant_id"],
        [event],
        size=said["seq"] - 1,
        recorded_at=_us(said["recorded_at"]),
        salts=bytes.fromhex(vector["salt"]),
    )
    assert leaf.values_digest.hex() == vector["values_digest"]
    assert leaf.leaf_hash.hex() == vector["leaf_hash"]
    line = encoding.envelope(
        said["tenant_id"], event, seq=leaf.seq, recorded_at=leaf.recorded_at, digest=leaf.values_digest
    )
    assert line == vector["envelope"]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector_verifies_with_nothing_but_a_shell(vector: dict[str, Any]) -> None:
    shell = 'printf "\\0%s" "$1" | sha256sum'
    printed = subprocess.run(["sh", "-c", shell, "sh", vector["envelope"]], capture_output=True, check=True)
    assert printed.stdout.split()[0].decode() == vector["leaf_hash"]
    assert (
        hashlib.sha256(bytes.fromhex(vector["salt"]) + vector["values"].encode()).hexdigest()
        == (vector["values_digest"])
    )


def test_document_shows_the_vectors_hashes() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/audit-encoding.md").read_text()
    for vector in VECTORS[:2]:
        assert vector["envelope"] in text
        assert vector["values"] in text
        assert vector["leaf_hash"] in text
        assert vector["values_digest"] in text


def test_every_member_of_the_envelope_changes_the_leaf() -> None:
    _, said = _event(VECTORS[1])
    for name in said:
        other = {**said, name: "another"}
        line = json.dumps(other, ensure_ascii=False, separators=(",", ":"))
        assert encoding.leaf_hash(line).hex() != VECTORS[1]["leaf_hash"], name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", None),
        ("{}", None),
        ("[]", "must be an object"),
        ("{", "Expecting property name"),
        ('{"a":[1]}', r"\[old, new\]"),
        ('{"a":[1,2,{}]}', r"\[old, new\]"),
        ('{"a":[1,2,{"both":1}]}', r"\[old, new\]"),
        ('{"a":[1,2,{"old":{"bytes":1}}]}', "a cut must be"),
        ('{"a":[1,2,{"old":{"bytes":-1,"sha256":"' + "0" * 64 + '"}}]}', "a cut must be"),
        ('{"a":[1,2,{"old":{"bytes":1,"sha256":"' + "A" * 64 + '"}}]}', "a cut must be"),
        ('{"a":[1,2],"a":[1,2]}', "twice"),
        ('{"a":[1,{"b":1,"b":2}]}', "twice"),
        ('{"a":[NaN,1]}', "not JSON"),
        ('{"a":[1e5,1]}', "exponent"),
        ('{"a":["\\u0000",1]}', r"U\+0000"),
        ('{"a\\u0000":[1,1]}', r"U\+0000"),
        ('{"a":["\\ud800",1]}', "surrogate"),
        ('{"a":[' + "[" * 65 + "]" * 65 + ",1]}", "levels deep"),
        ('{"a":[' + "[" * 100_000 + "]" * 100_000 + ",1]}", "levels deep"),
    ],
)
def test_changes_that_could_not_be_kept_are_refused(text: str, why: str | None) -> None:
    if why is None:
        assert encoding.parse_changes(text, "changes_json") == ()
        return
    with pytest.raises(InvalidArgument, match=why) as refused:
        encoding.parse_changes(text, "events[7].changes_json")
    assert refused.value.violations[0].field == "events[7].changes_json"


_scalars = (
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1))
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abé\U0001f680\uffee"), inner, max_size=4),
)


@given(_values)
def test_canonical_text_says_the_same_in_one_spelling(value: object) -> None:
    text = canonical_json.canonical(canonical_json.parse(json.dumps(value)))
    assert json.loads(text) == value
    assert canonical_json.canonical(canonical_json.parse(text)) == text
    assert canonical_json.canonical(canonical_json.parse(json.dumps(value, indent=3, sort_keys=True))) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6))
def test_equal_numbers_have_one_spelling(number: Decimal) -> None:
    text = f"{number:f}"
    plain = canonical_json.plain(text)
    assert Decimal(plain) == number
    assert canonical_json.plain(text + "000") == plain
    assert plain == "0" or not plain.startswith("-0") or "." in plain
