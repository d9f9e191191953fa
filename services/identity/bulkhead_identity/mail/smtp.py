"""Mails through a mail server. Each has a connection of its own: a fault of one is not another's."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from bulkhead_identity.mail.message import address_of, compose, recipient
from bulkhead_identity.mail.rules import Letter, MailPutOffError, MailRefusedError

Tls = Literal["starttls", "tls", "none"]
PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
# "Log in first", and the 5.7 group of RFC 3463: the server's policy, which somebody can mend for all mails at once.
_NOT_ABOUT_THE_MAIL: Final = frozenset({530, 534, 535, 538})
_POLICY: Final = "5.7."
_GOODBYE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    host: str
    port: int | None = None
    tls: Tls = "starttls"
    ca: Path | None = None
    user: str | None = None
    password: str | None = None
    seconds: float = 10.0
    """For one mail from the connection to the server's last word."""


class SmtpOutlet:
    def __init__(self, server: MailServer, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._from = address_of(sender)
        self._context = ssl.create_default_context(cafile=server.ca) if server.tls != "none" else None

    async def send(self, mail_id: str, letter: Letter) -> None:
        """Raises MailRefusedError, MailPutOffError, or ValueError when it is no mail at all."""
        to = recipient(letter.to_address).travelling
        message = compose(self._sender, to, mail_id, letter, "quoted-printable")
        client = self._client()
        try:
            async with asyncio.timeout(self._server.seconds):
                await client.connect()
                await client.send_message(message, sender=self._from.addr_spec, recipients=[to])
            # The mail is the server's now, whatever becomes of the farewell.
            with suppress(SMTPException, OSError):
                await client.quit(timeout=_GOODBYE_SECONDS)
        except TimeoutError:
            raise MailPutOffError(f"no answer within {self._server.seconds:g} s") from None
        except SMTPException as error:
            _give_reason(error)
        except OSError as error:
            raise MailPutOffError(f"{type(error).__name__}: {error}") from None
        finally:
            client.close()

    def _client(self) -> SMTP:
        server = self._server
        return SMTP(
            hostname=server.host,
            port=server.port or PORTS[server.tls],
            username=server.user,
            password=server.password,
            use_tls=server.tls == "tls",
            # True: a server that does not offer it is not spoken to.
            start_tls=server.tls == "starttls",
            tls_context=self._context,
            # What this host is called is nobody's business, and looking it up may take a while.
            local_hostname=self._from.domain,
            timeout=server.seconds,
        )


def _give_reason(error: SMTPException) -> NoReturn:
    if isinstance(error, SMTPRecipientsRefused) and error.recipients:
        error = error.recipients[0]
    if not isinstance(error, SMTPResponseException):
        # Not supported is what an address beyond ASCII needs; a missing STARTTLS or AUTH is another kind.
        kind = MailRefusedError if isinstance(error, SMTPNotSupported) else MailPutOffError
        raise kind(type(error).__name__, error.message) from None
    what = f"{type(error).__name__} {error.code}"
    if isinstance(error, SMTPRecipientRefused | SMTPDataError) and _is_final(error.code, error.message):
        raise MailRefusedError(what, error.message) from None
    raise MailPutOffError(what, error.message) from None


def _is_final(code: int, message: str) -> bool:
    return code >= 500 and code not in _NOT_ABOUT_THE_MAIL and not message.lstrip().startswith(_POLICY)
