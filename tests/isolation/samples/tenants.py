"""Companies, and those who administer the platform."""

from __future__ import annotations

from bulkhead_kit.caller import Role

from tests.isolation.samples.base import Fields, fixed, name, rid, sample
from tests.isolation.world import Company, close_support, open_support
from tests.support import people

fixed("identity.v1.TenantService/ListMyTenants", show_deleted=True)
fixed("identity.v1.TenantService/LookupTenant", slug="nobody-has-it")
fixed("identity.v1.TenantService/GetUsage")
fixed("identity.v1.PlatformService/ListPlans")
fixed("identity.v1.PlatformService/ListTenants", filter='slug = "nobody-has-it"')


@sample("identity.v1.TenantService/CreateTenant")
async def _create_tenant(_company: Company, _role: Role) -> Fields:
    slug = f"t{rid()}"
    return {"tenant": {"slug": slug, "name": slug}, "request_id": rid()}


@sample("identity.v1.TenantService/GetTenant")
async def _get_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant_id": company.one("tenant")}


@sample("identity.v1.TenantService/UpdateTenant")
async def _update_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant": {"tenant_id": company.one("tenant"), "description": name()}, "request_id": rid()}


@sample("identity.v1.TenantService/DeleteTenant", expects="INVALID_ARGUMENT")
async def _delete_tenant(company: Company, _role: Role) -> Fields:
    """Not with the right slug: the probes need their company. What it does then is in tests/identity/tenant."""
    return {"tenant_id": company.one("tenant"), "slug": "not-the-slug", "request_id": rid()}


@sample("identity.v1.TenantService/UndeleteTenant", expects="ALREADY_EXISTS")
async def _undelete_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant_id": company.one("tenant"), "request_id": rid()}


@sample("identity.v1.TenantService/GrantSupportAccess")
async def _grant_support(company: Company, _role: Role) -> Fields:
    await close_support(company)
    return {"role": Role.VIEWER.value, "duration": {"seconds": 600}, "reason": name(), "request_id": rid()}


@sample("identity.v1.TenantService/RevokeSupportAccess")
async def _revoke_support(company: Company, _role: Role) -> Fields:
    return {"grant_id": await open_support(company), "request_id": rid()}


@sample("identity.v1.PlatformService/EnterSupportAccess")
async def _enter_support(company: Company, _role: Role) -> Fields:
    await open_support(company)
    return {"tenant_id": company.one("tenant"), "request_id": rid()}


@sample("identity.v1.PlatformService/SuspendTenant")
async def _suspend(company: Company, _role: Role) -> Fields:
    """One of the platform's own making: the probes need their companies."""
    return {"tenant_id": await _bystander(company), "reason": name(), "request_id": rid()}


@sample("identity.v1.PlatformService/ResumeTenant")
async def _resume(company: Company, _role: Role) -> Fields:
    return {"tenant_id": await _bystander(company), "request_id": rid()}


@sample("identity.v1.PlatformService/ChangePlan")
async def _change_plan(company: Company, _role: Role) -> Fields:
    return {"tenant_id": await _bystander(company), "plan_code": "pro", "request_id": rid()}


@sample("identity.v1.PlatformService/SetTenantLimit")
async def _set_tenant_limit(company: Company, _role: Role) -> Fields:
    return {"user_id": company.one("user"), "max_tenants": 20, "request_id": rid()}


async def _bystander(company: Company) -> str:
    house = company.tenant.house
    owner = await house.person()
    return str(await people.make_tenant(await house.connection(), owner, slug=f"t{rid()}"))
