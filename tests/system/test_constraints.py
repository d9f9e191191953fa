"""Rule and constraint agree: what a constraint would refuse is refused before, by the field's name, never INTERNAL."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from bulkhead_kit.ids import new_id
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from psycopg import sql

from tests.isolation.samples import Request
from tests.isolation.world import Company
from tests.support.client import find_method
from tests.support.postgres import ScratchDatabase
from tests.system.calls import Answer, Twin
from tests.system.constraints import VERDICTS, By, Never, Together, Twice, Verdict
from tests.system.fields import Place, places

FOUND = """
    select c.connamespace::regnamespace || '.' || c.conname, t.oid, c.contype::text, c.conkey,
        pg_get_expr(c.conbin, t.oid)
    from pg_constraint as c inner join pg_class as t on t.oid = c.conrelid
    where c.connamespace::regnamespace::text in ('identity', 'issues', 'audit') and c.contype <> 'n'
        and not t.relispartition and t.relname <> 'alembic_version'
    union all
    select i.relnamespace::regnamespace || '.' || i.relname, x.indrelid, 'u', x.indkey::int2[], null
    from pg_index as x inner join pg_class as i on i.oid = x.indexrelid inner join pg_class as t on t.oid = x.indrelid
    where i.relnamespace::regnamespace::text in ('identity', 'issues', 'audit') and x.indisunique
        and not t.relispartition and not exists (select from pg_constraint as c where c.conindid = x.indexrelid)
    order by 1
