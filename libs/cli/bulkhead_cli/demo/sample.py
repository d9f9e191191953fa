"""The archive that the demo imports when no file is given: small, made up, in the format of the real ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bulkhead_cli.importing import github

AUTHORS = ("mira", "jonas", "sefa", "li-wei", "ana")
LABELS = (("bug", "d73a4a"), ("docs", "0075ca"), ("good first issue", "7057ff"), ("performance", "a2eeef"))
TITLES = (
    "Crash when the hull sensor is unplugged",
    "Say which valve is open in the report",
    "Pump schedule ignores daylight saving",
    "Anzeige überlappt bei langen Namen 🛟",
    "Alarm sounds twice",
    "Export of readings is slow beyond a year",
    "Let the mate acknowledge an alarm",
    "Document the calibration steps",
)
_START = datetime(2025, 3, 3, 9, 0, tzinfo=UTC)


def archive() -> dict[str, Any]:
    """24 issues, 8 pull requests, 4 labels, 64 comments of 5 authors; numbers with gaps, as real projects have."""
    return {
        "magic": github.MAGIC,
        "timestamp": _time(400),
        "repo": "example/bilge-watch",
        "labels": [{"name": name, "description": f"About {name}", "color": color} for name, color in LABELS],
        "issues": [_item(n, n * 2 - 1, pull=False) for n in range(1, 25)],
        "pulls": [_item(n, n * 4, pull=True) for n in range(1, 9)],
    }


def _item(n: int, number: int, *, pull: bool) -> dict[str, Any]:
    closed = n % 3 == 0
    author = AUTHORS[n % len(AUTHORS)]
    item: dict[str, Any] = {
        "number": number,
        "id": f"{'P' if pull else 'I'}{n}",
        "title": f"{'Fix: ' if pull else ''}{TITLES[n % len(TITLES)]}",
        "url": f"https://example.com/bilge-watch/{number}",
        "state": ("MERGED" if pull else "CLOSED") if closed else "OPEN",
        "author": author,
        "authorAssociation": "MEMBER",
        "assignees": [AUTHORS[(n + 1) % len(AUTHORS)]] if n % 2 else [],
        "labels": [LABELS[n % len(LABELS)][0]],
        "body": f"Seen on voyage {n}.\n\nSteps:\n1. Cast off\n2. Wait",
        "createdAt": _time(number),
        "updatedAt": _time(number + 3),
        "closedAt": _time(number + 3) if closed else None,
        "comments": [_comment(n, i, number) for i in range(2)],
    }
    if pull:
        item |= {"mergedAt": item["closedAt"], "mergedBy": author if closed else None, "reviews": [{"author": "sefa"}]}
    return item


def _comment(n: int, i: int, number: int) -> dict[str, Any]:
    return {
        "author": AUTHORS[(n + i) % len(AUTHORS)],
        "authorAssociation": "MEMBER",
        "body": f"Comment {i + 1} on this. 👍" if i else "I can see it too.",
        "createdAt": _time(number + 1 + i),
        "updatedAt": _time(number + 1 + i),
    }


def _time(days: int) -> str:
    return (_START + timedelta(days=days, hours=days % 7)).strftime("%Y-%m-%dT%H:%M:%SZ")
