"""The archive format of the IETF's working groups on GitHub: one JSON file with labels, issues and pull requests.

Its writer leaves out what GitHub did not tell (who wrote the comments beyond a hundred), keeps items as they were read
years ago beside a fresh list of labels, and can be told to take issues only. So nothing but a number and a time has to
be there. What is there has to be of the right kind, or the file is refused as a whole, by the place.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

MAGIC = "E!vIA5L86J2I"
EARLIER_MAGIC = "B8n2c@e8kvfx"
"""Of files that lack what is not read here anyway."""
GHOST = "ghost"
"""What GitHub calls the author of what an account wrote that is gone; here of all that names nobody."""
MAX_SHOWN = 10


class FormatError(Exception):
    """Names every place, up to ten, where the file is not as it should be."""


def _nodes(value: Any) -> Any:
    """A list, as GitHub's own answers wrap it too."""
    return [] if value is None else value.get("nodes", value) if isinstance(value, dict) else value


def _named(value: Any) -> Any:
    """A name, as GitHub's own answers wrap it too."""
    return value.get("login", value.get("name", value)) if isinstance(value, dict) else value


Number = Annotated[int, Field(ge=1, le=999_999_999)]
Name = Annotated[str | None, BeforeValidator(_named)]
Names = Annotated[list[Name], BeforeValidator(_nodes)]
# A day inside of what a time may be, so that no zone leads out of it.
Moment = Annotated[AwareDatetime, Field(ge=datetime(1, 1, 2, tzinfo=UTC), le=datetime(9999, 12, 30, tzinfo=UTC))]


class _Part(BaseModel):
    # What is not read is not judged: the format may grow.
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class Label(_Part):
    name: str
    description: str | None = None
    color: str | None = None


class Comment(_Part):
    author: Name = None
    body: str | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None


class Item(_Part):
    number: Number
    id: str | None = None
    title: str | None = None
    state: str | None = None
    author: Name = None
    assignees: Names = []
    labels: Names = []
    body: str | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None
    closed_at: Moment | None = None
    merged_at: Moment | None = None
    comments: Annotated[list[Comment], BeforeValidator(_nodes)] = []

    @model_validator(mode="after")
    def has_a_time(self) -> Item:
        if self.created_at is None and self.updated_at is None:
            raise ValueError("createdAt is missing")
        return self


class PullRequest(Item):
    reviews: Annotated[list[Any], BeforeValidator(_nodes)] = []


class Content(_Part):
    magic: Literal["E!vIA5L86J2I", "B8n2c@e8kvfx"]
    repo: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", max_length=150)]
    labels: Annotated[list[Label], BeforeValidator(_nodes)] = []
    issues: Annotated[list[Item] | None, BeforeValidator(_nodes)] = None
    pulls: Annotated[list[PullRequest] | None, BeforeValidator(_nodes)] = None

    @model_validator(mode="after")
    def holds_something(self) -> Content:
        if not {"issues", "pulls"} & self.model_fields_set:
            raise ValueError("neither issues nor pulls are there")
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
