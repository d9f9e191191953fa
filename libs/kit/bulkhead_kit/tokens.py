"""Signed tokens: JWT with ES256 and nothing else. Every fault but expiry has one answer: it teaches nothing.

Both ends are ours, so reading is strict: exact header, exact type, one spelling, no member twice. A verified
token is remembered until it expires: verifying costs over 100 microseconds, looking it up less than one.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, NoReturn, Protocol, TypeVar
from uuid import UUID

import jwt
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm

from bulkhead_kit import base64url, clock, strict_json, token_times
from bulkhead_kit.caller import Role
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.keysets import KeySet

ALGORITHM: Final = "ES256"
ACCESS_TYP: Final = "at+jwt"
MAX_TOKEN: Final = 4096
SKEW: Final = 30
"""Seconds by which the clocks of two machines may differ."""
_REMEMBERED: Final = 4096

_form = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}", re.ASCII).fullmatch
_jws = jwt.PyJWS(algorithms=[ALGORITHM])
_es256 = ECAlgorithm(ECAlgorithm.SHA256, ec.SECP256R1)

Json = Mapping[str, object]


class Claims(Protocol):
    @property
    def exp(self) -> int: ...


C = TypeVar("C", bound=Claims)


class Signer:
    """A private key with its name. The name travels in the token, so that verifiers can hold several keys."""

    def __init__(self, key_pem: bytes, kid: str) -> None:
        key = load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError(f"key {kid} is not a P-256 private key")
        self._key = key
        self.kid = kid

    def refresh(self) -> None:
        """There may be another key by now; whoever shows a token again asks first."""

    def take(self, other: Signer) -> None:
        """Signs with that one's key from now on."""
        self._key, self.kid = other._key, other.kid

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    def sign(self, claims: Json, typ: str) -> str:
        self.refresh()
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return _jws.encode(payload, self._key, ALGORITHM, headers={"typ": typ, "kid": self.kid})


class Verifier(Generic[C]):
    """Reads tokens of one type, for one audience. `parse` makes the claims and may refuse by `invalid()`."""

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str | Callable[[str], str],
        audience: str,
        typ: str,
        parse: Callable[[Json], C],
        max_lifetime: int,
        remember: int = _REMEMBERED,
    ) -> None:
        """`issuer` may depend on the key's name: then a key speaks for its owner only."""
        self._keys = keys
        self._issuer_of = issuer if callable(issuer) else lambda _kid: issuer
        self._audience = audience
        self._header = {"alg": ALGORITHM, "typ": typ}
        self._parse = parse
        self._max_lifetime = max_lifetime
        self._remember = remember
        self._remembered: OrderedDict[str, C] = OrderedDict()
        self._generation = keys.generation

    def verify(self, token: str) -> C:
        claims = self.recall(token)
        if claims is None:
            claims = self._verify(token)
            if claims.exp > clock.unix():
                self._remembered[token] = claims
                if len(self._remembered) > self._remember:
                    self._remembered.popitem(last=False)
        return claims

    def recall(self, token: str) -> C | None:
        """The claims of a token verified before with the keys of now, while it lasts."""
        self._keys.refresh()
        if self._generation != self._keys.generation:
            self._remembered.clear()
            self._generation = self._keys.generation
        claims = self._remembered.get(token)
        if claims is None:
            return None
        if claims.exp <= clock.unix():
            del self._remembered[token]
            return None
        self._remembered.move_to_end(token)
        return claims

    def _verify(self, token: str) -> C:
        header = read_header(token)
        kid = header.pop("kid", None)
        if header != self._header or not isinstance(kid, str):
            invalid()
        key = self._keys.get(kid)
        signed, _, signature = token.rpartition(".")
        if key is None or not _es256.verify(signed.encode(), key, _bytes(signature)):
            invalid()
        payload = _object(signed.partition(".")[2])
        if payload.get("iss") != self._issuer_of(kid) or payload.get("aud") != self._audience:
            invalid()
        self._check_times(payload, kid)
        return self._parse(payload)

    def _check_times(self, payload: Json, kid: str) -> None:
        now = clock.unix()
        issued, expires = integer(payload, "iat"), integer(payload, "exp")
        starts = integer(payload, "nbf") if "nbf" in payload else issued
        if not 0 < expires - issued <= self._max_lifetime:
            invalid()
        if (ahead := max(issued, starts) - now) > SKEW:
            token_times.early(kid, ahead)
            invalid()
        if expires + SKEW <= now:
            token_times.expired()
            raise Unauthenticated(ErrorReason.TOKEN_EXPIRED, "the token has expired: refresh it")


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """Who a person is. Without a tenant the token opens only what needs none."""

    sub: UUID
    sid: UUID
    exp: int
    tid: UUID | None = None
    role: Role | None = None
    mv: int | None = None
    """Version of the membership when the token was made; the transaction compares it."""
    platform_admin: bool = False

    def to_json(self) -> dict[str, object]:
        claims: dict[str, object] = {"sub": str(self.sub), "sid": str(self.sid), "exp": self.exp}
        if self.tid is not None and self.role is not None and self.mv is not None:
            claims |= {"tid": str(self.tid), "role": self.role.name.lower(), "mv": self.mv}
        if self.platform_admin:
            claims["platform_admin"] = True
        return claims


