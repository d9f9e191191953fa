"""Forged tokens against the running services: whoever made one, even with the right key, nobody gets in."""

from __future__ import annotations

import grpc.aio
import pytest
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.keyfiles import ACCESS
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.isolation.world import Company
from tests.support.client import Client, find_method, message_class, reason_of
from tests.support.forged import Forge
from tests.support.house import House
from tests.support.parts import PARTS
from tests.support.tokens import AUDIENCE, ISSUER

ASKED = {
    # A read that the good token may make, in each service.
    "identity": "ListMembers",
    "issues": "ListProjects",
    "audit": "ListEvents",
}


def claims(company: Company, role: Role) -> dict[str, object]:
    now = int(clock.unix())
    person = company.tenant.people[role]
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(person.user_id),
        "sid": str(new_id()),
        "tid": str(company.tenant.tenant_id),
        "role": role.name.lower(),
        "mv": 1,
        "iat": now,
        "exp": now + 300,
    }


def forge(house: House, company: Company, role: Role = Role.MANAGER) -> Forge:
    """With the very key the services trust."""
    pem = (house.mint.keys / f"{ACCESS}.private.pem").read_bytes()
    key = load_pem_private_key(pem, password=None)
    return Forge(key, house.mint.access.kid, claims(company, role), ahead=120)  # type: ignore[arg-type]  # ours is EC


async def answer(client: Client, service: str) -> tuple[str, str]:
    """Code and reason."""
    method = find_method(service, ASKED[service])
    try:
        await client.call(method, message_class(method.input_type.full_name)())
    except grpc.aio.AioRpcError as error:
        return error.code().name, reason_of(error)
    return "OK", ""


def can_be_sent(token: str) -> bool:
    """What HTTP/2 carries in a header; anything else stays with its sender, and tests/kit tries it."""
    return len(token) < 7_000 and all(" " <= letter <= "~" for letter in token)


REFUSALS = {("UNAUTHENTICATED", "TOKEN_INVALID"), ("UNAUTHENTICATED", "TOKEN_MISSING")}


async def test_no_forged_token_is_taken(house: House, ours: Company, theirs: Company) -> None:
    forged = {
        **forge(house, ours).tokens(),
        "a refresh token": "A" * 43,
        "another tenant's, cut to ours": forge(house, theirs).good.rpartition(".")[0]
        + "."
        + forge(house, ours).good.rpartition(".")[2],
    }
    taken, refused = [], 0
    # Behind the scheme any number of blanks may stand: that one is the good token.
    del forged["blank before"]
    forged = {name: token for name, token in forged.items() if can_be_sent(token)}
    for service in ASKED:
        assert await answer(house.with_token(forge(house, ours).good), service) == ("OK", "")
        for name, token in forged.items():
            outcome = await answer(house.with_token(token), service)
            if outcome in REFUSALS or outcome == ("INVALID_ARGUMENT", "INVALID_METADATA"):
                refused += 1
            else:
                taken.append(f"{name} at {service}: {outcome}")
        # And the good one still opens what it opened.
        assert await answer(house.with_token(forge(house, ours).good), service) == ("OK", "")
    assert taken == []
    assert refused >= 120 * len(ASKED)
    PARTS.found["Forged tokens"] = f"{refused} refused: {len(forged)} kinds by {len(ASKED)} services, 0 taken"


@pytest.mark.parametrize("service", ASKED)
async def test_a_right_token_of_another_tenant_opens_her_own_only(
    house: House, ours: Company, theirs: Company, service: str
) -> None:
    """Claims that say ours, of a person who belongs to theirs: signed rightly, and refused by the membership."""
    stranger = {**claims(theirs, Role.MANAGER), "tid": str(ours.tenant.tenant_id)}
    made = forge(house, ours)
    outcome = await answer(house.with_token(made.signed(made.header, stranger)), service)
    assert outcome == ("UNAUTHENTICATED", "MEMBERSHIP_CHANGED")
