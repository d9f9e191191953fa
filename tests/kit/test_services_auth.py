from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import grpc
import pytest
from bulkhead_kit import clock
from bulkhead_kit.errors import PermissionDenied, Unauthenticated
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.services_auth import (
    SERVICE_TYP,
    Authenticator,
    ServiceAllowList,
    ServiceClaims,
    ServiceTokens,
    service_verifier,
)
from bulkhead_kit.tokens import AccessClaims, Signer, access_verifier, sign_access
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NOW = 1_800_000_000
TENANT = UUID("0190163d-8694-739b-aea5-966c26f8ad93")


@pytest.fixture(autouse=True)
def hands() -> Iterator[clock.ManualClock]:
    manual = clock.ManualClock(datetime.fromtimestamp(NOW, UTC))
    with clock.replaced(manual):
        yield manual


def signer(kid: str) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), kid)


ISSUES, IDENTITY, ACCESS = signer("issues:1"), signer("identity:1"), signer("access:1")
SERVICE_KEYS = KeySet({one.kid: one.public_key() for one in (ISSUES, IDENTITY)})
ACCESS_KEYS = KeySet({ACCESS.kid: ACCESS.public_key()})
GOOD = {"iss": "issues", "aud": "audit", "iat": NOW, "exp": NOW + 60}


def test_a_token_says_which_service_calls_and_for_which_tenant() -> None:
    tokens = ServiceTokens("issues", ISSUES)
    check = service_verifier(SERVICE_KEYS, audience="audit")
    assert check.verify(tokens.token("audit")) == ServiceClaims("issues", NOW + 60, None)
    assert check.verify(tokens.token("audit", TENANT)) == ServiceClaims("issues", NOW + 60, TENANT)


def test_a_token_is_used_again_until_ten_seconds_before_its_end(hands: clock.ManualClock) -> None:
    tokens = ServiceTokens("issues", ISSUES)
    first = tokens.token("audit", TENANT)
    assert tokens.token("audit") != first
    assert tokens.token("identity", TENANT) != first
    hands.advance(49)
    assert tokens.token("audit", TENANT) == first
    hands.advance(1)
    second = tokens.token("audit", TENANT)
    assert second != first
    assert service_verifier(SERVICE_KEYS, audience="audit").verify(second).exp == NOW + 110


def test_tokens_of_many_tenants_do_not_pile_up() -> None:
    tokens = ServiceTokens("issues", ISSUES)
    for number in range(1100):
        tokens.token("audit", UUID(int=number))
    assert len(tokens._kept) == 1024


def test_a_service_signs_with_its_own_key_only() -> None:
    with pytest.raises(ValueError, match="does not belong to issues"):
        ServiceTokens("issues", IDENTITY)


@pytest.mark.parametrize(
    "token",
    [
        ISSUES.sign({**GOOD, "iss": "identity"}, SERVICE_TYP),  # speaks for another
        IDENTITY.sign(GOOD, SERVICE_TYP),
        ISSUES.sign({**GOOD, "iss": "issues:1"}, SERVICE_TYP),
        ISSUES.sign({**GOOD, "iss": ""}, SERVICE_TYP),
        ISSUES.sign({**GOOD, "aud": "identity"}, SERVICE_TYP),  # caught by one service, shown to the next
        ISSUES.sign({**GOOD, "aud": ["audit"]}, SERVICE_TYP),
        ISSUES.sign({**GOOD, "exp": NOW + 61}, SERVICE_TYP),
        ISSUES.sign({**GOOD, "tid": "all"}, SERVICE_TYP),
        ISSUES.sign({**GOOD, "tid": None}, SERVICE_TYP),
        ISSUES.sign(GOOD, "at+jwt"),
        ISSUES.sign(GOOD, "JWT"),
        ACCESS.sign(GOOD, SERVICE_TYP),  # identity's key for people
        signer("issues:1").sign(GOOD, SERVICE_TYP),
        signer(":1").sign({**GOOD, "iss": ""}, SERVICE_TYP),
    ],
)
def test_a_forged_service_token_is_refused(token: str) -> None:
    check = service_verifier(SERVICE_KEYS, audience="audit")
    assert check.verify(ISSUES.sign(GOOD, SERVICE_TYP)).service == "issues"
    with pytest.raises(Unauthenticated) as caught:
        check.verify(token)
    assert (caught.value.reason_name, caught.value.message) == ("TOKEN_INVALID", "the token is not valid")


def authenticator() -> Authenticator:
    return Authenticator(
        access_verifier(ACCESS_KEYS, issuer="identity", audience="bulkhead"),
        service_verifier(SERVICE_KEYS, audience="audit"),
    )


def test_people_and_services_are_told_apart_and_each_key_stays_on_its_side() -> None:
    both = authenticator()
    person = AccessClaims(sub=UUID(int=1), sid=UUID(int=2), exp=NOW + 60)
    for _ in range(2):
        assert both.verify(sign_access(ACCESS, person, issuer="identity", audience="bulkhead")) == person
        assert both.verify(ServiceTokens("issues", ISSUES).token("audit")) == ServiceClaims("issues", NOW + 60)
    # A service that signs itself a person's token, and identity's key used for a service's.
    for forged in (
        sign_access(ISSUES, person, issuer="identity", audience="bulkhead"),
        ACCESS.sign({**GOOD, "iss": "access"}, SERVICE_TYP),
        "bh_something",
        "",
    ):
        with pytest.raises(Unauthenticated, match="the token is not valid"):
            both.verify(forged)


def test_an_expired_service_token_says_so(hands: clock.ManualClock) -> None:
    token = ServiceTokens("issues", ISSUES).token("audit")
    hands.advance(90)
    with pytest.raises(Unauthenticated) as caught:
        authenticator().verify(token)
    assert caught.value.reason_name == "TOKEN_EXPIRED"


def test_a_service_calls_what_is_listed_for_it() -> None:
    allowed = ServiceAllowList({"issues": ["a.A/One", "a.A/Two"], "identity": ["a.A/One"]})
    allowed.check("issues", "a.A/Two")
    for service, method in (("identity", "a.A/Two"), ("audit", "a.A/One"), ("", ""), ("issues", "a.A/")):
        assert not allowed.allows(service, method)
        with pytest.raises(PermissionDenied) as caught:
            allowed.check(service, method)
        assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.reason_name == "CALLER_NOT_ALLOWED"


def test_a_listed_method_must_exist() -> None:
    allowed = ServiceAllowList({"issues": ["a.A/One", "a.A/Tow"]})
    with pytest.raises(ValueError, match=r"does not have: a\.A/Tow$"):
        allowed.demand_known(["a.A/One", "a.A/Two"])
    allowed.demand_known(["a.A/One", "a.A/Tow", "a.A/Three"])
