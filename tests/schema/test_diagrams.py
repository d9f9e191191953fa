"""The diagrams are well-formed and draw every table with every key."""

from __future__ import annotations

from collections import Counter

import pytest
from bulkhead_cli.schema import diagrams, words
from bulkhead_cli.schema.model import Catalogue

from tests.schema import mermaid
from tests.schema.conftest import ROOT


def drawn(page: str) -> mermaid.Diagram:
    (text,) = mermaid.in_page((ROOT / "docs/schema" / page).read_text(encoding="utf-8"))
    return mermaid.parse(text)


def keys(found: Catalogue, schema: str | None = None) -> Counter[tuple[str, str]]:
    return Counter(
        (key.target or "", table.full_name)
        for table in found.tables()
        for key in table.of_kind("f")
        if (table.schema == schema if schema else key.columns != diagrams.TENANT_KEY)
    )


@pytest.mark.parametrize("schema", ["identity", "issues", "audit"])
def test_the_diagram_of_a_schema_draws_its_tables_and_keys(schema: str, found: Catalogue) -> None:
    diagram = drawn(f"{schema}.md")
    own = [table for table in found.tables() if table.schema == schema]
    assert {table.full_name for table in own} <= set(diagram.columns)
    for table in own:
        in_keys = {name for key in table.constraints if key.kind in "puf" for name in key.columns}
        assert set(diagram.columns[table.full_name]) == in_keys
    assert Counter(diagram.lines) == keys(found, schema)
    assert set(diagram.dotted) == {(t.target, t.table) for t in words.TIES if t.table.startswith(f"{schema}.")}


def test_the_diagram_of_all_draws_every_table(found: Catalogue) -> None:
    diagram = drawn("README.md")
    assert set(diagram.columns) == {table.full_name for table in found.tables()}
    assert Counter(diagram.lines) == keys(found)


GOOD = 'erDiagram\n    a_b["a.b"] {\n        uuid tenant_id PK, FK\n    }\n    c["c"]\n    a_b ||--o{ c : "b_id"\n'


def test_the_parser_takes_what_is_right() -> None:
    diagram = mermaid.parse(GOOD)
    assert diagram.columns == {"a.b": ["tenant_id"], "c": []}
    assert diagram.lines == [("a.b", "c")]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("erDiagram", "flowchart"),
        ("uuid tenant_id PK", "timestamp with time zone tenant_id PK"),
        ("    }\n", ""),
        ("||--o{", "||-o{"),
        (' : "b_id"', ""),
        ('c["c"]\n', ""),
        ('a_b["a.b"]', "a.b"),
    ],
)
def test_the_parser_refuses_what_is_wrong(right: str, wrong: str) -> None:
    assert right in GOOD
    with pytest.raises(mermaid.MermaidError):
        mermaid.parse(GOOD.replace(right, wrong))
