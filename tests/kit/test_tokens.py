from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import grpc
import jwt
import pytest
from bulkhead_kit import base64url, clock
from bulkhead_kit.caller import Role
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.tokens import AccessClaims, Signer, access_verifier, sign_access
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NOW = 1_800_000_000
KID, STRANGER_KID = "access:one", "access:stranger"
ISSUER, AUDIENCE = "https://identity.example", "bulkhead"


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


KEY, STRANGER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
SIGNER = Signer(private_pem(KEY), KID)
HEADER: dict[str, Any] = {"alg": "ES256", "typ": "at+jwt", "kid": KID}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "0190163d-8694-739b-aea5-966c26f8ad91",
    "sid": "0190163d-8694-739b-aea5-966c26f8ad92",
    "tid": "0190163d-8694-739b-aea5-966c26f8ad93",
    "role": "member",
    "mv": 7,
    "iat": NOW,
    "exp": NOW + 300,
}


@pytest.fixture(autouse=True)
def hands() -> Iterator[clock.ManualClock]:
    manual = clock.ManualClock(datetime.fromtimestamp(NOW, UTC))
    with clock.replaced(manual):
        yield manual


def verifier(keys: KeySet | None = None) -> Any:
    return access_verifier(keys or KeySet({KID: KEY.public_key()}), issuer=ISSUER, audience=AUDIENCE)


def segment(value: object) -> str:
    return base64url.encode(value if isinstance(value, bytes) else json.dumps(value).encode())


def signed(header: object, payload: object, key: Any = KEY) -> str:
    text = f"{segment(header)}.{segment(payload)}"
    return f"{text}.{base64url.encode(jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(text.encode(), key))}"  # noqa: E501 - one token


def with_header(**changes: object) -> str:
    return signed({name: value for name, value in {**HEADER, **changes}.items() if value is not ...}, CLAIMS)


def with_claims(**changes: object) -> str:
    return signed(HEADER, {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...})


def hs256(secret: bytes, **header: object) -> str:
    text = f"{segment({**HEADER, 'alg': 'HS256', **header})}.{segment(CLAIMS)}"
    return f"{text}.{base64url.encode(hmac.digest(secret, text.encode(), sha256))}"


def raw_header(text: str) -> str:
    return signed(text.encode(), CLAIMS)


def raw_payload(text: str) -> str:
    return signed(HEADER, text.encode())


GOOD = signed(HEADER, CLAIMS)
HEAD, BODY, SIGNATURE = GOOD.split(".")
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
JWK = KeySet({KID: STRANGER.public_key()}).to_jwks()["keys"][0]
P384 = ec.generate_private_key(ec.SECP384R1())
RS256 = jwt.encode(CLAIMS, rsa.generate_private_key(65537, 2048), "RS256", {"typ": "at+jwt", "kid": KID})
EDDSA = jwt.encode(CLAIMS, ed25519.Ed25519PrivateKey.generate(), "EdDSA", {"typ": "at+jwt", "kid": KID})
ES384 = jwt.encode(CLAIMS, P384, "ES384", {"typ": "at+jwt", "kid": KID})
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
JSON_BODY = json.dumps(CLAIMS)

