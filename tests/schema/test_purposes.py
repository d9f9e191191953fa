"""Everything in the database says what it is for, and nothing is told of that is not there."""

from __future__ import annotations

from bulkhead_cli.schema import words
from bulkhead_cli.schema.model import SCHEMAS, Catalogue

from tests.schema.conftest import Altered


def silent(found: Catalogue) -> list[str]:
    """What has no purpose."""
    names = [table.full_name for table in found.tables() if not table.comment]
    names += [function.signature for function in found.functions() if not function.comment]
    names += [
        f"{table.full_name}.{column.name}"
        for table in found.tables()
        for column in table.columns
        if not words.purpose(table, column)
    ]
    return names


def test_every_table_column_and_function_says_what_it_is_for(found: Catalogue) -> None:
    assert not silent(found), "give these a COMMENT ON in their migration: " + ", ".join(silent(found))


def test_what_says_nothing_is_found(found: Catalogue, altered: Altered) -> None:
    made = altered("""
        create table issues.planted (planted text);
        create function issues.planted_too(p_one integer) returns integer language sql return p_one;
    """)
    planted = set(silent(made)) - set(silent(found))
    assert planted == {"issues.planted", "issues.planted.planted", "issues.planted_too(integer)"}


def test_every_role_and_schema_is_told_of_and_no_other(found: Catalogue) -> None:
    assert {role.name for role in found.roles} == set(words.ROLES)
    assert {schema.name for schema in found.schemas} == set(words.SCHEMAS) == set(SCHEMAS)


def test_common_meanings_are_of_columns_that_are_there(found: Catalogue) -> None:
    told = {column.name for table in found.tables() for column in table.columns if not column.comment}
    assert not set(words.COMMON) - told


def test_ties_are_between_columns_that_are_there(found: Catalogue) -> None:
    columns = {table.full_name: {column.name for column in table.columns} for table in found.tables()}
    for tie in words.TIES:
        assert set(tie.columns) <= columns[tie.table]
        assert set(tie.target_columns) <= columns[tie.target]


def test_purposes_are_sentences_without_a_line_break(found: Catalogue) -> None:
    texts = [table.comment or "" for table in found.tables()]
    texts += [words.purpose(table, column) or "" for table in found.tables() for column in table.columns]
    assert not [text for text in texts if "\n" in text or text != text.strip()]
