"""The way out to a terminal: what comes from elsewhere commands no terminal, and no letter ends the program.

Names and texts of archives, of services and of the operator's own files may hold anything. Here they become plain
letters, before any markup is read.
"""

from __future__ import annotations

import io
import re
import sys
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.markup import escape
from rich.segment import Segment

# What a terminal obeys (Cc), what turns the direction of reading, what breaks a line unseen, and halves of letters.
_unseen = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: str) -> str:
    """The same text with control characters spelled out, such as \\x1b; line feeds and tabs stay."""
    return _unseen.sub(lambda found: ascii(found.group())[1:-1], text)


def plain(text: object) -> str:
    """A text from elsewhere, as it may stand in markup."""
    return escape(visible(str(text)))


def console(**options: Any) -> Console:
    """The only way to a Console. What was forgotten to be made visible is made so here, at the cost of its width."""
    made = Console(highlight=False, emoji=False, **options)
    made.push_render_hook(_Visible())
    return made


def never_fail() -> None:
    """From now on a letter that the terminal's character set lacks is spelled out, such as \\u2603."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Visible(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(one) for one in renderables]


class _Shown:
    def __init__(self, content: ConsoleRenderable) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)