FORGED: dict[str, str] = {
    # no signature, or one of another kind
    "empty": "",
    "one dot": ".",
    "two dots": "..",
    "no signature": f"{HEAD}.{BODY}.",
    "signature cut off": f"{HEAD}.{BODY}",
    "alg none, unsigned": f"{segment({**HEADER, 'alg': 'none'})}.{BODY}.",
    "alg none, old signature": f"{segment({**HEADER, 'alg': 'none'})}.{BODY}.{SIGNATURE}",
    "alg None": with_header(alg="None"),
    "alg NONE": with_header(alg="NONE"),
    "alg empty": with_header(alg=""),
    "alg null": with_header(alg=None),
    "alg missing": with_header(alg=...),
    "alg es256": with_header(alg="es256"),
    "alg ES256K": with_header(alg="ES256K"),
    "alg list": with_header(alg=["ES256"]),
    "alg number": with_header(alg=256),
    "HS256 with the public PEM": hs256(PUBLIC_PEM),
    "HS256 with the public key's bytes": hs256(
        KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    ),
    "HS256 with an empty secret": hs256(b""),
    "HS256 padded to the length of ES256": hs256(PUBLIC_PEM) + "A" * 43,
    "HS512 called ES256": f"{HEAD}.{BODY}.{base64url.encode(hmac.digest(PUBLIC_PEM, f'{HEAD}.{BODY}'.encode(), 'sha512'))}",  # noqa: E501 - one token
    "RS256": RS256,
    "EdDSA": EDDSA,
    "ES384": ES384,
    "ES384 called ES256": f"{HEAD}.{BODY}.{ES384.split('.')[2]}",
    "signed by a stranger": signed(HEADER, CLAIMS, STRANGER),
    "zero signature": f"{HEAD}.{BODY}.{'A' * 86}",
    "r and s small": f"{HEAD}.{BODY}.{base64url.encode(bytes(31) + b'1' + bytes(31) + b'1')}",
    "r = 0": f"{HEAD}.{BODY}.{base64url.encode(bytes(32) + base64url.decode(SIGNATURE)[32:])}",
    "s = 0": f"{HEAD}.{BODY}.{base64url.encode(base64url.decode(SIGNATURE)[:32] + bytes(32))}",
    "r = s = order": f"{HEAD}.{BODY}.{base64url.encode(ORDER.to_bytes(32, 'big') * 2)}",
    "r = s = 2^256-1": f"{HEAD}.{BODY}.{base64url.encode(bytes([255]) * 64)}",
    "DER signature": f"{HEAD}.{BODY}.{base64url.encode(KEY.sign(f'{HEAD}.{BODY}'.encode(), ec.ECDSA(SHA256())))}",
    "signature of another token": f"{HEAD}.{BODY}.{with_claims(role='owner').split('.')[2]}",
    "signature of the payload only": f"{HEAD}.{BODY}.{base64url.encode(jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(BODY.encode(), KEY))}",  # noqa: E501 - one token
    # keys
    "kid missing": with_header(kid=...),
    "kid empty": with_header(kid=""),
    "kid null": with_header(kid=None),
    "kid number": with_header(kid=0),
    "kid list": with_header(kid=[KID]),
    "kid object": with_header(kid={"kid": KID}),
    "kid unknown": with_header(kid="access:two"),
    "kid in another case": with_header(kid=KID.upper()),
    "kid with a blank": with_header(kid=KID + " "),
    "kid with NUL": with_header(kid=KID + "\x00"),
    "kid with a path": with_header(kid="../../../dev/null"),
    "kid with SQL": with_header(kid="x' union select 'secret"),
    "kid of a stranger, her signature": signed({**HEADER, "kid": STRANGER_KID}, CLAIMS, STRANGER),
    "jwk": signed({**HEADER, "jwk": JWK}, CLAIMS, STRANGER),
    "jwk, right signature": with_header(jwk=JWK),
    "jku": with_header(jku="https://evil.example/jwks.json"),
    "x5u": with_header(x5u="https://evil.example/cert.pem"),
    "x5c": with_header(x5c=["MIIB"]),
    "x5t": with_header(x5t="abc"),
    "crit": with_header(crit=["exp"]),
    "crit empty": with_header(crit=[]),
    "crit unknown": with_header(crit=["http://example/UNDEFINED"], **{"http://example/UNDEFINED": True}),
    "b64 false": with_header(b64=False, crit=["b64"]),
    "b64 true": with_header(b64=True),
    "zip": with_header(zip="DEF"),
    "cty": with_header(cty="JWT"),
    "unknown header": with_header(extra=1),
    # type
    "typ missing": with_header(typ=...),
    "typ null": with_header(typ=None),
    "typ JWT": with_header(typ="JWT"),
    "typ of a service token": with_header(typ="svc+jwt"),
    "typ in another case": with_header(typ="AT+JWT"),
    "typ with application/": with_header(typ="application/at+jwt"),
    "typ list": with_header(typ=["at+jwt"]),
    # spelling
    "blank before": " " + GOOD,
    "newline after": GOOD + "\n",
    "four segments": GOOD + ".AAAA",
    "five segments, as JWE": GOOD + ".AAAA.AAAA",
    "leading dot": "." + GOOD,
    "padding": GOOD + "==",
    "padding in the header": f"{HEAD}==.{BODY}.{SIGNATURE}",
    "standard alphabet": GOOD.replace("-", "+").replace("_", "/")
    + ("+" if "-" not in GOOD and "_" not in GOOD else ""),
    "junk character": f"{HEAD}.{BODY[:10]}!{BODY[10:]}.{SIGNATURE}",
    "line break within": f"{HEAD}.{BODY[:10]}\n{BODY[10:]}.{SIGNATURE}",
    "stray bits at the end": GOOD[:-1] + ("B" if GOOD[-1] == "A" else chr(ord(GOOD[-1]) + 1)),
    "beyond ASCII": GOOD[:-1] + "é",
    "full-width dot": f"{HEAD}．{BODY}.{SIGNATURE}",
    "Bearer kept": "Bearer " + GOOD,
    "one byte of payload changed": f"{HEAD}.{segment({**CLAIMS, 'role': 'owner'})}.{SIGNATURE}",
    "over 4 KB": with_claims(filler="x" * 4096),
    "much over 4 KB": "A" * 1_000_000 + "." + BODY + "." + SIGNATURE,
    # JSON
    "header not JSON": raw_header("{alg:ES256}"),
    "header a list": raw_header('[["alg","ES256"]]'),
    "header a string": raw_header('"ES256"'),
    "header null": raw_header("null"),
    "header empty object": raw_header("{}"),
    "header with BOM": raw_header("\ufeff" + json.dumps(HEADER)),
    "header in UTF-16": signed(json.dumps(HEADER).encode("utf-16"), CLAIMS),
    "header not UTF-8": signed(json.dumps(HEADER).encode() + b"\xff", CLAIMS),
    "header nested 1,000 deep": raw_header('{"a":' + "[" * 1000 + "]" * 1000 + "}"),
    "header followed by more": raw_header(json.dumps(HEADER) + "{}"),
    "alg twice, right one last": raw_header('{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"' + KID + '"}'),
    "alg twice, right one first": raw_header('{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"' + KID + '"}'),
    "alg twice alike": raw_header('{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"' + KID + '"}'),
    "kid twice": raw_header('{"alg":"ES256","typ":"at+jwt","kid":"' + KID + '","kid":"' + KID + '"}'),
    "alg twice, once escaped": raw_header('{"alg":"ES256","al\\u0067":"ES256","typ":"at+jwt","kid":"' + KID + '"}'),
    "payload not JSON": raw_payload("hello"),
    "payload a list": raw_payload("[]"),
    "payload empty object": raw_payload("{}"),
    "payload nested 1,000 deep": raw_payload(JSON_BODY[:-1] + ',"a":' + "[" * 1000 + "]" * 1000 + "}"),
    "payload with NaN": raw_payload(JSON_BODY[:-1] + ',"a":NaN}'),
    "payload with Infinity": raw_payload(JSON_BODY[:-1] + ',"a":Infinity}'),
    "payload cut": raw_payload(JSON_BODY[:-1]),
    "payload followed by more": raw_payload(JSON_BODY + JSON_BODY),
    "role twice": raw_payload(JSON_BODY[:-1] + ',"role":"owner"}'),
    "tid twice alike": raw_payload(JSON_BODY[:-1] + f',"tid":"{CLAIMS["tid"]}"}}'),
    "a nested member twice": raw_payload(JSON_BODY[:-1] + ',"a":{"b":1,"b":1}}'),
    # issuer and audience
    "iss missing": with_claims(iss=...),
    "iss null": with_claims(iss=None),
    "iss list": with_claims(iss=[ISSUER]),
    "iss wrong": with_claims(iss="https://evil.example"),
    "iss with a slash more": with_claims(iss=ISSUER + "/"),
    "iss in another case": with_claims(iss=ISSUER.upper()),
    "aud missing": with_claims(aud=...),
    "aud null": with_claims(aud=None),
    "aud wrong": with_claims(aud="other"),
    "aud a prefix": with_claims(aud=AUDIENCE[:-1]),
    "aud longer": with_claims(aud=AUDIENCE + "2"),
    "aud a list with the right one": with_claims(aud=[AUDIENCE]),
    "aud a list with both": with_claims(aud=["other", AUDIENCE]),
    "aud an object": with_claims(aud={AUDIENCE: True}),
    "aud of a service": with_claims(aud="audit"),
    # times
    "exp missing": with_claims(exp=...),
    "exp null": with_claims(exp=None),
    "exp a text": with_claims(exp=str(NOW + 300)),
    "exp a fraction": with_claims(exp=NOW + 0.5),
    "exp true": with_claims(exp=True),
    "exp negative": with_claims(exp=-1),
    "exp huge": with_claims(exp=2**63),
    "exp of 4,000 digits": raw_payload(JSON_BODY.replace(str(NOW + 300), "9" * 2000)),
    "exp 1e400": raw_payload(JSON_BODY.replace(str(NOW + 300), "1e400")),
    "exp before iat": with_claims(exp=NOW - 1),
    "exp at iat": with_claims(exp=NOW),
    "lives too long": with_claims(exp=NOW + 301),
    "lives too long, backdated": with_claims(iat=NOW - 200, exp=NOW + 101),
    "iat missing": with_claims(iat=...),
    "iat a text": with_claims(iat=str(NOW)),
    "iat true": with_claims(iat=True),
    "iat in the future": with_claims(iat=NOW + 31, exp=NOW + 200),
    "nbf in the future": with_claims(nbf=NOW + 31),
    "nbf a text": with_claims(nbf=str(NOW)),
    "nbf null": with_claims(nbf=None),
    # who
    "sub missing": with_claims(sub=...),
    "sub empty": with_claims(sub=""),
    "sub number": with_claims(sub=1),
    "sub not a UUID": with_claims(sub="admin"),
    "sub in braces": with_claims(sub="{" + CLAIMS["sub"] + "}"),
    "sub in upper case": with_claims(sub=CLAIMS["sub"].upper()),
    "sub a list": with_claims(sub=[CLAIMS["sub"]]),
    "sid missing": with_claims(sid=...),
    "sid not a UUID": with_claims(sid="1"),
    "tid not a UUID": with_claims(tid="*"),
    "tid a list": with_claims(tid=[CLAIMS["tid"]]),
    "tid empty": with_claims(tid=""),
    "tid without role": with_claims(role=..., mv=...),
    "tid without mv": with_claims(mv=...),
    "role without tid": with_claims(tid=..., mv=...),
    "mv without tid": with_claims(tid=..., role=...),
    "role unknown": with_claims(role="root"),
    "role in upper case": with_claims(role="OWNER"),
    "role a number": with_claims(role=5),
    "role a list": with_claims(role=["owner"]),
    "mv a text": with_claims(mv="7"),
    "mv true": with_claims(mv=True),
    "mv negative": with_claims(mv=-7),
    "mv a fraction": with_claims(mv=7.5),
    "platform_admin a text": with_claims(platform_admin="true"),
    "platform_admin 1": with_claims(platform_admin=1),
    "platform_admin null": with_claims(platform_admin=None),
}


