"""Connections that send as much as they are let, in a process of its own, by the frames of HTTP/2: no client would.

    python -m tests.support.hostile ADDRESS PATH CONNECTIONS ADDRESSES CALLS KIND [TOKEN]

Each connection keeps CALLS calls open. KIND upload: messages of 0.9 MB one after the other, without end; hold: of one
message all but the last byte. Says so when every connection has sent something, and ends when killed.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
LARGEST_FRAME = 16_384
CANCEL = struct.pack("!I", 8)
MESSAGE = b"\x00" + struct.pack("!I", 900_000) + b"\x0a" + bytes(899_999)


@dataclass(slots=True)
class Call:
    window: int
    sent: int = 0


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def headers(path: str, authorization: str = "") -> bytes:
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    fields["content-type"] = "application/grpc"
    if authorization:
        fields["authorization"] = authorization
    return b"".join(b"\x00" + _text(key) + _text(value) for key, value in fields.items())


def _text(text: str) -> bytes:
    """As HPACK has it: a length of seven bits, what is more of it in bytes of seven bits each, the text."""
    if len(text) < 127:
        return bytes((len(text),)) + text.encode()
    more, written = len(text) - 127, bytearray([127])
    while more >= 128:
        written.append(more % 128 + 128)
        more //= 128
    return bytes(written) + bytes((more,)) + text.encode()


class Connection:
    def __init__(self, block: bytes, calls: int, *, ends: bool) -> None:
        self._block = block
        self._most = calls
        self._length = len(MESSAGE) if ends else len(MESSAGE) - 1
        self._calls: dict[int, Call] = {}
        self._next = 1
        self._window = self._initial = 65_535
        self._moved = asyncio.Event()
        self.has_sent = asyncio.Event()

    async def run(self, host: str, port: int, own_address: str) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            self._reader, self._writer = await asyncio.open_connection(host, port, local_addr=(own_address, 0))
            self._writer.write(PREFACE + frame(SETTINGS, 0, 0))
            sending = asyncio.create_task(self._send())
            try:
                while True:
                    await self._take()
            finally:
                sending.cancel()

    async def _send(self) -> None:
        while True:
            self._moved.clear()
            while len(self._calls) < self._most:
                self._writer.write(frame(HEADERS, 4, self._next, self._block))
                self._calls[self._next] = Call(self._initial)
                self._next += 2
            if not sum([self._send_some(stream, call) for stream, call in self._calls.items()]):
                await self._moved.wait()
            await self._writer.drain()
            await asyncio.sleep(0)

    def _send_some(self, stream: int, call: Call) -> int:
        size = max(0, min(LARGEST_FRAME, call.window, self._window, self._length - call.sent))
        if size:
            self._writer.write(frame(DATA, 0, stream, MESSAGE[call.sent : call.sent + size]))
            call.window -= size
            self._window -= size
            call.sent = (call.sent + size) % len(MESSAGE)
            self.has_sent.set()
        return size

    async def _take(self) -> None:
        head = await self._reader.readexactly(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        if kind == SETTINGS and not flags & 1:
            self._settle(payload)
        elif kind == PING and not flags & 1:
            self._writer.write(frame(PING, 1, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload, "big"))
        elif stream in self._calls and (kind == RST_STREAM or (kind == HEADERS and flags & 1)):
            del self._calls[stream]
            if kind == HEADERS:
                self._writer.write(frame(RST_STREAM, 0, stream, CANCEL))
        self._moved.set()

    def _settle(self, payload: bytes) -> None:
        for key, value in struct.iter_unpack("!HI", payload):
            if key == 4:
                for call in self._calls.values():
                    call.window += value - self._initial
                self._initial = value
        self._writer.write(frame(SETTINGS, 1, 0))

    def _widen(self, stream: int, by: int) -> None:
        if stream == 0:
            self._window += by
        elif stream in self._calls:
            self._calls[stream].window += by


async def main() -> None:
    address, path, connections, addresses, calls, kind, *token = sys.argv[1:]
    host, _, port = address.rpartition(":")
    block = headers(path, f"Bearer {token[0]}" if token else "")
    made = [Connection(block, int(calls), ends=kind == "upload") for _ in range(int(connections))]
    running = [
        asyncio.create_task(one.run(host, int(port), f"127.0.0.{1 + n % int(addresses)}")) for n, one in enumerate(made)
    ]
    await asyncio.gather(*(one.has_sent.wait() for one in made))
    print("all send", flush=True)
    await asyncio.gather(*running)


if __name__ == "__main__":
    asyncio.run(main())
