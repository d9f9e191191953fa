"""Mails as files, for installations without a mail server: one .eml a mail, which any mail program opens."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from bulkhead_identity.mail.message import compose, recipient
from bulkhead_identity.mail.rules import Letter


class MailFolder:
    def __init__(self, directory: Path, sender: str) -> None:
        self._directory = directory
        self._sender = sender

    async def send(self, mail_id: str, letter: Letter) -> None:
        """Whole or not at all; a second time under the same name. Raises OSError."""
        await asyncio.to_thread(self._write, mail_id, letter)

    def _write(self, mail_id: str, letter: Letter) -> None:
        # As it stands: a link that is broken over two lines cannot be clicked.
        content = compose(self._sender, recipient(letter.to_address).shown, mail_id, letter, "8bit").as_bytes()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._directory / f".{mail_id}.{secrets.token_hex(4)}.draft"
        try:
            # Who reads a mail can take an account over.
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            draft.replace(self._directory / f"{mail_id}.eml")
        finally:
            draft.unlink(missing_ok=True)
