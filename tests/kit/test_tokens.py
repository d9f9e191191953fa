from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc
import pytest
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.tokens import AccessClaims, Signer, access_verifier, sign_access
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.support.forged import P384, STRANGER, Forge

NOW = 1_800_000_000
KID = "access:one"
ISSUER, AUDIENCE = "https://identity.example", "bulkhead"


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER = Signer(private_pem(KEY), KID)
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


FORGE = Forge(KEY, KID, CLAIMS)
GOOD = FORGE.good
FORGED = FORGE.tokens()


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
    assert outcome(verifier().verify, FORGE.signed(FORGE.header, CLAIMS, STRANGER)) == REFUSED
    assert outcome(verifier().verify, FORGE.with_claims(aud="other")) == REFUSED


def test_clocks_may_differ_by_30_seconds() -> None:
    assert verifier().verify(FORGE.with_claims(iat=NOW + 30, nbf=NOW + 30)).exp == NOW + 300


def test_what_is_refused_for_its_time_is_counted_and_the_signers_clock_is_told_of(hands: clock.ManualClock) -> None:
    def counted(how: str) -> float:
        return REGISTRY.get_sample_value("bulkhead_tokens_out_of_time_total", {"how": how}) or 0.0

    before, check = (counted("early"), counted("expired")), verifier()
    hands.advance(3600)
    early = {"iat": NOW + 7200, "exp": NOW + 7500}
    with capture_logs() as logs:
        for _ in range(2):
            assert outcome(check.verify, FORGE.with_claims(**early)) == REFUSED
        assert outcome(check.verify, FORGE.signed(FORGE.header, CLAIMS | early, STRANGER)) == REFUSED
        outcome(check.verify, GOOD)
    assert (counted("early"), counted("expired")) == (before[0] + 2, before[1] + 1)
    assert [entry["kid"] for entry in logs if entry["event"] == "token_from_the_future"] == [KID]
    assert "3600 s from now" in logs[0]["detail"]


def test_a_token_without_a_tenant_and_an_admins_token() -> None:
    claims = verifier().verify(FORGE.with_claims(tid=..., role=..., mv=..., platform_admin=True))
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
    new = FORGE.signed({**FORGE.header, "kid": "access:new"}, CLAIMS, STRANGER)
    assert outcome(check.verify, new) == REFUSED
    keys.add("access:new", STRANGER.public_key())
    assert check.verify(new).mv == check.verify(GOOD).mv == 7
    keys.remove(KID)
    assert check.verify(new).mv == 7
    assert outcome(check.verify, GOOD) == REFUSED


def test_the_memory_is_bounded_and_keeps_what_is_used() -> None:
    check = access_verifier(KeySet({KID: KEY.public_key()}), issuer=ISSUER, audience=AUDIENCE)
    check._remember = 3
    tokens = [FORGE.with_claims(mv=version) for version in range(4)]
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
