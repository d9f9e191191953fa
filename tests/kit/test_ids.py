from __future__ import annotations

from uuid import UUID

import pytest
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.ids import new_id, parse_id, parse_optional_id
from hypothesis import given
from hypothesis import strategies as st


def test_new_ids_are_version_7_and_sort_by_time() -> None:
    made = [new_id() for _ in range(1000)]
    assert {type(one) for one in made} == {UUID}
    assert {one.version for one in made} == {7}
    assert len(set(made)) == 1000
    assert made == sorted(made)


@given(st.uuids())
def test_every_uuid_is_read_back_in_either_case(value: UUID) -> None:
    assert parse_id(str(value), "id") == value
    assert parse_id(str(value).upper(), "id") == value


GOOD = "0190163d-8694-739b-aea5-966c26f8ad91"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        GOOD.replace("-", ""),
        "{" + GOOD + "}",
        "urn:uuid:" + GOOD,
        GOOD + "\n",
        " " + GOOD,
        GOOD[:-1],
        GOOD + "0",
        GOOD[:-1] + "g",
        GOOD[:-1] + "１",  # a full-width digit: int() would take it
        "0190163d8694-739b-aea5-966c26f8ad9-1",
        "x' or '1'='1",
        "\x00" * 36,
    ],
)
def test_other_spellings_are_refused_and_the_field_is_named(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_id(text, "issue.assignee_id")
    assert caught.value.violations[0].field == "issue.assignee_id"
    assert caught.value.reason_name == "INVALID_FIELD"


def test_an_optional_id_may_be_absent_but_not_wrong() -> None:
    assert parse_optional_id("", "parent_id") is None
    assert parse_optional_id(GOOD, "parent_id") == UUID(GOOD)
    with pytest.raises(InvalidArgument):
        parse_optional_id("none", "parent_id")