_ROLES = {role.name.lower(): role for role in Role}


def access_verifier(keys: KeySet, *, issuer: str, audience: str, max_lifetime: int = 300) -> Verifier[AccessClaims]:
    return Verifier(
        keys,
        issuer=issuer,
        audience=audience,
        typ=ACCESS_TYP,
        parse=_access_claims,
        max_lifetime=max_lifetime,
    )


def sign_access(signer: Signer, claims: AccessClaims, *, issuer: str, audience: str) -> str:
    """`claims.exp` decides how long it lasts; the verifier's `max_lifetime` bounds it."""
    stamps = {"iss": issuer, "aud": audience, "iat": int(clock.unix())}
    return signer.sign({**stamps, **claims.to_json()}, ACCESS_TYP)


def _access_claims(payload: Json) -> AccessClaims:
    role = payload.get("role")
    tenant = [payload.get(name) is not None for name in ("tid", "role", "mv")]
    admin = payload.get("platform_admin", False)
    if any(tenant) != all(tenant) or not isinstance(admin, bool):
        invalid()
    if role is not None and (not isinstance(role, str) or role not in _ROLES):
        invalid()
    return AccessClaims(
        sub=uuid(payload, "sub"),
        sid=uuid(payload, "sid"),
        exp=integer(payload, "exp"),
        tid=uuid(payload, "tid") if all(tenant) else None,
        role=_ROLES[role] if isinstance(role, str) else None,
        mv=integer(payload, "mv") if all(tenant) else None,
        platform_admin=admin,
    )


def invalid() -> NoReturn:
    raise Unauthenticated(ErrorReason.TOKEN_INVALID, "the token is not valid")


def integer(payload: Json, name: str) -> int:
    value = payload.get(name)
    # True is an int to Python, and a float would be cut in silence.
    if type(value) is not int or not 0 <= value < 2**53:
        invalid()
    return value


def uuid(payload: Json, name: str) -> UUID:
    value = payload.get(name)
    try:
        found = UUID(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or str(found) != value:
        invalid()
    return found


def read_header(token: str) -> dict[str, object]:
    """The header of a token of the right form. Nothing in it is believed yet."""
    if len(token) > MAX_TOKEN or _form(token) is None:
        invalid()
    return _object(token.partition(".")[0])


def _object(segment: str) -> dict[str, object]:
    try:
        value = strict_json.loads(_bytes(segment).decode())
    except (ValueError, RecursionError):
        invalid()
    if not isinstance(value, dict):
        invalid()
    return value


def _bytes(segment: str) -> bytes:
    try:
        return base64url.decode(segment)
    except ValueError:
        invalid()
