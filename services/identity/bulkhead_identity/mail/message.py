"""A letter as the message that travels: text and HTML of the same words, and headers that nobody can add to."""

from __future__ import annotations

from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime
from typing import Literal

from bulkhead_kit import clock
from email_validator import EmailNotValidError, validate_email

from bulkhead_identity.mail.rules import Letter

Encoding = Literal["8bit", "quoted-printable"]


@dataclass(frozen=True, slots=True)
class Recipient:
    shown: str
    travelling: str
    """With the domain in ASCII where the rest is, as every server takes it; else SMTPUTF8 is needed."""


def recipient(address: str) -> Recipient:
    """Raises ValueError for what is not exactly one address."""
    try:
        found = validate_email(address, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(f"not an e-mail address: {error}") from None
    return Recipient(found.normalized, found.ascii_email or found.normalized)


def compose(sender: str, to: str, mail_id: str, letter: Letter, encoding: Encoding) -> EmailMessage:
    """Raises ValueError for a line break in a header. The Message-ID is the mail's for ever: who gets a mail twice,
    because the answer to the first sending was lost, can tell, and many servers drop the second by themselves."""
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = sender
    name, _, domain = to.rpartition("@")
    message["To"] = Address(username=name, domain=domain)
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{mail_id}@{address_of(sender).domain}>"
    # So that nobody's holiday answers it.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text, cte=encoding)
    message.add_alternative(letter.html, subtype="html", cte=encoding)
    return message


def address_of(sender: str) -> Address:
    """Of a header such as `Bulkhead <no-reply@example.com>`. Raises ValueError unless it names one address."""
    message = EmailMessage(policy=SMTPUTF8)
    message["From"] = sender
    header = message["From"]
    if len(header.addresses) == 1 and not header.defects:
        address: Address = header.addresses[0]
        if address.domain and address.addr_spec.isascii():
            return address
    raise ValueError("must be one address in ASCII, such as Bulkhead <no-reply@example.com>")
