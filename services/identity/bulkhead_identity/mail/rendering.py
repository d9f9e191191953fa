"""Mails from templates: one template a kind, which makes both the plain text and the HTML, so that they say the same.

A template's first line is the subject, then come paragraphs. `-> Label: $link` is a button in HTML and the bare link in
text; a paragraph that begins with `? ` is left out when one of its values is not known. Values are escaped in HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Final

KINDS: Final = (
    "verify_email",
    "already_registered",
    "invitation",
    "reset_password",
    "password_changed",
    "new_device",
    "account_closed",
)
LONGEST_VALUE: Final = 120

_button = re.compile(r"-> (?P<label>[^:]+): \$link").fullmatch
_space = re.compile(r"\s+")
# They would turn the words around them, or hide some.
_unseen = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# What mail programs make links of: a dot or an @ within a word, and the beginning of an address.
_link_like = re.compile(r"(?<=\w)([.@])(?=\w)|(:)(?=//)")
_BUTTON_STYLE: Final = "display:inline-block;padding:8px 16px;border-radius:6px;background:#1c4f9c;color:#ffffff"


@dataclass(frozen=True, slots=True)
class Rendered:
    subject: str
    text: str
    html: str


def render(kind: str, values: Mapping[str, str]) -> Rendered:
    """Raises LookupError when the kind, or a value that it cannot do without, is missing."""
    subject, *paragraphs = _template(kind)
    said = [paragraph.removeprefix("? ") for paragraph in paragraphs if _is_said(paragraph, values)]
    title = Template(subject).substitute(values)
    text = "\n\n".join(_as_text(paragraph, values) for paragraph in said) + "\n"
    return Rendered(title, text, _page(title, (_as_html(paragraph, values) for paragraph in said)))


def tame(text: str, longest: int = LONGEST_VALUE) -> str:
    """A stranger's words: one line, not too long, nothing hidden, and nothing that a mail program makes a link of."""
    line = _space.sub(" ", _unseen.sub(" ", text)).strip()
    if len(line) > longest:
        line = line[: longest - 1] + "\u2026"
    return _link_like.sub(lambda found: f"{found[0]} ", line)


@cache
def _template(kind: str) -> tuple[str, ...]:
    if kind not in KINDS:
        raise LookupError(f"there is no mail of kind {kind}")
    text = _file(f"{kind}.txt")
    return tuple(part.strip() for part in text.split("\n\n") if part.strip())


@cache
def _file(name: str) -> str:
    return (files("bulkhead_identity.mail") / "templates" / name).read_text(encoding="utf-8")


def _is_said(paragraph: str, values: Mapping[str, str]) -> bool:
    return not paragraph.startswith("? ") or all(values.get(name) for name in Template(paragraph).get_identifiers())


def _as_text(paragraph: str, values: Mapping[str, str]) -> str:
    return Template("$link" if _button(paragraph) else paragraph).substitute(values)


def _as_html(paragraph: str, values: Mapping[str, str]) -> str:
    escaped = {name: html.escape(value) for name, value in values.items()}
    button = _button(paragraph)
    if button is None:
        return f"<p>{Template(html.escape(paragraph)).substitute(escaped)}</p>"
    label, link = html.escape(button["label"]), escaped["link"]
    return (
        f'<p><a href="{link}" style="{_BUTTON_STYLE}">{label}</a></p>\n'
        f'<p style="font-size:13px;word-break:break-all">{link}</p>'
    )


def _page(subject: str, paragraphs: Iterable[str]) -> str:
    page = Template(_file("layout.html"))
    return page.substitute(subject=html.escape(subject), paragraphs="\n".join(paragraphs))
