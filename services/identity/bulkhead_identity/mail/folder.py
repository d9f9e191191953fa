"""Mails as files, for installations without a mail server: one .eml a mail, which any mail program opens."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import format_datetime
from pathlib import Path

from bulkhead_kit import clock

from bulkhead_identity.mail.rules import Letter


class MailFolder:
    def __init__(self, directory: Path, sender: str) -> None:
        self._directory = directory
        self._sender = sender

    def send(self, mail_id: str, letter: Letter) -> None:
        """Whole or not at all; a second time under the same name. Raises OSError."""
        message = EmailMessage(policy=SMTPUTF8)
        message["From"] = self._sender
        message["To"] = letter.to_address
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(clock.now())
        message["Message-ID"] = f"<{mail_id}@bulkhead.invalid>"
        # As it stands: a link that is broken over two lines cannot be clicked.
        message.set_content(letter.text, cte="8bit")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._directory / f".{mail_id}.draft"
        draft.write_bytes(message.as_bytes())
        draft.replace(self._directory / f"{mail_id}.eml")
