"""How a sample is written down."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.world import Company
from tests.support.client import message_class

Request = Message | list[Message]
"""A list for a method that takes a stream."""
Fields = dict[str, Any]
Make = Callable[[Company, Role], Awaitable[Fields | list[Fields]]]
numbers = itertools.count(1)


@dataclass(frozen=True)
class Sample:
    make: Make
    """Gives the request's fields."""
    expects: str = "OK"
    """The status of the unbent call; another than OK where only a mail or a password could do better."""

    async def request(self, method: MethodDescriptor, company: Company, role: Role) -> Request:
        kind = message_class(method.input_type.full_name)
        made = await self.make(company, role)
        return [kind(**fields) for fields in made] if isinstance(made, list) else kind(**made)


SAMPLES: dict[str, Sample] = {}


def sample(method: str, *, expects: str = "OK") -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        SAMPLES[f"bulkhead.{method}"] = Sample(make, expects)
        return make

    return keep


def fixed(method: str, *, expects: str = "OK", **fields: Any) -> None:
    """For a request that needs nothing of the company."""

    async def make(_company: Company, _role: Role) -> Fields:
        return fields

    SAMPLES[f"bulkhead.{method}"] = Sample(make, expects)


def rid() -> str:
    return str(new_id())


def name() -> str:
    return f"sample {next(numbers)}"
