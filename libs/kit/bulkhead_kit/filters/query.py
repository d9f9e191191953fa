"""From a filter's text to a condition on a query, with every value as a bind parameter.

Filters of one shape give the same SQL text, so that it is compiled once:

    asked = FILTERS.parse(request.filter, words={"me": caller.user()})
    query = cache.get(("list", asked.shape), lambda: Query(select(...).where(*asked.conditions())))
    rows = await tx.fetch(query.bind(**asked.values))

A term is true or false, never NULL: `assignee != x` and `NOT assignee = x` both include the issues of nobody.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

from sqlalchemy import ARRAY, all_, and_, any_, bindparam, false, not_, or_, true
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from bulkhead_kit.filters.errors import refusal, shown
from bulkhead_kit.filters.fields import FilterField, Test
from bulkhead_kit.filters.lexer import Value
from bulkhead_kit.filters.syntax import Junction, Negation, Node, Restriction, parse

_KEPT = 512


@dataclass(frozen=True, slots=True)
class _Word:
    """A value that is known only when a call asks."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class _Leaf:
    field: str
    test: Test
    negated: bool
    values: tuple[object, ...] = ()
    case: str = ""

    @property
    def shape(self) -> Hashable:
        return (self.field, self.test, self.negated, self.case)


@dataclass(frozen=True, slots=True)
class _Group:
    all: bool
    terms: tuple[_Tree, ...]

    @property
    def shape(self) -> Hashable:
        return ("and" if self.all else "or", *(term.shape for term in self.terms))


_Tree = _Leaf | _Group


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that has been read and checked. `values` go with the statement, whose text is the shape's alone."""

    shape: Hashable
    values: dict[str, object]
    _tree: _Tree | None
    _fields: Mapping[str, FilterField]

    def conditions(self) -> list[ColumnElement[bool]]:
        """For `where(*conditions)`; empty when everything is let through. Needed once a shape."""
        return [] if self._tree is None else [_condition(self._tree, self._fields, count())]


class FilterSchema:
    """The fields of one list; everything else is refused by name."""

    def __init__(self, fields: Mapping[str, FilterField]) -> None:
        self._fields = dict(fields)
        # The pages of a list and the tabs of a client repeat a few filters over and over.
        self._read = lru_cache(maxsize=_KEPT)(self._read_anew)

    def parse(self, text: str, words: Mapping[str, object] | None = None) -> Filter:
        """Raises InvalidArgument with the place of the fault. `words`: what "me" and the like mean in this call."""
        if not text:
            return Filter((), {}, None, self._fields)
        tree, shape, values = self._read(text)
        return Filter(shape, {name: _resolved(value, words or {}) for name, value in values}, tree, self._fields)

    def _read_anew(self, text: str) -> tuple[_Tree | None, Hashable, tuple[tuple[str, object], ...]]:
        node = parse(text)
        if node is None:
            return None, (), ()
        tree = self._checked(node, negated=False)
        return tree, tree.shape, tuple((f"f{number}", value) for number, value in enumerate(_values(tree)))

    def _checked(self, node: Node, *, negated: bool) -> _Tree:
        """Moves every NOT down to the terms, where it is known what it means for a NULL."""
        if isinstance(node, Negation):
            return self._checked(node.term, negated=not negated)
        if isinstance(node, Junction):
            return self._group(node.all != negated, [self._checked(term, negated=negated) for term in node.terms])
        return self._leaf(node, negated)

    def _leaf(self, asked: Restriction, negated: bool) -> _Leaf:
        field = self._fields.get(asked.field)
        if field is None:
            known = ", ".join(sorted(self._fields))
            raise refusal(asked.position, f"{shown(asked.field)} is not a field to filter by; there are {known}")
        if asked.operator == ":" and asked.value.is_star:
            return _Leaf(asked.field, "present", negated)
        if asked.operator not in field.kind.operators:
            offered = " ".join(sorted(field.kind.operators))
            raise refusal(asked.position, f"{asked.field} cannot be asked with {asked.operator}, only with {offered}")
        negated ^= asked.operator == "!="
        test, value = _test(asked.operator, asked.value, field)
        if test == "true":
            # Part of the shape, not a bind: a partial index is chosen by the statement's text.
            if field.column is not None and field.nullable:
                return _Leaf(asked.field, "true" if value else "false", negated)
            return _Leaf(asked.field, "true", negated is value)
        if field.cases is not None:
            return _Leaf(asked.field, test, negated, case=str(value))
        return _Leaf(asked.field, test, negated, (value,))

    def _group(self, by_and: bool, terms: list[_Tree]) -> _Tree:
        """Flat, in an order that depends on the terms alone, with `a = 1 OR a = 2` as one term: few shapes."""
        others: list[_Tree] = []
        alike: dict[str, list[object]] = {}
        for term in (inner for outer in terms for inner in _flat(outer, by_and)):
            equality = isinstance(term, _Leaf) and term.test in ("=", "in") and term.negated == by_and
            if isinstance(term, _Leaf) and equality and self._fields[term.field].column is not None:
                alike.setdefault(term.field, []).extend(term.values)
            else:
                others.append(term)
        for field, values in alike.items():
            distinct = tuple(dict.fromkeys(values))
            others.append(_Leaf(field, "in" if len(distinct) > 1 else "=", by_and, distinct))
        ordered = sorted(others, key=lambda term: repr(term.shape))
        return ordered[0] if len(ordered) == 1 else _Group(by_and, tuple(ordered))


