"""Those who administer the platform, and who comes to help in a tenant."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from bulkhead_kit.caller import Role

from tests.support.client import Client
from tests.support.house import House, Tenant
from tests.support.people import Person

GRANT: dict[str, Any] = {"role": Role.MANAGER.value, "duration": {"seconds": 3600}, "reason": "The import hangs."}


async def administrator(house: House) -> tuple[Client, Person]:
    person = await house.person("Helga")
    return await house.platform_admin(person), person


async def helper_in(tenant: Tenant, **grant: Any) -> tuple[Client, Person, Any]:
    """In the tenant by a grant of its owner: her client, herself, and the grant."""
    house = tenant.house
    made = await tenant.owner.identity.GrantSupportAccess(**{**GRANT, **grant})
    client, person = await administrator(house)
    return await enter(house, client, tenant.tenant_id), person, made


async def enter(house: House, client: Client, tenant_id: UUID) -> Client:
    reply = await client.identity.EnterSupportAccess(tenant_id=str(tenant_id))
    return house.with_token(reply.access_token.token)
