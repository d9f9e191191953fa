"""Mails: what each kind says, and when a failed one is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

MAX_ATTEMPTS: Final = 12
_FIRST_PAUSE: Final = timedelta(seconds=10)
_LONGEST_PAUSE: Final = timedelta(hours=1)


class MailRow(NamedTuple):
    mail_id: str
    kind: str
    to_address: str
    subject_id: str
    details: Mapping[str, str]
    attempts: int
    """This one included."""


@dataclass(frozen=True, slots=True)
class Letter:
    to_address: str
    subject: str
    text: str


def verify_email(mail: MailRow, web_address: str, token: str) -> Letter:
    return Letter(
        mail.to_address,
        "Confirm your e-mail address",
        # Without the name that was given: a stranger may have chosen it, and this mail goes to whom she likes.
        "Hello,\n\n"
        "somebody, we hope you, signed up at Bulkhead with this address. To confirm that it is yours, open\n\n"
        f"{web_address}/verify-email?token={token}\n\n"
        "and give the password that you signed up with.\n\n"
        "If it was not you, do nothing: without this confirmation nobody can log in with your address.\n",
    )


def already_registered(mail: MailRow, web_address: str) -> Letter:
    return Letter(
        mail.to_address,
        "You have an account already",
        "Hello,\n\n"
        "somebody, we hope you, signed up at Bulkhead with this address. There is an account with it already; "
        f"nothing has been changed. Log in at\n\n{web_address}/login\n",
    )


def invitation(mail: MailRow, web_address: str, token: str) -> Letter:
    tenant, sender = mail.details["tenant_name"], mail.details["invited_by"]
    return Letter(
        mail.to_address,
        f"{sender} invites you to {tenant}",
        f"Hello,\n\n{sender} invites you to join {tenant} at Bulkhead. Log in or sign up with this address, then "
        f"open\n\n{web_address}/accept-invitation?token={token}\n\n"
        "If you do not know the sender, do nothing.\n",
    )


def pause_after(attempts: int) -> timedelta | None:
    """How long to wait after so many failures; None: give up."""
    if attempts >= MAX_ATTEMPTS:
        return None
    return min(_FIRST_PAUSE * (1 << (attempts - 1)), _LONGEST_PAUSE)
