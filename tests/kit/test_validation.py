from __future__ import annotations

import time
import timeit
from typing import Any

import buf.validate.validate_pb2  # noqa: F401 - the text below names its extensions
import protovalidate
import pytest
from bulkhead.issues.v1 import import_pb2, import_service_pb2, issue_pb2, issue_service_pb2
from bulkhead_kit import validation
from bulkhead_kit.errors import InvalidArgument
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

FILE = """
name: "bulkhead/test/validation.proto" package: "bulkhead.test.validation" syntax: "proto3"
dependency: "buf/validate/validate.proto"
message_type { name: "Item"
  field { name: "title" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL
    options { [buf.validate.field] { string { min_len: 1 max_len: 10 } } } }
  field { name: "id" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL
    options { [buf.validate.field] { ignore: IGNORE_IF_ZERO_VALUE string { uuid: true } } } }
}
message_type { name: "List"
  field { name: "items" number: 1 type: TYPE_MESSAGE type_name: ".bulkhead.test.validation.Item" label: LABEL_REPEATED }
  field { name: "by_key" number: 2 type: TYPE_MESSAGE type_name: ".bulkhead.test.validation.List.ByKeyEntry" label: LABEL_REPEATED }
  nested_type { name: "ByKeyEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".bulkhead.test.validation.Item" label: LABEL_OPTIONAL } }
}
message_type { name: "Free"
  field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "again" number: 2 type: TYPE_MESSAGE type_name: ".bulkhead.test.validation.Free" label: LABEL_OPTIONAL }
}
message_type { name: "Whole"
  options { [buf.validate.message] { cel { id: "both" message: "a and b exclude each other" expression: "this.a == '' || this.b == ''" } } }
  field { name: "a" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "b" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type { name: "Choice"
  oneof_decl { name: "subject" options { [buf.validate.oneof] { required: true } } }
  field { name: "a" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
  field { name: "b" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
}
message_type { name: "Broken"
  field { name: "a" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL
    options { [buf.validate.field] { cel { id: "x" expression: "this.nothing(" } } } }
}
"""  # noqa: E501 - descriptors in text form
_pool = descriptor_pool.Default()
_pool.AddSerializedFile(text_format.Parse(FILE, descriptor_pb2.FileDescriptorProto()).SerializeToString())


def kind(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"bulkhead.test.validation.{name}"))


Item, List, Free, Whole, Choice = (kind(name) for name in ("Item", "List", "Free", "Whole", "Choice"))
GOOD_ID = "0190163d-8694-739b-aea5-966c26f8ad91"


def test_a_right_message_passes() -> None:
    validation.validate(Item(title="🧱" * 10, id=GOOD_ID))
    validation.validate(List(items=[Item(title="a")], by_key={"k": Item(title="b")}))
    validation.validate(Whole(a="x"))
    validation.validate(Choice(b=""))


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (Item(), ["title"]),
        (Item(title="x" * 11, id="no"), ["title", "id"]),
        (List(items=[Item(title="a"), Item()]), ["items[1].title"]),
        (List(by_key={"k": Item(title="a", id="no")}), ['by_key["k"].id']),
        (Whole(a="x", b="y"), [""]),
        (Choice(), ["subject"]),
    ],
)
def test_every_broken_rule_names_its_field(message: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validation.validate(message)
    assert [violation.field for violation in caught.value.violations] == fields
    assert all(violation.description for violation in caught.value.violations)
    assert caught.value.reason_name == "INVALID_FIELD"
    assert caught.value.message


def test_many_broken_rules_do_not_make_an_error_too_large_to_send() -> None:
    with pytest.raises(InvalidArgument, match=r"and 199 more") as caught:
        validation.validate(List(items=[Item()] * 200))
    assert len(caught.value.violations) == 20
    with pytest.raises(InvalidArgument) as caught:
        validation.validate(List(by_key={"k" * 100_000: Item()}))
    assert len(caught.value.message) < 400


def test_rules_are_found_wherever_they_can_be() -> None:
    assert [validation.has_rules(one.DESCRIPTOR) for one in (Item, List, Whole, Choice)] == [True] * 4
    assert not validation.has_rules(Free.DESCRIPTOR)


def test_a_message_without_rules_costs_next_to_nothing() -> None:
    message = Free(text="x")
    validation.validate(message)
    assert min(timeit.repeat(lambda: validation.validate(message), number=1000, repeat=5)) / 1000 < 5e-6


def test_a_rule_that_does_not_compile_is_found_at_start() -> None:
    validation.prepare([Item, Free])
    with pytest.raises(protovalidate.CompilationError):
        validation.prepare([kind("Broken")])


@pytest.mark.parametrize(("length", "most"), [(200_000, 2.0), (5_300, 0.05)])
def test_a_request_with_many_faults_is_refused_at_the_first(length: int, most: float) -> None:
    request = issue_service_pb2.CreateIssueRequest(issue=issue_pb2.Issue(label_ids=["x"] * length))
    validation.validate(issue_service_pb2.ListIssuesRequest())
    started = time.process_time()
    with pytest.raises(InvalidArgument) as caught:
        validation.validate(request)
    assert len(caught.value.violations) == 1
    # Gathering all of them takes ten seconds and more of the long one, 0.14 s of the other.
    assert time.process_time() - started < most


def test_what_an_import_judges_itself_is_not_looked_through() -> None:
    """340,000 empty comments, one message, kept everybody else waiting for a second."""
    issue = import_pb2.ImportIssue(comments=[import_pb2.ImportComment()] * 340_000)
    request = import_service_pb2.ImportItemsRequest(issue=issue)
    started = time.process_time()
    validation.validate(request)
    assert time.process_time() - started < 0.2
