"""Metadata between messages and tables: what is taken, what is refused, and that the refusal costs nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from buf.validate import validate_pb2
from bulkhead.issues.v1 import issue_pb2, project_pb2
from bulkhead_issues import wire
from bulkhead_kit import structs
from bulkhead_kit.errors import InvalidArgument
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message

from tests.support.builders import make_issue
from tests.support.client import refused
from tests.support.house import Tenant


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())


def chain(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


DENSE = [
    {"a": [1.0] * 3200},
    {"a": [[]] * 4000},
    {"a": [None, True, False, "", "ü", -1.5e300] * 300},
    {str(i): 0.0 for i in range(1200)},
    {"a": [chain(29)] * 240},
    {"a": [{"": {"": {}}}] * 900},
]


@pytest.mark.parametrize("values", DENSE)
def test_all_that_is_short_enough_as_json_is_taken(values: dict[str, Any]) -> None:
    """However much longer it is as a message."""
    assert 8_000 < len(json.dumps(values)) <= wire.MAX_METADATA
    message = struct(values)
    assert wire.metadata(message, "issue.metadata") == values == json_format.MessageToDict(message)


def test_a_long_message_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_value: struct_pb2.Value, _field: str) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr(structs, "_plain", read)
    with pytest.raises(InvalidArgument, match="16384 bytes") as refusal:
        wire.metadata(struct({"a": [1.0] * 10_000}), "issue.metadata")
    assert [one.field for one in refusal.value.violations] == ["issue.metadata"]


@pytest.mark.parametrize("values", [{"a": "x" * 16_400}, {"a": [1.0] * 3300}, {"a": "\0"}])
def test_what_no_table_takes_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        wire.metadata(struct(values), "issue.metadata")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused_at_any_depth(number: float) -> None:
    message = struct_pb2.Struct()
    message.get_or_create_list("a").add_struct().fields["b"].number_value = number
    with pytest.raises(InvalidArgument, match="NaN"):
        wire.metadata(message, "issue.metadata")


@pytest.mark.parametrize("message", [issue_pb2.Issue, project_pb2.Project])
def test_the_validator_passes_it_over(message: type[Message]) -> None:
    """It has no rules for it, and looking at each value of a long one takes a quarter of a second."""
    field = message.DESCRIPTOR.fields_by_name["metadata"]
    assert field.GetOptions().Extensions[validate_pb2.field].ignore == validate_pb2.IGNORE_ALWAYS


async def test_a_caller_is_told_the_field(tenant: Tenant, project: Any) -> None:
    long = struct({"a": [1.0] * 80_000})
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await make_issue(tenant.owner, project.project_id, metadata=long)
    assert refusal.fields == ["issue.metadata"]
    made = await make_issue(tenant.owner, project.project_id)
    made.metadata.CopyFrom(long)
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await tenant.owner.issues.UpdateIssue(issue=made, update_mask={"paths": ["metadata"]})
    assert refusal.fields == ["issue.metadata"]
