"""Links of the documents lead to files and headings that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "protos/README.md"]
_code = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_link = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(text: str) -> set[str]:
    """As forges make them from headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead(page: Path, text: str) -> list[str]:
    found = []
    for path, heading in _link.findall(_code.sub("", text)):
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            found.append(path)
        elif heading and heading not in anchors(target.read_text(encoding="utf-8") if path else text):
            found.append(f"{path}#{heading}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert dead(page, page.read_text(encoding="utf-8")) == []


def test_a_dead_link_is_found() -> None:
    text = "# A page\n[a](README.md) [b](gone.md) [c](#a-page) [d](#gone) [e](README.md#gone) [f](https://g.example)"
    assert dead(ROOT / "SECURITY.md", text + " `[h](gone.md)`") == ["gone.md", "#gone", "README.md#gone"]
