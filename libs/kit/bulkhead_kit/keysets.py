"""Public keys by name, as a JWKS carries them. P-256 only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from bulkhead_kit import base64url

_kid = re.compile(r"[A-Za-z0-9._:/-]{1,100}", re.ASCII).fullmatch


class KeySet:
    """The keys a verifier believes. To rotate: add the new one everywhere, sign with it, remove the old."""

    def __init__(self, keys: Mapping[str, ec.EllipticCurvePublicKey] | None = None) -> None:
        self._keys: dict[str, ec.EllipticCurvePublicKey] = {}
        self.generation = 0
        """Changes with the keys, so that whoever has remembered a verdict knows when to forget it."""
        for kid, key in (keys or {}).items():
            self.add(kid, key)

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, object]) -> KeySet:
        return cls(parse_jwks(jwks))

    def refresh(self) -> None:
        """Where the keys come from may have others by now; whoever relies on a remembered verdict asks first."""

    def get(self, kid: str) -> ec.EllipticCurvePublicKey | None:
        return self._keys.get(kid)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def add(self, kid: str, key: ec.EllipticCurvePublicKey | bytes) -> None:
        """Another key under a name in use is refused: a name means one key for ever."""
        loaded = load_public_key(key) if isinstance(key, bytes) else key
        if not isinstance(loaded.curve, ec.SECP256R1) or _kid(kid) is None:
            raise ValueError(f"key {kid!r} is not a well-named P-256 key")
        known = self._keys.get(kid)
        if known is not None and known != loaded:
            raise ValueError(f"another key is named {kid!r} already")
        if known is None:
            self._keys[kid] = loaded
            self.generation += 1

    def remove(self, kid: str) -> None:
        if self._keys.pop(kid, None) is not None:
            self.generation += 1

    def replace(self, jwks: Mapping[str, object]) -> None:
        """Takes over a freshly fetched set as a whole, or, if anything in it is wrong, nothing."""
        self.take(parse_jwks(jwks))

    def take(self, keys: Mapping[str, ec.EllipticCurvePublicKey]) -> bool:
        """These and no others. False when they were these already."""
        if keys == self._keys:
            return False
        self._keys = dict(keys)
        self.generation += 1
        return True

    def to_jwks(self) -> dict[str, list[dict[str, str]]]:
        self.refresh()
        return {"keys": [to_jwk(kid, key) for kid, key in self._keys.items()]}


def load_public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 public key")
    return key


def to_jwk(kid: str, key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    x, y = (base64url.encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y}


def thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    """The first half of RFC 7638's: a name that two keys do not share."""
    jwk = to_jwk("", key)
    text = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    return base64url.encode(sha256(text.encode()).digest()[:16])


def parse_jwks(jwks: Mapping[str, object]) -> dict[str, ec.EllipticCurvePublicKey]:
    entries = jwks.get("keys")
    if not isinstance(entries, list):
        raise ValueError("a JWKS has a list named keys")
    keys = dict(_parse_jwk(entry) for entry in entries)
    if len(keys) != len(entries):
        raise ValueError("two keys of the JWKS have one name")
    return keys


def _parse_jwk(entry: object) -> tuple[str, ec.EllipticCurvePublicKey]:
    if not isinstance(entry, Mapping):
        raise ValueError("a key of the JWKS is not an object")
    if "d" in entry:
        raise ValueError("the JWKS holds a private key: revoke it, it has been published")
    kid, x, y = (entry.get(name) for name in ("kid", "x", "y"))
    right = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}
    if any(entry.get(name, value) != value for name, value in right.items()) or "kty" not in entry:
        raise ValueError(f"key {kid!r} of the JWKS is not an ES256 signature key")
    if not isinstance(kid, str) or not _kid(kid) or not isinstance(x, str) or not isinstance(y, str):
        raise ValueError(f"key {kid!r} of the JWKS lacks a proper kid, x or y")
    point = [int.from_bytes(base64url.decode(part), "big") for part in (x, y)]
    # A point that is not on the curve is a ValueError too.
    return kid, ec.EllipticCurvePublicNumbers(point[0], point[1], ec.SECP256R1()).public_key()