def outcome(check: Callable[[str], object], token: str) -> tuple[object, ...]:
    with pytest.raises(Unauthenticated) as caught:
        check(token)
    error = caught.value
    return error.code, error.reason_name, error.message, error.metadata, error.violations, error.retry_after


REFUSED: tuple[object, ...] = (
    grpc.StatusCode.UNAUTHENTICATED,
    "TOKEN_INVALID",
    "the token is not valid",
    {},
    (),
    None,
)


def test_the_good_twin_of_the_forged_tokens_is_taken() -> None:
    claims = verifier().verify(GOOD)
    assert claims == AccessClaims(
        sub=UUID(CLAIMS["sub"]),
        sid=UUID(CLAIMS["sid"]),
        tid=UUID(CLAIMS["tid"]),
        role=Role.MEMBER,
        mv=7,
        exp=NOW + 300,
    )
    assert len(FORGED) >= 120


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_is_refused_like_every_other(token: str) -> None:
    check = verifier()
    assert outcome(check.verify, token) == REFUSED
    # A good token before or after makes no difference.
    check.verify(GOOD)
    assert outcome(check.verify, token) == REFUSED


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_every_changed_character_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    other = data.draw(st.sampled_from("ABCXYZabcxyz0189-_.+/= \n").filter(lambda one: one != GOOD[at]))
    assert outcome(verifier().verify, GOOD[:at] + other + GOOD[at + 1 :]) == REFUSED