_ORDERINGS: dict[str, Test] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _test(asked: str, value: Value, field: FilterField) -> tuple[Test, object]:
    kind = field.kind
    if asked == ":" and kind.name == "text":
        if value.star_before or not value.star_after or not value.text:
            raise refusal(value.position, 'behind ":" a text is looked for by its beginning: write "abc*"')
        return "prefix", value.text
    if value.star_before or value.star_after:
        hint = ', and :"abc*" looks for a beginning' if kind.name == "text" else ""
        raise refusal(value.position, rf"a star is written \* in a quoted value{hint}")
    if value.text in field.words and not value.quoted:
        return _ORDERINGS.get(asked, "="), _Word(value.text, value.position)
    return "true" if kind.name == "boolean" else _ORDERINGS.get(asked, "="), kind.parse(value)


def _flat(term: _Tree, by_and: bool) -> tuple[_Tree, ...]:
    return term.terms if isinstance(term, _Group) and term.all == by_and else (term,)


def _values(tree: _Tree) -> Iterator[object]:
    """In the order in which `_condition` numbers the binds."""
    if isinstance(tree, _Group):
        for term in tree.terms:
            yield from _values(term)
    elif tree.values:
        yield tree.values if tree.test == "in" else tree.values[0]


def _resolved(value: object, words: Mapping[str, object]) -> object:
    if isinstance(value, tuple):
        return [_resolved(one, words) for one in value]
    if not isinstance(value, _Word):
        return value
    if value.name not in words:
        raise refusal(value.position, f"{shown(value.name)} stands for nothing here")
    return words[value.name]


def _condition(tree: _Tree, fields: Mapping[str, FilterField], numbers: Iterator[int]) -> ColumnElement[bool]:
    if isinstance(tree, _Group):
        terms = [_condition(term, fields, numbers) for term in tree.terms]
        return and_(*terms) if tree.all else or_(*terms)
    field = fields[tree.field]
    if field.cases is not None:
        found = true() if tree.test == "present" else field.cases[tree.case]
        return not_(found) if tree.negated else found
    bind: BindParameter[Any] | None = None
    if tree.values:
        sql_type = ARRAY(field.kind.sql_type) if tree.test == "in" else field.kind.sql_type
        bind = bindparam(f"f{next(numbers)}", type_=sql_type)
    if field.build is not None:
        built = field.build(tree.test, bind)
        return not_(built) if tree.negated else built
    assert field.column is not None
    return _asked(field.column, tree, bind, nullable=field.nullable)


def _asked(
    column: ColumnElement[Any], leaf: _Leaf, bind: BindParameter[Any] | None, *, nullable: bool
) -> ColumnElement[bool]:
    if leaf.test == "present":
        return column.is_(None) if leaf.negated else column.is_not(None)
    if leaf.test in ("true", "false"):
        if not nullable:
            return not_(column) if leaf.negated else column
        wanted = true() if leaf.test == "true" else false()
        return column.is_not(wanted) if leaf.negated else column.is_(wanted)
    if leaf.test == "=" and leaf.negated and nullable:
        return column.is_distinct_from(bind)
    positive, negative = _COMPARISONS[leaf.test]
    if not leaf.negated:
        return positive(column, bind)
    return or_(column.is_(None), negative(column, bind)) if nullable else negative(column, bind)


Comparison = Callable[[ColumnElement[Any], Any], ColumnElement[bool]]
# Each with what is true of every other value.
_COMPARISONS: dict[Test, tuple[Comparison, Comparison]] = {
    "=": (operator.eq, operator.ne),
    "<": (operator.lt, operator.ge),
    "<=": (operator.le, operator.gt),
    ">": (operator.gt, operator.le),
    ">=": (operator.ge, operator.lt),
    "in": (lambda column, bind: column == any_(bind), lambda column, bind: column != all_(bind)),
    "prefix": (lambda column, bind: column.bool_op("^@")(bind), lambda column, bind: not_(column.bool_op("^@")(bind))),
}
