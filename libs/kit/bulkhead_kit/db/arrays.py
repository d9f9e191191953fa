"""Many rows in one statement: an array a column goes out, rows come of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ARRAY, bindparam, column, func
from sqlalchemy.types import TypeEngine


def unnested(columns: Mapping[str, TypeEngine[Any]]) -> Any:
    """unnest() of one array a column, as a table; the arrays are bound by the columns' names."""
    arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in columns.items()]
    names = [column(name, kind) for name, kind in columns.items()]
    return func.unnest(*arrays).table_valued(*names, name="rows").render_derived()
