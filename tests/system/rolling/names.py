"""A name server for the names of a test: several addresses behind one name, as a cluster's has them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

HEADER: Final = struct.Struct("!HHHHHH")
ANSWERED: Final = 0x8580
"""A response, authoritative, with recursion as asked for."""
POINTER: Final = 0xC00C
"""To the question's name."""
A: Final = 1
IN: Final = 1
TTL: Final = 0


@contextmanager
def name_server(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Its own address; other names, and other kinds of records, are there and empty."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        answering = threading.Thread(target=_answer, args=(server, names), daemon=True)
        answering.start()
        host, port = server.getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            # A datagram without a question ends the thread.
            server.sendto(b"", (host, port))
            answering.join()


def _answer(server: socket.socket, names: Mapping[str, Sequence[str]]) -> None:
    while True:
        asked, who = server.recvfrom(512)
        if not asked:
            return
        server.sendto(reply(asked, names), who)


def reply(asked: bytes, names: Mapping[str, Sequence[str]]) -> bytes:
    number = HEADER.unpack_from(asked)[0]
    labels, at = [], HEADER.size
    while length := asked[at]:
        labels.append(asked[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    kind, _ = struct.unpack_from("!HH", asked, at + 1)
    question = asked[HEADER.size : at + 5]
    found = names.get(".".join(labels).lower(), ()) if kind == A else ()
    records = [struct.pack("!HHHIH", POINTER, A, IN, TTL, 4) + socket.inet_aton(address) for address in found]
    return b"".join([HEADER.pack(number, ANSWERED, 1, len(records), 0, 0), question, *records])
