"""Forged access tokens of every kind, each one step away from a good one that is made from the same claims."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt
from bulkhead_kit import base64url
from bulkhead_kit.keysets import KeySet
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

STRANGER_KID = "access:stranger"
STRANGER = ec.generate_private_key(ec.SECP256R1())
JWK = KeySet({"access:any": STRANGER.public_key()}).to_jwks()["keys"][0]
P384 = ec.generate_private_key(ec.SECP384R1())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_es256 = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)


class Forge:
    """Who has even the right key, and still must not get through with anything but what the issuer makes."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, kid: str, claims: Mapping[str, Any], *, ahead: int = 31
    ) -> None:
        """`claims` last 300 s; `ahead` are the seconds by which a token of the future is too early."""
        self.key = key
        self.kid = kid
        self.claims = dict(claims)
        self.ahead = ahead
        self.header: dict[str, Any] = {"alg": "ES256", "typ": "at+jwt", "kid": kid}
        self.good = self.signed(self.header, self.claims)

    def signed(self, header: object, payload: object, key: Any = None) -> str:
        text = f"{segment(header)}.{segment(payload)}"
        return f"{text}.{base64url.encode(_es256.sign(text.encode(), key or self.key))}"

    def with_header(self, **changes: object) -> str:
        return self.signed({k: v for k, v in {**self.header, **changes}.items() if v is not ...}, self.claims)

    def with_claims(self, **changes: object) -> str:
        return self.signed(self.header, {k: v for k, v in {**self.claims, **changes}.items() if v is not ...})

    def hs256(self, secret: bytes) -> str:
        text = f"{segment({**self.header, 'alg': 'HS256'})}.{segment(self.claims)}"
        return f"{text}.{base64url.encode(hmac.digest(secret, text.encode(), sha256))}"

    def raw_header(self, text: str) -> str:
        return self.signed(text.encode(), self.claims)

    def raw_payload(self, text: str) -> str:
        return self.signed(self.header, text.encode())

    def by_library(self, algorithm: str, key: Any) -> str:
        return jwt.encode(self.claims, key, algorithm, {"typ": "at+jwt", "kid": self.kid})

    def tokens(self) -> dict[str, str]:
        """By what is wrong with each."""
        return {
            **self._signatures(),
            **self._keys(),
            **self._types(),
            **self._spellings(),
            **self._json(),
            **self._audiences(),
            **self._times(),
            **self._persons(),
        }

    def _signatures(self) -> dict[str, str]:
        head, body, signature = self.good.split(".")
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        es384 = self.by_library("ES384", P384)
        return {
            "empty": "",
            "one dot": ".",
            "two dots": "..",
            "no signature": f"{head}.{body}.",
            "signature cut off": f"{head}.{body}",
            "alg none, unsigned": f"{segment({**self.header, 'alg': 'none'})}.{body}.",
            "alg none, old signature": f"{segment({**self.header, 'alg': 'none'})}.{body}.{signature}",
            "alg None": self.with_header(alg="None"),
            "alg NONE": self.with_header(alg="NONE"),
            "alg empty": self.with_header(alg=""),
            "alg null": self.with_header(alg=None),
            "alg missing": self.with_header(alg=...),
            "alg es256": self.with_header(alg="es256"),
            "alg ES256K": self.with_header(alg="ES256K"),
            "alg list": self.with_header(alg=["ES256"]),
            "alg number": self.with_header(alg=256),
            "HS256 with the public PEM": self.hs256(pem),
            "HS256 with the public key's bytes": self.hs256(
                self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            ),
            "HS256 with an empty secret": self.hs256(b""),
            "HS256 padded to the length of ES256": self.hs256(pem) + "A" * 43,
            "HS512 called ES256": f"{head}.{body}.{base64url.encode(hmac.digest(pem, f'{head}.{body}'.encode(), 'sha512'))}",  # noqa: E501 - one token
            "RS256": self.by_library("RS256", rsa.generate_private_key(65537, 2048)),
            "EdDSA": self.by_library("EdDSA", ed25519.Ed25519PrivateKey.generate()),
            "ES384": es384,
            "ES384 called ES256": f"{head}.{body}.{es384.split('.')[2]}",
            "signed by a stranger": self.signed(self.header, self.claims, STRANGER),
            "zero signature": f"{head}.{body}.{'A' * 86}",
            "r and s small": f"{head}.{body}.{base64url.encode(bytes(31) + b'1' + bytes(31) + b'1')}",
            "r = 0": f"{head}.{body}.{base64url.encode(bytes(32) + base64url.decode(signature)[32:])}",
            "s = 0": f"{head}.{body}.{base64url.encode(base64url.decode(signature)[:32] + bytes(32))}",
            "r = s = order": f"{head}.{body}.{base64url.encode(ORDER.to_bytes(32, 'big') * 2)}",
            "r = s = 2^256-1": f"{head}.{body}.{base64url.encode(bytes([255]) * 64)}",
            "DER signature": f"{head}.{body}.{base64url.encode(self.key.sign(f'{head}.{body}'.encode(), ec.ECDSA(SHA256())))}",  # noqa: E501 - one token
            "signature of another token": f"{head}.{body}.{self.with_claims(role='owner').split('.')[2]}",
            "signature of the payload only": f"{head}.{body}.{base64url.encode(_es256.sign(body.encode(), self.key))}",
        }

    def _keys(self) -> dict[str, str]:
        return {
            "kid missing": self.with_header(kid=...),
            "kid empty": self.with_header(kid=""),
            "kid null": self.with_header(kid=None),
            "kid number": self.with_header(kid=0),
            "kid list": self.with_header(kid=[self.kid]),
            "kid object": self.with_header(kid={"kid": self.kid}),
            "kid unknown": self.with_header(kid="access:two"),
            "kid in another case": self.with_header(kid=self.kid.upper()),
            "kid with a blank": self.with_header(kid=self.kid + " "),
            "kid with NUL": self.with_header(kid=self.kid + "\x00"),
            "kid with a path": self.with_header(kid="../../../dev/null"),
            "kid with SQL": self.with_header(kid="x' union select 'secret"),
            "kid of a stranger, her signature": self.signed(
                {**self.header, "kid": STRANGER_KID}, self.claims, STRANGER
            ),
            "jwk": self.signed({**self.header, "jwk": JWK}, self.claims, STRANGER),
            "jwk, right signature": self.with_header(jwk=JWK),
            "jku": self.with_header(jku="https://evil.example/jwks.json"),
            "x5u": self.with_header(x5u="https://evil.example/cert.pem"),
            "x5c": self.with_header(x5c=["MIIB"]),
            "x5t": self.with_header(x5t="abc"),
            "crit": self.with_header(crit=["exp"]),
            "crit empty": self.with_header(crit=[]),
            "crit unknown": self.with_header(crit=["http://example/UNDEFINED"], **{"http://example/UNDEFINED": True}),
            "b64 false": self.with_header(b64=False, crit=["b64"]),
            "b64 true": self.with_header(b64=True),
            "zip": self.with_header(zip="DEF"),
            "cty": self.with_header(cty="JWT"),
            "unknown header": self.with_header(extra=1),
        }

    def _types(self) -> dict[str, str]:
        return {
            "typ missing": self.with_header(typ=...),
            "typ null": self.with_header(typ=None),
            "typ JWT": self.with_header(typ="JWT"),
            "typ of a service token": self.with_header(typ="svc+jwt"),
            "typ in another case": self.with_header(typ="AT+JWT"),
            "typ with application/": self.with_header(typ="application/at+jwt"),
            "typ list": self.with_header(typ=["at+jwt"]),
        }

    def _spellings(self) -> dict[str, str]:
        head, body, signature = self.good.split(".")
        return {
            "blank before": " " + self.good,
            "newline after": self.good + "\n",
            "four segments": self.good + ".AAAA",
            "five segments, as JWE": self.good + ".AAAA.AAAA",
            "leading dot": "." + self.good,
            "padding": self.good + "==",
            "padding in the header": f"{head}==.{body}.{signature}",
            "standard alphabet": self.good.replace("-", "+").replace("_", "/")
            + ("+" if "-" not in self.good and "_" not in self.good else ""),
            "junk character": f"{head}.{body[:10]}!{body[10:]}.{signature}",
            "line break within": f"{head}.{body[:10]}\n{body[10:]}.{signature}",
            "stray bits at the end": self.good[:-1] + ("B" if self.good[-1] == "A" else chr(ord(self.good[-1]) + 1)),
            "beyond ASCII": self.good[:-1] + "é",
            "full-width dot": f"{head}．{body}.{signature}",
            "Bearer kept": "Bearer " + self.good,
            "one byte of payload changed": f"{head}.{segment({**self.claims, 'role': 'owner'})}.{signature}",
            "over 4 KB": self.with_claims(filler="x" * 4096),
            "much over 4 KB": "A" * 1_000_000 + "." + body + "." + signature,
        }

    def _json(self) -> dict[str, str]:
        text = json.dumps(self.claims)
        return {
            "header not JSON": self.raw_header("{alg:ES256}"),
            "header a list": self.raw_header('[["alg","ES256"]]'),
            "header a string": self.raw_header('"ES256"'),
            "header null": self.raw_header("null"),
            "header empty object": self.raw_header("{}"),
            "header with BOM": self.raw_header("\ufeff" + json.dumps(self.header)),
            "header in UTF-16": self.signed(json.dumps(self.header).encode("utf-16"), self.claims),
            "header not UTF-8": self.signed(json.dumps(self.header).encode() + b"\xff", self.claims),
            "header nested 1,000 deep": self.raw_header('{"a":' + "[" * 1000 + "]" * 1000 + "}"),
            "header followed by more": self.raw_header(json.dumps(self.header) + "{}"),
            "alg twice, right one last": self.raw_header(
                '{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"' + self.kid + '"}'
            ),
            "alg twice, right one first": self.raw_header(
                '{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"' + self.kid + '"}'
            ),
            "alg twice alike": self.raw_header('{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"' + self.kid + '"}'),
            "kid twice": self.raw_header(
                '{"alg":"ES256","typ":"at+jwt","kid":"' + self.kid + '","kid":"' + self.kid + '"}'
            ),
            "alg twice, once escaped": self.raw_header(
                '{"alg":"ES256","al\\u0067":"ES256","typ":"at+jwt","kid":"' + self.kid + '"}'
            ),
            "payload not JSON": self.raw_payload("hello"),
            "payload a list": self.raw_payload("[]"),
            "payload empty object": self.raw_payload("{}"),
            "payload nested 1,000 deep": self.raw_payload(text[:-1] + ',"a":' + "[" * 1000 + "]" * 1000 + "}"),
            "payload with NaN": self.raw_payload(text[:-1] + ',"a":NaN}'),
            "payload with Infinity": self.raw_payload(text[:-1] + ',"a":Infinity}'),
            "payload cut": self.raw_payload(text[:-1]),
            "payload followed by more": self.raw_payload(text + text),
            "role twice": self.raw_payload(text[:-1] + ',"role":"owner"}'),
            "tid twice alike": self.raw_payload(text[:-1] + f',"tid":"{self.claims["tid"]}"}}'),
            "a nested member twice": self.raw_payload(text[:-1] + ',"a":{"b":1,"b":1}}'),
        }

    def _audiences(self) -> dict[str, str]:
        issuer, audience = str(self.claims["iss"]), str(self.claims["aud"])
        return {
            "iss missing": self.with_claims(iss=...),
            "iss null": self.with_claims(iss=None),
            "iss list": self.with_claims(iss=[issuer]),
            "iss wrong": self.with_claims(iss="https://evil.example"),
            "iss with a slash more": self.with_claims(iss=issuer + "/"),
            "iss in another case": self.with_claims(iss=issuer.upper()),
            "aud missing": self.with_claims(aud=...),
            "aud null": self.with_claims(aud=None),
            "aud wrong": self.with_claims(aud="other"),
            "aud a prefix": self.with_claims(aud=audience[:-1]),
            "aud longer": self.with_claims(aud=audience + "2"),
            "aud a list with the right one": self.with_claims(aud=[audience]),
            "aud a list with both": self.with_claims(aud=["other", audience]),
            "aud an object": self.with_claims(aud={audience: True}),
            "aud of a service": self.with_claims(aud="audit"),
        }

    def _times(self) -> dict[str, str]:
        now = int(self.claims["iat"])
        text = json.dumps(self.claims)
        return {
            "exp missing": self.with_claims(exp=...),
            "exp null": self.with_claims(exp=None),
            "exp a text": self.with_claims(exp=str(now + 300)),
            "exp a fraction": self.with_claims(exp=now + 0.5),
            "exp true": self.with_claims(exp=True),
            "exp negative": self.with_claims(exp=-1),
            "exp huge": self.with_claims(exp=2**63),
            "exp of 4,000 digits": self.raw_payload(text.replace(str(now + 300), "9" * 2000)),
            "exp 1e400": self.raw_payload(text.replace(str(now + 300), "1e400")),
            "exp before iat": self.with_claims(exp=now - 1),
            "exp at iat": self.with_claims(exp=now),
            "lives too long": self.with_claims(exp=now + 301),
            "lives too long, backdated": self.with_claims(iat=now - 200, exp=now + 101),
            "iat missing": self.with_claims(iat=...),
            "iat a text": self.with_claims(iat=str(now)),
            "iat true": self.with_claims(iat=True),
            "iat in the future": self.with_claims(iat=now + self.ahead, exp=now + self.ahead + 200),
            "nbf in the future": self.with_claims(nbf=now + self.ahead),
            "nbf a text": self.with_claims(nbf=str(now)),
            "nbf null": self.with_claims(nbf=None),
        }

    def _persons(self) -> dict[str, str]:
        return {
            "sub missing": self.with_claims(sub=...),
            "sub empty": self.with_claims(sub=""),
            "sub number": self.with_claims(sub=1),
            "sub not a UUID": self.with_claims(sub="admin"),
            "sub in braces": self.with_claims(sub="{" + self.claims["sub"] + "}"),
            "sub in upper case": self.with_claims(sub=self.claims["sub"].upper()),
            "sub a list": self.with_claims(sub=[self.claims["sub"]]),
            "sid missing": self.with_claims(sid=...),
            "sid not a UUID": self.with_claims(sid="1"),
            "tid not a UUID": self.with_claims(tid="*"),
            "tid a list": self.with_claims(tid=[self.claims["tid"]]),
            "tid empty": self.with_claims(tid=""),
            "tid without role": self.with_claims(role=..., mv=...),
            "tid without mv": self.with_claims(mv=...),
            "role without tid": self.with_claims(tid=..., mv=...),
            "mv without tid": self.with_claims(tid=..., role=...),
            "role unknown": self.with_claims(role="root"),
            "role in upper case": self.with_claims(role="OWNER"),
            "role a number": self.with_claims(role=5),
            "role a list": self.with_claims(role=["owner"]),
            "mv a text": self.with_claims(mv="7"),
            "mv true": self.with_claims(mv=True),
            "mv negative": self.with_claims(mv=-7),
            "mv a fraction": self.with_claims(mv=7.5),
            "platform_admin a text": self.with_claims(platform_admin="true"),
            "platform_admin 1": self.with_claims(platform_admin=1),
            "platform_admin null": self.with_claims(platform_admin=None),
        }


def segment(value: object) -> str:
    return base64url.encode(value if isinstance(value, bytes) else json.dumps(value).encode())