def test_every_cut_is_noticed() -> None:
    check = verifier()
    assert {outcome(check.verify, GOOD[:end])[1] for end in range(len(GOOD))} == {"TOKEN_INVALID"}


def test_an_expired_token_says_so_and_only_when_it_was_real(hands: clock.ManualClock) -> None:
    hands.advance(329.5)
    assert verifier().verify(GOOD).mv == 7  # within the skew
    hands.advance(0.5)
    assert outcome(verifier().verify, GOOD)[1:3] == ("TOKEN_EXPIRED", "the token has expired: refresh it")
    assert outcome(verifier().verify, signed(HEADER, CLAIMS, STRANGER)) == REFUSED
    assert outcome(verifier().verify, with_claims(aud="other")) == REFUSED


def test_clocks_may_differ_by_30_seconds() -> None:
    assert verifier().verify(with_claims(iat=NOW + 30, nbf=NOW + 30)).exp == NOW + 300


def test_a_token_without_a_tenant_and_an_admins_token() -> None:
    claims = verifier().verify(with_claims(tid=..., role=..., mv=..., platform_admin=True))
    assert (claims.tid, claims.role, claims.mv, claims.platform_admin) == (None, None, None, True)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("admin", [True, False])
def test_what_is_signed_is_read_back(role: Role, admin: bool) -> None:
    claims = AccessClaims(
        sub=UUID(int=1), sid=UUID(int=2), exp=NOW + 60, tid=UUID(int=3), role=role, mv=1, platform_admin=admin
    )
    assert verifier().verify(sign_access(SIGNER, claims, issuer=ISSUER, audience=AUDIENCE)) == claims
    user = AccessClaims(sub=UUID(int=1), sid=UUID(int=2), exp=NOW + 60)
    assert verifier().verify(sign_access(SIGNER, user, issuer=ISSUER, audience=AUDIENCE)) == user


