"""Tokens derived from a secret and an id, so that no token is stored and a repeat gives the same one."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final
from uuid import UUID

from bulkhead_kit import base64url

_MIN_SECRET: Final = 32
_DEVICE: Final = 24
"""Bytes of a device token before its mac: an id and a time."""


class DerivedTokens:
    """Each purpose has its label: a token of one is worth nothing for another."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _MIN_SECRET:
            raise ValueError(f"the secret needs at least {_MIN_SECRET} bytes")
        self._secret = secret

    def one_time(self, token_id: UUID) -> str:
        return base64url.encode(self._mac(b"one-time", token_id.bytes))

    def invitation(self, invitation_id: UUID) -> str:
        return base64url.encode(self._mac(b"invitation", invitation_id.bytes))

    def next_refresh(self, token: str) -> str:
        """The child of a refresh token. Who repeats a call whose answer was lost gets it again."""
        return base64url.encode(self._mac(b"refresh", token.encode()))

    def device(self, address_key: str, device_id: UUID, expires_at: int) -> str:
        """Proves that a login with this address was made on this device. `expires_at`: seconds since 1970."""
        known = device_id.bytes + expires_at.to_bytes(8)
        return base64url.encode(known + self._mac(b"device", known + address_key.encode()))

    def device_id(self, token: str, address_key: str, now: float) -> UUID | None:
        """None for a token that is forged, expired or another address's."""
        try:
            raw = base64url.decode(token)
        except ValueError:
            return None
        known, mac = raw[:_DEVICE], raw[_DEVICE:]
        if len(known) < _DEVICE or not hmac.compare_digest(mac, self._mac(b"device", known + address_key.encode())):
            return None
        return UUID(bytes=known[:16]) if int.from_bytes(known[16:]) > now else None

    def bucket(self, *parts: str) -> bytes:
        """Under what failed tries are counted. Keyed, or the table would tell whose address has been tried."""
        return self._mac(b"throttle", "\0".join(parts).encode())

    def request_digest(self, rpc: str, request: bytes) -> bytes:
        """Keyed, as the request holds a password that a plain digest would give to a guesser."""
        return self._mac(b"request", rpc.encode() + b"\0" + request)

    def _mac(self, label: bytes, message: bytes) -> bytes:
        return hmac.digest(self._secret, label + b"\0" + message, sha256)


def hash_of(token: str) -> bytes:
    """What the database knows of a token. Tokens have 256 bits: no salt and no slow hash is needed."""
    return sha256(token.encode()).digest()