"""
ODD_TEXTS = (
    *(
        "",
        "x",
        "xx",
        "-",
        "+",
        "()",
        "(12",
        "1",
        "A",
        "a-",
        "-a",
        "a--b",
        "A1",
        "1A",
        "a_b",
        "ß",
        "İ",
        "ſ",
        "K",
        "٣",
        "𝔘𝔫",
    ),
    *(
        "es-u-ms-metric",
        "de-DE-u-co-phonebk",
        "en-x-private",
        "x-private",
        "de-",
        "i-klingon",
        "zh-cmn-Hans-CN",
        "abcd",
    ),
    *("#FFF", "#ffffff", "#FFFFFF", "red", "0", "-1", "1e3", "NaN", "Infinity", "99999999999999.99", "0.001", "1,5"),
    *("x.y", ".xy", "a@b", "@b", "a@b.c", "Etc/UTC", "Mars/Base", "+491", "+49 (0) 1-2/3", "9" * 40, "Ä" * 3),
)
NOTHING = (" ", "\u2003", "\u200b", "\u3164\u2800", "\ufe0f")
ODD_NUMBERS = (-(2**31), -1, 0, 1, 2, 4, 5, 6, 7, 2**31 - 1)
LONGEST = 100_001


@dataclass(frozen=True)
class Constraint:
    name: str
    table: int
    kind: str
    columns: tuple[int, ...]
    check: str | None


@pytest.fixture(scope="module")
def found(database: ScratchDatabase) -> dict[str, Constraint]:
    with psycopg.connect(database.admin_dsn) as connection:
        rows = connection.execute(FOUND).fetchall()
    return {
        name: Constraint(name, table, kind, tuple(columns or ()), check) for name, table, kind, columns, check in rows
    }


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    schema, rest = pattern.split(".", 1)
    return [name for name in names if re.fullmatch(rf"{schema}\.(?:{rest})", name)]


def test_every_constraint_has_a_verdict(found: dict[str, Constraint]) -> None:
    by_name: dict[str, list[str]] = {name: [] for name in found}
    for pattern in VERDICTS:
        names = matching(pattern, found)
        assert names, f"{pattern}: there is no such constraint any more"
        for name in names:
            by_name[name].append(pattern)
    assert not {name: patterns for name, patterns in by_name.items() if len(patterns) != 1}, (
        "tests/system/constraints.py says of each constraint which request would violate it, or why none can"
    )


def of_kind(kind: type[Verdict]) -> list[Any]:
    return [
        pytest.param(pattern, verdict, id=f"{pattern}-{getattr(verdict, 'method', '')}-{getattr(verdict, 'place', '')}")
        for pattern, verdicts in VERDICTS.items()
        for verdict in verdicts
        if isinstance(verdict, kind)
    ]


@pytest.mark.parametrize(("pattern", "by"), of_kind(By))
async def test_by_one_field(
    pattern: str, by: By, found: dict[str, Constraint], ours: Company, admin: psycopg.Connection
) -> None:
    method = named(by.method)
    place = the_place(method, by.place)
    constraints = [found[name] for name in matching(pattern, found)]
    twin = await Twin.make(method, ours)
    values = candidates(place, constraints)
    refused = 0
    violating = {number for constraint in constraints for number in violations(admin, constraint, by, place, values)}
    for number, value in enumerate(values):
        answer = await twin.ask(fresh(place.put(twin.request, value)))
        told = f"{place} = {shown(value)} gave {answer}"
        assert answer.code not in ("INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"), told
        # What went through is stored, so the constraint holds: it was brought into form, or stood for no value at all.
        if number in violating and answer.code != "OK":
            assert answer.code in refusals(constraints), told
            assert answer.code == "NOT_FOUND" or str(place).removesuffix("[0]") in names(answer), told
            refused += 1
    assert refused, f"none of the values tried in {place} violates {pattern}"


@pytest.mark.parametrize(("pattern", "together"), of_kind(Together))
async def test_by_fields_together(pattern: str, together: Together, ours: Company) -> None:
    method = named(together.method)
    twin = await Twin.make(method, ours)
    request: Any = fresh(twin.request)
    ParseDict(nested(together.values), request)
    answer = await twin.ask(request)
    assert (answer.code, answer.reason) == (together.code, together.reason), f"{pattern}: {answer}"
    assert together.field in answer.fields, f"{pattern}: {answer}"


@pytest.mark.parametrize(("pattern", "twice"), of_kind(Twice))
async def test_a_value_taken(pattern: str, twice: Twice, ours: Company) -> None:
    method = named(twice.method)
    place = the_place(method, twice.place)
    first, second = await Twin.make(named(twice.first or twice.method), ours), await Twin.make(method, ours)
    value = read(first.request, place) or f"taken {new_id()}"
    assert (await first.ask(place.put(first.request, value))).code == "OK"
    answer = await second.ask(fresh(place.put(second.request, value)))
    assert answer.code == "ALREADY_EXISTS", f"{pattern}: {answer}"


def test_reasons_are_given() -> None:
    for verdicts in VERDICTS.values():
        assert verdicts
        assert all(verdict.why for verdict in verdicts if isinstance(verdict, Never))


def names(answer: Answer) -> set[str]:
    return {field.removesuffix("[0]") for field in answer.fields}


def named(name: str) -> MethodDescriptor:
    for service in ("identity", "issues", "audit"):
        try:
            return find_method(service, name)
        except AttributeError:
            continue
    raise LookupError(name)


def the_place(method: MethodDescriptor, path: str) -> Place:
    (place,) = [place for place in places(method) if str(place) == path]
    return place


def candidates(place: Place, constraints: Sequence[Constraint]) -> list[Any]:
    """Values about the edges that the constraints' own texts name."""
    edges = {int(number) for one in constraints for number in re.findall(r"\b\d+\b", one.check or "")}
    if place.is_id:
        return [str(new_id())]
    if place.holds("google.protobuf.Struct"):
        if any("jsonb_path_exists" in (one.check or "") for one in constraints):
            return [_deep(edge + more) for edge in edges for more in (-1, 0)]
        sizes = sorted({edge for edge in edges if edge < LONGEST} | {1})
        return [_struct(size) for edge in sizes for size in (edge - 20, edge, edge + 20) if size > 0]
    if place.field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_ENUM):
        near = {edge + step for edge in edges for step in (-1, 0, 1)}
        return sorted({number for number in {*near, *ODD_NUMBERS} if -(2**31) <= number < 2**31})
    lengths = sorted({edge + step for edge in edges for step in (0, 1) if 0 < edge + step <= LONGEST})
    of_a_form = any("~" in (one.check or "") for one in constraints)
    return [
        *(ODD_TEXTS if of_a_form else ODD_TEXTS[:3]),
        *NOTHING,
        *(sign * length for length in lengths for sign in "x🛟"),
    ]


