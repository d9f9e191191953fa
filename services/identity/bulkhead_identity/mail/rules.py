"""Mails: what the queue holds of one, what it becomes, and when a failed one is tried again."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

MAX_ATTEMPTS: Final = 12
SLOWEST_SECONDS: Final = 20
"""What one mail may take at most: a batch must be settled within the worker's turn and before its lease ends."""
_FIRST_PAUSE: Final = timedelta(seconds=10)
_LONGEST_PAUSE: Final = timedelta(hours=1)


class MailRow(NamedTuple):
    mail_id: str
    kind: str
    to_address: str
    subject_id: str
    details: Mapping[str, str]
    created_at: int
    attempts: int
    """This one included."""
    is_urgent: bool
    cause: bytes


@dataclass(slots=True)
class Turns:
    """The causes that a worker has sent mails of last: it goes on with those after them. Each worker begins somewhere
    else, so that many of them, or one that often starts, favour nobody."""

    urgent: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    others: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def go_on(self, mails: Iterable[MailRow]) -> None:
        for mail in mails:
            if mail.is_urgent:
                self.urgent = mail.cause
            else:
                self.others = mail.cause


@dataclass(frozen=True, slots=True)
class Letter:
    to_address: str
    subject: str
    text: str
    html: str


class MailError(Exception):
    """`what` may be logged; `answer` is the server's, which likes to name the address."""

    def __init__(self, what: str, answer: str = "") -> None:
        super().__init__(f"{what}: {answer}" if answer else what)
        self.what = what


class MailPutOffError(MailError):
    """The mail cannot be sent now."""


class MailRefusedError(MailError):
    """The mail will never be taken: trying again would only annoy the server."""


class Outlet(Protocol):
    async def send(self, mail_id: str, letter: Letter) -> None:
        """Returns when the mail is out. Raises MailRefusedError when it never will be; MailPutOffError or OSError when
        it cannot be sent now."""
        ...


def pause_after(attempts: int) -> timedelta | None:
    """How long to wait after so many failures; None: give up."""
    if attempts >= MAX_ATTEMPTS:
        return None
    return min(_FIRST_PAUSE * (1 << (attempts - 1)), _LONGEST_PAUSE)
