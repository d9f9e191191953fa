"""LookupTenant: what a login page shows, and that it tells nothing of slugs that nobody has any more."""

from __future__ import annotations

import statistics
import time

import pytest
from google.protobuf import json_format, struct_pb2

from tests.identity.tenant.test_tenants import new_slug
from tests.identity.world import set_status
from tests.support.client import refused
from tests.support.house import House
from tests.support.parts import PARTS

PAIRS = 100


async def test_shows_a_tenant_to_everybody(house: House) -> None:
    tenant = await house.tenant("card")
    branding = json_format.ParseDict({"color": "#123456"}, struct_pb2.Struct())
    logo = "https://example.com/logo.png"
    await tenant.owner.identity.UpdateTenant(
        tenant={
            "tenant_id": str(tenant.tenant_id),
            "name": "Acme & Söhne",
            "logo_url": logo,
            "branding": branding,
            "description": "secret",
            "settings": branding,
        }
    )
    stranger = await house.person()
    for status in ("active", "suspended"):
        await set_status(house.database, tenant.tenant_id, status)
        for caller in (house.nobody(), house.user(stranger.user_id), house.with_token("garbage"), tenant.owner):
            card = await caller.identity.LookupTenant(slug=tenant.slug)
            assert (card.slug, card.name, card.logo_url, card.branding) == (tenant.slug, "Acme & Söhne", logo, branding)


@pytest.mark.parametrize("slug", ["", "ab", "Acme", "acme-", "a" * 64, "acme\n", "a%", "\u0430cme"])
async def test_what_cannot_be_a_slug_is_refused(house: House, slug: str) -> None:
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await house.nobody().identity.LookupTenant(slug=slug)
    assert set(refusal.fields) == {"slug"}


async def _gone_and_unknown(house: House) -> tuple[list[str], list[str]]:
    """Slugs of the same form and length."""
    gone = []
    for _ in range(PAIRS):
        owner = house.user((await house.person()).user_id)
        tenant = await owner.identity.CreateTenant(tenant={"slug": new_slug(), "name": "Acme"})
        await set_status(house.database, tenant.tenant_id, "deleted")
        gone.append(tenant.slug)
    return gone, [new_slug() for _ in range(PAIRS)]


async def test_unknown_and_deleted_are_answered_alike(house: House) -> None:
    """The same bytes but for the slug, and no longer or shorter: medians of both within a tenth of each other."""
    gone, unknown = await _gone_and_unknown(house)
    took: dict[str, list[float]] = {"gone": [], "unknown": []}
    nobody = house.nobody().identity

    async def ask(kind: str, slug: str) -> None:
        began = time.perf_counter()
        card = await nobody.LookupTenant(slug=slug)
        took[kind].append(time.perf_counter() - began)
        assert card.SerializeToString() == type(card)(slug=slug, name=slug).SerializeToString()

    for position, (one, other) in enumerate(zip(gone, unknown, strict=True)):
        # In turns, so that neither has the warmer database.
        asked = [("gone", one), ("unknown", other)]
        for kind, slug in asked if position % 2 else reversed(asked):
            await ask(kind, slug)
    medians = {kind: statistics.median(times) for kind, times in took.items()}
    ratio = medians["gone"] / medians["unknown"]
    PARTS.found["Deleted and unknown slugs"] = f"{PAIRS} pairs, same bytes, medians {ratio:.3f} of each other"
    assert 0.9 < ratio < 1.1, medians
