"""A free port, kept from one start to the next, so that a client's address stays right."""

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from bulkhead_cli.errors import MendableError

HOST = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections: those come and go.
FIRST, LAST = 20_000, 32_000
TRIES = 20


def listen_elsewhere(service: str, port: int) -> str:
    """What to do about a taken port."""
    return (
        f"end what listens there (ss -ltnp 'sport = :{port}' names it), or choose another address, such as"
        f" BULKHEAD_{service.upper()}_LISTEN={HOST}:{port + 100}"
    )


class Ports:
    def __init__(self, memory: Path, wanted: int | None = None) -> None:
        self._memory = memory
        self._wanted = wanted

    def offers(self) -> Iterator[int]:
        """A port that was asked for is the only offer; a remembered one is the first."""
        if self._wanted is not None:
            if not is_free(self._wanted):
                raise self.taken()
            yield self._wanted
            return
        picks = [random.randint(FIRST, LAST) for _ in range(TRIES)]  # noqa: S311 - a port is no secret
        yield from (port for port in [*self._remembered(), *picks] if is_free(port))

    def _remembered(self) -> list[int]:
        with contextlib.suppress(OSError, ValueError):
            return [int(self._memory.read_text(encoding="ascii"))]
        return []

    def remember(self, port: int) -> None:
        self._memory.write_text(f"{port}\n", encoding="ascii")

    def taken(self) -> MendableError:
        if self._wanted is None:
            return MendableError(f"No free port between {FIRST} and {LAST}.", "end what listens there.")
        return taken(self._wanted, "PostgreSQL")


def parts(address: str) -> tuple[str, int | None]:
    """Host and port of an address to connect to; no port for a socket file."""
    if address.startswith("unix:"):
        return address, None
    host, _, port = address.rpartition(":")
    return host or HOST, int(port)


def is_free(port: int, host: str = HOST) -> bool:
    family, kind, protocol, _, place = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: a port in TIME_WAIT after a restart is free for them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError:
            return False
    return True


def taken(port: int, user: str) -> MendableError:
    return MendableError(
        f"Port {port}, wanted by {user}, is taken.",
        f"end what listens there (ss -ltnp 'sport = :{port}'), or choose another port.",
    )


def free() -> int:
    """A port nobody listens on now."""
    for _ in range(TRIES):
        port = random.randint(FIRST, LAST)  # noqa: S311 - a port is no secret
        if is_free(port):
            return port
    raise MendableError(f"No free port between {FIRST} and {LAST}.", "end what listens there.")
