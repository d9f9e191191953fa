"""What the triggers capture, as the database keeps it: of each column what field of the contract it is."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from tests.support.postgres import ScratchDatabase


class Captured(NamedTuple):
    table: str
    kind: str
    columns: dict[str, str]
    """Their types, also of those that are not captured."""
    fields: dict[str, dict[str, Any]]
    """By column: field, and what makes its form."""

    @property
    def names(self) -> set[str]:
        return {one["field"] for one in self.fields.values()}


def captured(database: ScratchDatabase) -> list[Captured]:
    with psycopg.connect(database.admin_dsn) as connection:
        found = connection.execute(
            r"""
            select g.tgrelid::regclass::text, split_part(encode(g.tgargs, 'escape'), '\000', 1),
                (
                    select jsonb_object_agg(a.attname, format_type(a.atttypid, null)) from pg_attribute as a
                    where a.attrelid = g.tgrelid and a.attnum > 0 and not a.attisdropped
                ),
                coalesce(app.captured_fields(g.tgrelid), '{}')
            from pg_trigger as g where g.tgname = 'zz_capture' order by 1
            """
        ).fetchall()
    return [Captured(*row) for row in found]
