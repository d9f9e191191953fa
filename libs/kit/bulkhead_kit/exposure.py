"""What would go over a network in clear: addresses and URLs that lead off this machine without TLS."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_ENCRYPTING: Final = frozenset({"require", "verify-ca", "verify-full"})
"""Of libpq's sslmodes; its own default goes on in clear when the server has no TLS."""


def leaves_this_host(address: str) -> bool:
    """Of host:port or unix:/path. No host at all means every one of this machine's addresses."""
    return not address.startswith("unix:") and not _is_loopback(_host(address))


def is_everywhere(address: str) -> bool:
    """Whether who listens there does so on every address, and so on outer ones."""
    host = _host(address)
    try:
        return not host or ip_address(host).is_unspecified
    except ValueError:
        return False


def database_in_clear(parts: Mapping[str, object]) -> bool:
    """Of what libpq is told, as psycopg reads a URL. Without a host it takes a socket of this machine."""
    hosts = str(parts.get("hostaddr") or parts.get("host") or "/").split(",")
    away = any(not host.startswith(("/", "@")) and not _is_loopback(host) for host in hosts)
    return away and parts.get("sslmode") not in _ENCRYPTING


def redis_in_clear(url: str) -> bool:
    found = urlsplit(url)
    return found.scheme == "redis" and not _is_loopback(found.hostname or "localhost")


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