def test_a_verified_token_is_remembered_and_never_beyond_its_end(hands: clock.ManualClock) -> None:
    check = verifier()
    first = check.verify(GOOD)
    assert check.recall(GOOD) is first
    assert check.verify(GOOD) is first
    hands.advance(299.9)
    assert check.recall(GOOD) is first
    hands.advance(0.1)
    assert check.recall(GOOD) is None
    assert check.verify(GOOD) is not first  # within the skew, verified again
    assert check.recall(GOOD) is None
    hands.advance(30)
    assert outcome(check.verify, GOOD)[1] == "TOKEN_EXPIRED"


def test_a_removed_key_ends_what_is_remembered() -> None:
    keys = KeySet({KID: KEY.public_key()})
    check = verifier(keys)
    check.verify(GOOD)
    keys.remove(KID)
    assert check.recall(GOOD) is None
    assert outcome(check.verify, GOOD) == REFUSED


def test_rotation_loses_no_token() -> None:
    keys = KeySet({KID: KEY.public_key()})
    check = verifier(keys)
    new = signed({**HEADER, "kid": "access:new"}, CLAIMS, STRANGER)
    assert outcome(check.verify, new) == REFUSED
    keys.add("access:new", STRANGER.public_key())
    assert check.verify(new).mv == check.verify(GOOD).mv == 7
    keys.remove(KID)
    assert check.verify(new).mv == 7
    assert outcome(check.verify, GOOD) == REFUSED


def test_the_memory_is_bounded_and_keeps_what_is_used() -> None:
    check = access_verifier(KeySet({KID: KEY.public_key()}), issuer=ISSUER, audience=AUDIENCE)
    check._remember = 3
    tokens = [with_claims(mv=version) for version in range(4)]
    for token in tokens[:3]:
        check.verify(token)
    check.verify(tokens[0])
    check.verify(tokens[3])
    assert [check.recall(token) is not None for token in tokens] == [True, False, True, True]


def test_a_signer_takes_p256_only() -> None:
    assert load_pem_private_key(private_pem(P384), None)
    for pem in (private_pem(P384), private_pem(rsa.generate_private_key(65537, 2048)), b"no key"):
        with pytest.raises(ValueError, match=r".+"):
            Signer(pem, "x")
