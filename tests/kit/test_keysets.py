from __future__ import annotations

from typing import Any

import pytest
from bulkhead_kit import base64url
from bulkhead_kit.keysets import KeySet, parse_jwks, thumbprint, to_jwk
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

KEYS = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(2)]
P384 = ec.generate_private_key(ec.SECP384R1()).public_key()
GOOD: dict[str, Any] = dict(to_jwk("one", KEYS[0]))


@given(st.binary())
def test_base64url_is_read_back(raw: bytes) -> None:
    assert base64url.decode(base64url.encode(raw)) == raw


@pytest.mark.parametrize("text", ["A", "AB==", "AB=", "A B", "AA\n", "A+", "A/", "AAAé", "AC", "=", "!!!!"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        base64url.decode(text)


def test_a_jwks_is_read_back() -> None:
    keys = KeySet({"one": KEYS[0], "two": KEYS[1]})
    again = KeySet.from_jwks(keys.to_jwks())
    assert list(again) == ["one", "two"]
    assert again.get("two") == KEYS[1]
    assert again.get("three") is None


def test_every_change_and_only_a_change_shows_in_the_generation() -> None:
    keys = KeySet({"one": KEYS[0]})
    seen = [keys.generation]
    keys.add("two", KEYS[1].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    seen.append(keys.generation)
    keys.remove("two")
    seen.append(keys.generation)
    keys.replace({"keys": [to_jwk("three", KEYS[1])]})
    seen.append(keys.generation)
    assert len(set(seen)) == 4
    keys.add("three", KEYS[1])
    keys.remove("nothing")
    keys.replace(keys.to_jwks())
    assert keys.generation == seen[-1]


def test_a_name_keeps_its_key() -> None:
    keys = KeySet({"one": KEYS[0]})
    with pytest.raises(ValueError, match="named 'one' already"):
        keys.add("one", KEYS[1])
    assert keys.get("one") == KEYS[0]


def test_other_curves_and_odd_names_are_refused() -> None:
    with pytest.raises(ValueError, match="P-256"):
        KeySet({"one": P384})
    with pytest.raises(ValueError, match="P-256"):
        KeySet().add("one", P384.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for kid in ("", "a b", "a\n", "é", "x" * 101):
        with pytest.raises(ValueError, match="well-named"):
            KeySet({kid: KEYS[0]})


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": None},
        {"keys": {"one": GOOD}},
        {"keys": ["one"]},
        {"keys": [GOOD, GOOD]},
        {"keys": [{**GOOD, "d": "AAAA"}]},
        {"keys": [{**GOOD, "kty": "RSA"}]},
        {"keys": [{**GOOD, "kty": "oct", "k": "AAAA"}]},
        {"keys": [without("kty")]},
        {"keys": [{**GOOD, "crv": "P-384"}]},
        {"keys": [{**GOOD, "alg": "none"}]},
        {"keys": [{**GOOD, "use": "enc"}]},
        {"keys": [without("kid")]},
        {"keys": [{**GOOD, "kid": 1}]},
        {"keys": [{**GOOD, "kid": "a b"}]},
        {"keys": [without("x")]},
        {"keys": [{**GOOD, "y": None}]},
        {"keys": [{**GOOD, "x": GOOD["y"]}]},  # not on the curve
        {"keys": [{**GOOD, "x": "AA=="}]},
        {"keys": [{**GOOD, "x": base64url.encode(bytes(100))}]},
    ],
)
def test_a_wrong_jwks_changes_nothing(jwks: dict[str, Any]) -> None:
    keys = KeySet({"old": KEYS[1]})
    with pytest.raises(ValueError, match=r".+"):
        keys.replace(jwks)
    assert list(keys) == ["old"]


def test_alg_and_use_may_be_left_out() -> None:
    assert parse_jwks({"keys": [{key: GOOD[key] for key in ("kty", "crv", "kid", "x", "y")}]}) == {"one": KEYS[0]}


def test_thumbprints_follow_rfc_7638_and_tell_keys_apart() -> None:
    assert thumbprint(KEYS[0]) != thumbprint(KEYS[1])
    assert len(base64url.decode(thumbprint(KEYS[0]))) == 16
