"""Limits and keepalive of the connections between clients and services, one set for both ends."""

from __future__ import annotations

import resource
from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 1 << 20
# Above its soft limit grpc refuses at random; with both limits alike only what is far too large is refused by grpc,
# and what is above our own 8 KB gets an answer that says so.
GRPC_METADATA_BYTES: Final = 32 << 10
KEEPALIVE_SECONDS: Final = 60
KEEPALIVE_ANSWER_SECONDS: Final = 20
LEAST_PING_SECONDS: Final = 30
# grpc's own two minutes would leave a service cut off long after the other one is back. Of two processes that are
# restarted one after the other, the first must have its clients again before the second leaves them.
RECONNECT_MS: Final = (100, 1000)
"""First and longest pause between attempts to connect; grpc adds up to a fifth."""
CONNECT_MS: Final = 3000
"""For one attempt."""
NAMES_MS: Final = 2000
"""Between two looks at a name whose addresses fail. By grpc's half a minute the processes that took the place of those
it knew could all be gone again."""
CONNECTION_AGE_SECONDS: Final = 30 * 60
CONNECTION_GRACE_SECONDS: Final = 30
STREAMS_A_CONNECTION: Final = 1000
WINDOW_BYTES: Final = 16 << 10
"""What a call may send before it is read. grpc's own 4 MB a call and more are for links that its probe finds fast, and
let 24 connections take a gigabyte. Whatever is longer costs a round trip, after which all of its message is let in."""
# Whoever only connects must not keep others from it: by grpc's own two minutes a thousand sockets would do.
HANDSHAKE_MS: Final = 10_000
"""For TLS and the first words of HTTP/2."""
IDLE_MS: Final = 5 * 60 * 1000
"""A connection without calls is closed; clients open it again when they call."""
MOST_FILES: Final = 65_536

Option = tuple[str, Any]


def common_options(max_message_bytes: int) -> list[Option]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", GRPC_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", GRPC_METADATA_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def client_options(max_message_bytes: int) -> list[Option]:
    first, longest = RECONNECT_MS
    return [
        *common_options(max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", first),
        # What this name means to grpc is how long an attempt may take at least.
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", longest),
        ("grpc.dns_min_time_between_resolutions_ms", NAMES_MS),
    ]


def server_options(*, max_message_bytes: int, share_port: bool) -> list[Option]:
    return [
        *common_options(max_message_bytes),
        # A connection that opens calls and never sends their requests holds no more than these.
        ("grpc.max_concurrent_streams", STREAMS_A_CONNECTION),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        # On by default in grpc, which lets two servers share a port unnoticed.
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_SECONDS * 1000),
        # Clients meet new instances only when they connect anew; grpc adds a jitter of a tenth.
        ("grpc.max_connection_age_ms", CONNECTION_AGE_SECONDS * 1000),
        ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_SECONDS * 1000),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        ("grpc.max_allowed_incoming_connections", most_connections()),
    ]


def most_connections() -> int:
    """What is left of the open files is for the database, keys and logs: a full server must still be able to work."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (MOST_FILES if soft == resource.RLIM_INFINITY else min(soft, MOST_FILES)) * 3 // 4


def allow_files() -> None:
    """As many open files as this process may have; many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
