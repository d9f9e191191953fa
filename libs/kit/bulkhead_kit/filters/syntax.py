"""The grammar of AIP-160: OR binds tighter than AND, terms side by side are joined by AND.

    expression  = sequence of factors, joined by AND or by nothing
    factor      = term { OR term }
    term        = [ NOT | - ] ( restriction | "(" expression ")" )
    restriction = field operator ( value | "(" value { OR value } ")" | "(" value { AND value } ")" )

Functions and bare words that search everything are not offered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bulkhead_kit.filters.errors import refusal, shown
from bulkhead_kit.filters.lexer import KEYWORDS, Lexer, Token, Value

Operator = Literal["=", "!=", "<", "<=", ">", ">=", ":"]
MAX_DEPTH = 20
MAX_TERMS = 50


@dataclass(frozen=True, slots=True)
class Restriction:
    field: str
    operator: Operator
    value: Value
    position: int


@dataclass(frozen=True, slots=True)
class Junction:
    all: bool
    """True for AND, False for OR."""
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    term: Node


Node = Restriction | Junction | Negation


def parse(text: str) -> Node | None:
    """None for a filter that is empty or blank: it lets everything through."""
    parser = _Parser(Lexer(text))
    if parser.lexer.peek().kind == "end":
        return None
    node = parser.expression(0)
    left = parser.lexer.peek()
    if left.kind != "end":
        raise refusal(left.position, f"{shown(left.text)} has nothing to close")
    return node


class _Parser:
    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self._terms = 0

    def expression(self, depth: int) -> Node:
        factors = [self._factor(depth)]
        while True:
            token = self.lexer.peek()
            if _is(token, "AND"):
                self.lexer.take()
            elif token.kind in ("end", ")"):
                return _joined(True, factors)
            factors.append(self._factor(depth))

    def _factor(self, depth: int) -> Node:
        terms = [self._term(depth)]
        while _is(self.lexer.peek(), "OR"):
            self.lexer.take()
            terms.append(self._term(depth))
        return _joined(False, terms)

    def _term(self, depth: int) -> Node:
        token = self.lexer.peek()
        if token.kind == "-" or _is(token, "NOT"):
            self.lexer.take()
            return Negation(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> Node:
        token = self.lexer.take()
        if token.kind == "(":
            if depth == MAX_DEPTH:
                raise refusal(token.position, f"is nested more than {MAX_DEPTH} deep")
            node = self.expression(depth + 1)
            if self.lexer.take().kind != ")":
                raise refusal(token.position, "a parenthesis is not closed")
            return node
        if token.kind != "name":
            what = "the end" if token.kind == "end" else shown(token.text)
            raise refusal(token.position, f"a field is expected, not {what}")
        return self._restriction(token)

    def _restriction(self, field: Token) -> Node:
        operator = self.lexer.take()
        if operator.kind != "operator":
            hint = "; AND, OR and NOT are written in capitals" if field.text.upper() in KEYWORDS else ""
            raise refusal(operator.position, f"one of = != < <= > >= : is expected behind {shown(field.text)}{hint}")
        opening = self.lexer.take_opening()
        if opening is None:
            return self._one(field, operator)
        return self._list(field, operator, opening)

    def _list(self, field: Token, operator: Token, opening: int) -> Node:
        terms = [self._one(field, operator)]
        joins: set[bool] = set()
        while True:
            token = self.lexer.take_separator()
            if token is not None and token.kind == "end":
                raise refusal(opening, "a parenthesis is not closed")
            if token is not None and token.kind == ")":
                return _joined(joins != {False}, terms)
            joins.add(token is None or token.text == "AND")
            if len(joins) == 2:
                raise refusal(opening, "AND and OR are mixed in a list of values")
            terms.append(self._one(field, operator))

    def _one(self, field: Token, operator: Token) -> Node:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise refusal(field.position, f"has more than {MAX_TERMS} terms")
        return Restriction(field.text, _OPERATORS[operator.text], self.lexer.value(), field.position)


_OPERATORS: dict[str, Operator] = {"=": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", ":": ":"}


def _is(token: Token, keyword: str) -> bool:
    return token.kind == "keyword" and token.text == keyword


def _joined(by_and: bool, terms: list[Node]) -> Node:
    return terms[0] if len(terms) == 1 else Junction(by_and, tuple(terms))
