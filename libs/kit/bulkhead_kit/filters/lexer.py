"""Words, operators and strings of a filter, each with its place. What a character means depends on where it stands:
`create_time>2026-01-01T10:00:00Z` has one operator, though it holds colons and hyphens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from bulkhead_kit.filters.errors import refusal, shown

MAX_LENGTH = 2000

_control = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]").search
_blank = re.compile(r"\s*").match
_operator = re.compile(r"<=|>=|!=|<|>|=|:").match
_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII).match
_bare_value = re.compile(r"[^\s()\"'<>=!,\\]+").match
_separator = re.compile(r"\)|(?:AND|OR)(?![^\s()\"'<>=!,\\])").match
_stretch = {'"': re.compile(r'[^"\\]*').match, "'": re.compile(r"[^'\\]*").match}
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "*": "*", "n": "\n", "t": "\t"}

KEYWORDS = frozenset(("AND", "OR", "NOT"))


@dataclass(frozen=True, slots=True)
class Token:
    kind: Literal["name", "keyword", "operator", "(", ")", "-", "end"]
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Value:
    """What stands behind an operator. A star that is not escaped is kept apart from the text."""

    text: str
    quoted: bool
    position: int
    star_before: bool = False
    star_after: bool = False

    @property
    def is_star(self) -> bool:
        return self.text == "" and not self.quoted and self.star_after


class Lexer:
    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise refusal(MAX_LENGTH, f"is longer than {MAX_LENGTH} characters")
        found = _control(text)
        if found is not None:
            raise refusal(found.start(), "a control character has no place in a filter")
        self._text = text
        self._at = 0
        self._next: Token | None = None

    def peek(self) -> Token:
        if self._next is None:
            self._next = self._read()
        return self._next

    def take(self) -> Token:
        token = self.peek()
        self._next = None
        self._at = token.position + len(token.text)
        return token

    def _skip_blanks(self) -> int:
        found = _blank(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._at

    def _read(self) -> Token:
        at = self._skip_blanks()
        if at == len(self._text):
            return Token("end", "", at)
        character = self._text[at]
        if character == "(":
            return Token("(", character, at)
        if character == ")":
            return Token(")", character, at)
        if character == "-":
            return Token("-", character, at)
        operator = _operator(self._text, at)
        if operator is not None:
            return Token("operator", operator[0], at)
        name = _name(self._text, at)
        if name is None:
            raise refusal(at, f"a field is expected, not {shown(self._text[at : at + 1])}")
        return Token("keyword" if name[0] in KEYWORDS else "name", name[0], at)

    def value(self) -> Value:
        """The next thing, read as a value. Nothing may have been peeked at."""
        assert self._next is None
        at = self._skip_blanks()
        if self._text[at : at + 1] in ('"', "'"):
            return self._quoted(at)
        found = _bare_value(self._text, at)
        if found is None:
            raise refusal(at, "a value is expected")
        if found[0] in KEYWORDS:
            raise refusal(at, f"a value is expected; {found[0]} as a value needs quotes")
        self._at = found.end()
        text = found[0]
        after = text.endswith("*")
        text = text[:-1] if after else text
        return Value(text.removeprefix("*"), False, at, text.startswith("*"), after)

    def take_opening(self) -> int | None:
        """The place of the parenthesis when a list of values follows, else None."""
        assert self._next is None
        at = self._skip_blanks()
        if self._text[at : at + 1] != "(":
            return None
        self._at = at + 1
        return at

    def take_separator(self) -> Token | None:
        """What stands behind a value of a list: AND, OR, `)`, the end, or nothing."""
        assert self._next is None
        at = self._skip_blanks()
        found = _separator(self._text, at)
        if found is None:
            return Token("end", "", at) if at == len(self._text) else None
        self._at = found.end()
        return Token(")" if found[0] == ")" else "keyword", found[0], at)

    def _quoted(self, start: int) -> Value:
        quote = self._text[start]
        parts: list[str] = []
        at = start + 1
        while True:
            found = _stretch[quote](self._text, at)
            assert found is not None
            parts.append(found[0])
            at = found.end()
            if at == len(self._text):
                raise refusal(start, "a string is not closed")
            if self._text[at] == quote:
                break
            escaped = _ESCAPES.get(self._text[at + 1 : at + 2])
            if escaped is None:
                raise refusal(at, f"unknown escape {shown(self._text[at : at + 2])}")
            # An empty part in front tells an escaped star from a plain one at the ends.
            parts += ("", escaped, "")
            at += 2
        self._at = at + 1
        return _with_stars(parts, start)


def _with_stars(parts: list[str], position: int) -> Value:
    after = parts[-1].endswith("*")
    if after:
        parts[-1] = parts[-1][:-1]
    before = parts[0].startswith("*")
    if before:
        parts[0] = parts[0][1:]
    return Value("".join(parts), True, position, before, after)
