"""Archives as odd as real ones and odder, each with what has to be here when it is in. Made of a seed."""

from __future__ import annotations

import base64
import copy
import random
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bulkhead_cli.importing import github

START = datetime(2021, 3, 1, 9, tzinfo=UTC)
LABELS = ("bug", "docs", "good first issue", "ärger", "área", "needs-review")
PEOPLE = ("mira", "Jonas", "sefa", "li-wei", "ana[bot]", "o'hara")
HALF = "\ud83d"
GONE = "\N{REPLACEMENT CHARACTER}"
Text = tuple[Any, str]
"""As the file has it, and as it has to be here."""


@dataclass(slots=True)
class Said:
    raw: dict[str, Any]
    body: str
    author: str


@dataclass(slots=True)
class Thing:
    raw: dict[str, Any]
    title: str
    body: str
    author: str
    labels: set[int]
    is_pull: bool
    assignee: str = ""
    state: str = "OPEN"
    closed_at: datetime | None = None
    comments: list[Said] = field(default_factory=list)
    left: list[Said] = field(default_factory=list)
    """Comments that are here, and no longer in the source."""


class Maker:
    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        self.things: dict[int, Thing] = {}
        self.repo = "example/bilge-watch"
        self.is_issues_only = self._odd(0.2)
        self.has_ids = not self._odd(0.15)
        self.listed = self.rng.sample(range(len(LABELS)), self.rng.randint(0, 4))
        self.count = 0
        self.clock = START
        number = 0
        for _ in range(self.rng.randint(3, 9)):
            number += self.rng.choice((1, 1, 2, 40))
            self._make(number)

    def content(self) -> dict[str, Any]:
        """The file. What may be missing is, now and then."""
        magic = self.rng.choice((github.MAGIC, github.MAGIC, github.EARLIER_MAGIC))
        made: dict[str, Any] = {"magic": magic, "timestamp": _time(self.clock), "repo": self.repo}
        if self.listed or not self._odd(0.5):
            made["labels"] = [label for place in self.listed for label in self._listed(place)]
        for name, is_pull in (("issues", False), ("pulls", True)):
            if name == "issues" or not self.is_issues_only:
                made[name] = [one.raw for one in self.things.values() if one.is_pull == is_pull]
        if made["issues"] and self._odd(0.2):
            earlier = copy.deepcopy(made["issues"][0])
            earlier |= {"title": "an earlier version", "updatedAt": earlier["createdAt"]}
            made["issues"].insert(0, earlier)
        return made

    def later(self) -> None:
        """What may have happened since: everything, to some."""
        self.clock += timedelta(days=30)
        if self._odd(0.4):
            self.repo = "elsewhere/bilge-watch-2"
        renamed = {name: f"{name}-2" for name in self.rng.sample(PEOPLE, 2)} | {self.rng.choice(PEOPLE): "ghost"}
        for number, thing in self.things.items():
            if self._odd(0.7):
                self._change(number, thing, renamed)
        if self.listed:
            self.listed.pop()
        self._make(max(self.things) + 3)

    @property
    def labels(self) -> set[int]:
        return set(self.listed).union(*(one.labels for one in self.things.values()))

    def _odd(self, chance: float) -> bool:
        return self.rng.random() < chance

    def _next(self, seconds: int = 90) -> datetime:
        self.clock += timedelta(seconds=self.rng.randint(0, seconds))
        return self.clock

    def _listed(self, place: int) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [{"name": LABELS[place], "description": None, "color": "D73A4A"}]
        if self._odd(0.3):
            made.append({"name": self._spelled(place), "color": self.rng.choice(("red", None, "#00ff00"))})
        return made

    def _spelled(self, place: int) -> str:
        name = LABELS[place]
        return self.rng.choice((name, name.upper(), f"{name[:2]}\u200b{name[2:]}", f" {name} "))

    def _person(self, raw: dict[str, Any]) -> str:
        name = self.rng.choice(PEOPLE)
        form = self.rng.random()
        if form < 0.7:
            raw["author"] = name
        elif form < 0.8:
            raw["author"] = {"login": name}
        else:
            name = github.GHOST
            if form < 0.9:
                raw["author"] = self.rng.choice((None, "", "\u200b", "ghost"))
        return name

    def _text(self, empty: str) -> Text:
        self.count += 1
        start = f"Text {self.count} "
        long = "x" * (65_536 - len(start))
        texts: list[Text] = [
            (start + "plain", start + "plain"),
            (start + "two\r\nlines\rthree", start + "two\nlines\nthree"),
            (start + "\x1b]0;owned\x07\x00", start + f"{GONE}]0;owned{GONE}{GONE}"),
            (start + f"cut {HALF}", start + f"cut {GONE}"),
            (start + "🛟 <b> [red] \u202e", start + "🛟 <b> [red] \u202e"),
            (start + long, start + long),
            (None, empty),
            (" \u200b\n" if empty else "", empty),
        ]
        return self.rng.choices(texts, (8, 3, 2, 2, 3, 0.5, 1, 1))[0]

    def _title(self) -> Text:
        self.count += 1
        plain = f"Title {self.count}"
        odd: list[Text] = [
            (f" {plain}\x1b[2J\u2028x", f"{plain} [2J x"),
            (plain + HALF, plain + GONE),
            (None, "(without title)"),
            ("\u3164", "(without title)"),
        ]
        return (plain, plain) if self._odd(0.7) else self.rng.choice(odd)

    def _make(self, number: int) -> None:
        is_pull = not self.is_issues_only and self._odd(0.4)
        made_at = self._next(9000)
        raw: dict[str, Any] = {"number": number, "createdAt": _time(made_at), "milestone": {"title": "v1"}}
        if self.has_ids:
            raw["id"] = _node_id(is_pull, 322466308 + number, self.rng.choice((True, False)))
        (raw["title"], title), (raw["body"], body) = self._title(), self._text("")
        labels = set(self.rng.sample(range(len(LABELS)), self.rng.randint(0, 3)))
        raw["labels"] = [self._spelled(place) for place in labels]
        thing = Thing(raw, title, body, self._person(raw), labels, is_pull)
        if self._odd(0.3):
            thing.assignee = self.rng.choice(PEOPLE)
            raw["assignees"] = [thing.assignee, "second"]
        self._end(thing, self.rng.choice(("OPEN", "CLOSED", "MERGED" if is_pull else "CLOSED")), made_at)
        raw["comments"] = []
        for _ in range(self.rng.choice((0, 1, 2, 3, 5))):
            self._say(thing, self._next(1))
        if self._odd(0.2):
            # Before the issue's own time, as trackers do that were imported themselves.
            self._say(thing, made_at - timedelta(days=400))
        raw["updatedAt"] = _time(self._next())
        if self._odd(0.1):
            raw["updatedAt"] = _time(made_at - timedelta(days=1))
        for name in ("labels", "comments"):
            if not raw[name] and self._odd(0.5):
                raw[name] = self.rng.choice((None, {"nodes": []}))
        self.things[number] = thing

    def _end(self, thing: Thing, state: str, made_at: datetime) -> None:
        thing.state, thing.closed_at = state, None if state == "OPEN" else self._next()
        raw = thing.raw
        raw["state"] = self.rng.choice((state, state, state, state.lower()))
        raw["closedAt"] = raw["mergedAt"] = None
        if thing.closed_at is not None:
            raw["mergedAt" if state == "MERGED" else "closedAt"] = _time(thing.closed_at)
            if self._odd(0.1):
                raw["state"] = self.rng.choice(("LOST", None))
            elif self._odd(0.1):
                raw["closedAt"] = _time(made_at - timedelta(days=3))
                raw["mergedAt"] = raw["closedAt"] if state == "MERGED" else None
                thing.closed_at = made_at

    def _say(self, thing: Thing, at: datetime) -> None:
        raw: dict[str, Any] = {"createdAt": _time(at), "updatedAt": _time(at)}
        raw["body"], body = self._text("(empty)")
        if body == "(empty)" and self._odd(0.5):
            del raw["body"]
        author = self._person(raw)
        thing.raw["comments"] = [*_list(thing.raw["comments"]), raw]
        thing.comments.append(Said(raw, body, author))

    def _change(self, number: int, thing: Thing, renamed: dict[str, str]) -> None:
        """Renamed logins show in items that were fetched again only."""
        raw = thing.raw
        if self.has_ids:
            raw["id"] = _node_id(thing.is_pull, 322466308 + number, True)
        if self._odd(0.5):
            raw["title"], thing.title = self._title()
        drops = bool(thing.comments) and self._odd(0.4)
        if drops:
            said = thing.comments.pop(0)
            thing.left.append(said)
            raw["comments"] = [one for one in _list(raw["comments"]) if one is not said.raw]
        signed: list[Thing | Said] = [thing, *thing.comments]
        for one in signed:
            if one.author in renamed:
                one.author = renamed[one.author]
                one.raw["author"] = None if one.author == github.GHOST else one.author
        if raw.get("assignees"):
            thing.assignee = renamed.get(thing.assignee, thing.assignee)
            if thing.assignee == github.GHOST:
                thing.assignee, raw["assignees"] = "", []
            else:
                raw["assignees"] = [thing.assignee]
        made_at = datetime.fromisoformat(raw["createdAt"])
        if self._odd(0.6):
            # Open, closed again, and merged where it can be: later than all before.
            self._end(thing, self.rng.choice(("OPEN", "CLOSED", "MERGED" if thing.is_pull else "CLOSED")), made_at)
        # Where the first of a second went too, nobody could tell which is the edited one.
        self._discuss(thing, edits=not drops)
        raw["updatedAt"] = _time(self._next())

    def _discuss(self, thing: Thing, *, edits: bool) -> None:
        if edits and thing.comments and self._odd(0.5):
            said = self.rng.choice(thing.comments)
            self.count += 1
            said.body = said.raw["body"] = f"Edited {self.count}"
            said.raw["updatedAt"] = _time(self._next())
        if self._odd(0.5):
            self._say(thing, self._next() + timedelta(seconds=1))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _node_id(is_pull: bool, number: int, later: bool) -> str:
    kind, short = ("PullRequest", "PR") if is_pull else ("Issue", "I")
    if not later:
        return base64.b64encode(f"0{len(kind)}:{kind}{number}".encode()).decode()
    packed = b"\x93\x00\xce" + struct.pack(">I", 132_952_373) + b"\xce" + struct.pack(">I", number)
    return f"{short}_{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"
