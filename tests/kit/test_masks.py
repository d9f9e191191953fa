from __future__ import annotations

import pytest
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.masks import MutableFields
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.source_context_pb2 import SourceContext
from google.protobuf.type_pb2 import Field, Syntax, Type
from hypothesis import given
from hypothesis import strategies as st

# Type stands for a resource: name, oneofs, fields and a nested message may change, syntax may not.
MUTABLE = frozenset({"name", "oneofs", "fields", "source_context.file_name"})
FIELDS = MutableFields(Type, MUTABLE)


def write(resource: Type, *paths: str) -> frozenset[str]:
    return FIELDS.to_write(resource, FieldMask(paths=paths))


def test_without_a_mask_what_is_set_is_written_and_output_fields_are_left() -> None:
    resource = Type(name="a", syntax=Syntax.SYNTAX_PROTO3, source_context=SourceContext(file_name="f"))
    assert FIELDS.to_write(resource, None) == {"name", "source_context.file_name"}
    assert FIELDS.to_write(resource, FieldMask()) == {"name", "source_context.file_name"}
    assert FIELDS.to_write(Type(fields=[Field()]), None) == {"fields"}
    assert FIELDS.to_write(Type(source_context=SourceContext()), None) == frozenset()
    assert FIELDS.to_write(Type(), None) == frozenset()


def test_a_field_that_knows_its_presence_is_written_even_when_empty() -> None:
    whole = MutableFields(Type, {"source_context"})
    assert whole.to_write(Type(source_context=SourceContext()), None) == {"source_context"}
    assert whole.to_write(Type(), None) == frozenset()


def test_named_paths_are_written_set_or_not() -> None:
    assert write(Type(), "name") == {"name"}
    assert write(Type(name="x"), "oneofs", "oneofs", "fields") == {"oneofs", "fields"}
    assert write(Type(), "source_context.file_name") == {"source_context.file_name"}


def test_a_message_stands_for_the_mutable_fields_below_it() -> None:
    assert write(Type(), "source_context") == {"source_context.file_name"}
    assert write(Type(), "source_context", "source_context.file_name") == {"source_context.file_name"}


def test_a_star_replaces_everything_mutable() -> None:
    assert write(Type(), "*") == MUTABLE


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["nam"], "is not a field"),
        (["name", ""], "is not a field"),
        (["name."], "is not a field"),
        ([".name"], "is not a field"),
        (["name.x"], "is not a field"),
        (["fields.name"], "is not a field"),  # a mask does not reach into lists
        (["source_context.nothing"], "is not a field"),
        (["Name"], "is not a field"),
        (["name,oneofs"], "is not a field"),
        (["syntax"], "cannot be changed"),
        (["name", "options"], "cannot be changed"),
        (["*", "name"], "must be the only path"),
        (["*", "*"], "must be the only path"),
        (["name"] * 101, "at most 100 paths"),
    ],
)
def test_a_wrong_path_is_refused_by_name(paths: list[str], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        write(Type(), *paths)
    assert caught.value.reason_name == "INVALID_UPDATE_MASK"
    assert caught.value.violations[0].field == "update_mask"
    assert caught.value.metadata["path"] in [*paths, ""]


def test_below_a_message_that_is_one_value_the_answer_says_what_to_use() -> None:
    whole = MutableFields(Type, {"source_context"})
    with pytest.raises(InvalidArgument, match="is written as a whole: use source_context"):
        whole.to_write(Type(), FieldMask(paths=["source_context.file_name"]))


def test_a_long_wrong_path_does_not_make_a_long_error() -> None:
    with pytest.raises(InvalidArgument) as caught:
        write(Type(), "x" * 100_000)
    assert len(caught.value.message) < 300


def test_a_wrong_declaration_is_found_when_the_module_is_loaded() -> None:
    with pytest.raises(ValueError, match="has no field titel"):
        MutableFields(Type, {"titel"})


@given(st.lists(st.sampled_from(sorted(MUTABLE)), min_size=1))
def test_mutable_paths_in_any_order_and_number_are_their_set(paths: list[str]) -> None:
    assert write(Type(), *paths) == frozenset(paths)