def violations(
    admin: psycopg.Connection, constraint: Constraint, by: By, place: Place, values: Sequence[Any]
) -> set[int]:
    """Which of the values the database itself would refuse in that column."""
    if constraint.kind == "f":
        return set(range(len(values)))
    assert constraint.check is not None, f"{constraint.name} is no CHECK and no foreign key"
    columns = admin.execute(
        "select attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid) from pg_attribute"
        " left join pg_attrdef on adrelid = attrelid and adnum = attnum and attgenerated = 's'"
        " where attrelid = %s and attnum = any(%s) order by array_position(%s::int2[], attnum)",
        (constraint.table, list(constraint.columns), list(constraint.columns)),
    ).fetchall()
    own = column_of(constraint, place, [name for name, *_ in columns])
    row = sql.SQL(", ").join(
        sql.SQL("{}::{} as {}").format(
            made_of(expression, place) if name == own else sql.Literal(by.beside.get(name)),
            sql.SQL(kind),
            sql.Identifier(name),
        )
        for name, kind, expression in columns
    )
    question = sql.SQL("select ({}) is false from (select {}) as row").format(sql.SQL(constraint.check), row)
    return {number for number, value in enumerate(values) if _refuses(admin, question, value)}


def made_of(expression: str | None, place: Place) -> sql.Composable:
    """A column holds the value, or what the database makes of it."""
    value = sql.Placeholder("value")
    if expression is None:
        return value
    return sql.SQL("(select {} from (select {}::text as {}) as given)").format(
        sql.SQL(expression), value, sql.Identifier(place.field.name)
    )


def column_of(constraint: Constraint, place: Place, columns: Sequence[str]) -> str:
    said = [name for name in columns if name == place.field.name or name.endswith("_" + place.field.name)]
    return said[0] if said else columns[0]


def _refuses(admin: psycopg.Connection, question: sql.Composed, value: Any) -> bool:
    given = psycopg.types.json.Jsonb(MessageToDict(value)) if isinstance(value, Struct) else value
    try:
        row = admin.execute(question, {"value": given}).fetchone()
    except psycopg.DataError:
        # The column's type cannot hold it at all.
        return True
    assert row is not None
    return bool(row[0])


def refusals(constraints: Sequence[Constraint]) -> set[str]:
    return {"INVALID_ARGUMENT", *(["NOT_FOUND"] if any(one.kind == "f" for one in constraints) else [])}


def fresh(request: Request) -> Request:
    """With a request_id of its own: another body is another request."""
    made = copy.deepcopy(request)
    for message in made if isinstance(made, list) else [made]:
        if "request_id" in message.DESCRIPTOR.fields_by_name:
            message.request_id = str(new_id())  # type: ignore[attr-defined]  # known by the descriptor only
    return made


def read(request: Request, place: Place) -> Any:
    value: Any = request
    for field in place.path:
        value = getattr(value, field.name)
    return value


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:40]}... ({len(text)} characters)"


def _struct(size: int) -> Struct:
    made = Struct()
    made["a"] = "x" * size
    return made


def _deep(levels: int) -> Struct:
    """Of lists: as many objects in one another are more than protobuf reads."""
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    made = Struct()
    made["a"] = value
    return made


def nested(values: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path, value in values.items():
        inner = made
        *above, last = path.split(".")
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return made
