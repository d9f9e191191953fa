"""The archive format of the IETF's working groups on GitHub: one JSON file with labels, issues and pull requests.

Everything is checked before anything is sent: a file that breaks its format is refused as a whole, by the place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

MAGIC = "E!vIA5L86J2I"
GHOST = "ghost"
"""What GitHub calls the author of what an account wrote that is gone."""
MAX_SHOWN = 10

Number = Annotated[int, Field(ge=1, le=999_999_999)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class FormatError(Exception):
    """Names every place, up to ten, where the file is not as it should be."""


class _Part(BaseModel):
    # What is not read is not judged: the format may grow.
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class Label(_Part):
    name: Name
    description: str | None = ""
    color: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{6}$")]


class Comment(_Part):
    author: Name | None
    body: str
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Item(_Part):
    number: Number
    id: Name
    title: str
    state: Literal["OPEN", "CLOSED", "MERGED"]
    author: Name | None
    assignees: list[Name]
    labels: list[Name]
    body: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    closed_at: AwareDatetime | None
    comments: list[Comment]

    @property
    def resolved_at(self) -> datetime | None:
        return self.closed_at


class PullRequest(Item):
    merged_at: AwareDatetime | None
    reviews: list[Any] = []

    @property
    def resolved_at(self) -> datetime | None:
        return self.merged_at or self.closed_at


class Content(_Part):
    magic: Literal["E!vIA5L86J2I"]
    repo: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", max_length=150)]
    labels: list[Label]
    issues: list[Item]
    pulls: list[PullRequest]

    @model_validator(mode="after")
    def numbers_differ(self) -> Content:
        """Issues and pull requests of a repository share one sequence of numbers."""
        seen: set[int] = set()
        for item in (*self.issues, *self.pulls):
            if item.number in seen:
                raise ValueError(f"number {item.number} is there twice")
            seen.add(item.number)
        return self


def check(content: object) -> Content:
    """Raises FormatError."""
    try:
        return Content.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        lines = [f"  {_place(one['loc'])}: {one['msg']}" for one in found[:MAX_SHOWN]]
        if len(found) > MAX_SHOWN:
            lines.append(f"  and {len(found) - MAX_SHOWN} more")
        raise FormatError("\n".join(lines)) from None


def _place(parts: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".") or "the file"
