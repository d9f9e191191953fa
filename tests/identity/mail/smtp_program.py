"""A real mail server that keeps what it takes as files, in a process of its own so that it can be killed.

The address says what becomes of a mail: its letters before the first hyphen are looked up below.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from bulkhead_kit.ids import new_id

USER, PASSWORD = "bulkhead", "only for tests"
AT_RCPT = {
    "full": "452 4.2.2 mailbox full",
    "unknown": "550 5.1.1 nobody of that name",
    "relay": "550 5.7.1 relaying denied",
}
AT_DATA = {
    "spam": "554 5.6.0 we do not want this",
    "busy": "451 4.3.0 try later",
}
LATE, HANGING = "late", "hanging"


class Keeper:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answer = AT_RCPT.get(address.partition("-")[0])
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        how = envelope.rcpt_tos[0].partition("-")[0]
        if how in AT_DATA:
            return AT_DATA[how]
        if how == HANGING:
            await asyncio.sleep(60)
        content = envelope.original_content or b""
        assert server.transport is not None
        tls = "yes" if server.transport.get_extra_info("sslcontext") else "no"
        trace = f"X-From: {envelope.mail_from}\r\nX-To: {','.join(envelope.rcpt_tos)}\r\n"
        trace += f"X-Tls: {tls}\r\nX-Hello: {session.host_name}\r\n"
        (self._folder / f"{new_id()}.eml").write_bytes(trace.encode() + content)
        known = self._folder / f"{envelope.rcpt_tos[0]}.known"
        if how == LATE and not known.exists():
            # It has the mail, and the answer never comes: the test kills it in between.
            known.touch()
            await asyncio.sleep(60)
        return "250 2.0.0 it is ours now"


def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
    right = isinstance(given, LoginPassword) and given == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


async def serve(folder: Path, port: int, mode: str, certificate: Path, key: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    protects = mode != "none"

    def connection() -> SMTP:
        return SMTP(
            Keeper(folder),
            hostname="mail.test",
            enable_SMTPUTF8=True,
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=authenticate,
            auth_required=protects,
            auth_require_tls=mode == "starttls",
        )

    server = await asyncio.get_running_loop().create_server(
        connection, "127.0.0.1", port, ssl=context if mode == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    # It warns of its own use of its own names with every login.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser()
    for name, kind in (("folder", Path), ("port", int), ("mode", str), ("certificate", Path), ("key", Path)):
        parser.add_argument(name, type=kind)
    asyncio.run(serve(**vars(parser.parse_args())))
