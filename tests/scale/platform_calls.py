"""Calls about tenants: of those who belong to them, of nobody, and of those who administer the platform."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.scale.base import Base
from tests.scale.crowd import PASSWORD
from tests.support.client import Client


class PlatformCalls(Base):
    async def tenants(self) -> None:
        one, many = self.house.user(self.facts.member), self.house.user(self.facts.owner)
        await self.seen("ListMyTenants, of one who has few", one)
        first = await self.seen("ListMyTenants, of one who has 151", many, page_size=50)
        assert first.next_page_token
        await self.seen("ListMyTenants, a later page", many, page_size=50, page_token=first.next_page_token)
        await self.seen("LookupTenant", self.house.nobody(), slug="tenant-1")
        await self.seen("GetUsage", self.owner)
        await self.seen("GetTenant", self.owner, tenant_id=str(self.facts.tenant_id))
        tenant = {"slug": f"new-{new_id().hex[-8:]}", "name": "New"}
        await self.seen("CreateTenant", many, tenant=tenant, request_id=str(new_id()))

    async def tenant_changes(self) -> None:
        changed = {"tenant_id": str(self.facts.tenant_id), "industry": "Ships"}
        await self.seen("UpdateTenant", self.owner, tenant=changed, request_id=str(new_id()))
        many = self.house.user(self.facts.owner)
        made = await many.identity.CreateTenant(tenant={"slug": f"old-{new_id().hex[-8:]}", "name": "Old"})
        owner = self.house.member(self.facts.owner, UUID(made.tenant_id), Role.OWNER)
        await self.seen("DeleteTenant", owner, tenant_id=made.tenant_id, slug=made.slug, request_id=str(new_id()))
        await self.seen("ListMyTenants, deleted ones too", many, page_size=50, show_deleted=True)
        await self.seen("UndeleteTenant", many, tenant_id=made.tenant_id, request_id=str(new_id()))

    async def platform(self) -> None:
        entered = await self.house.nobody().identity.Login(email=self.facts.helper_email, password=PASSWORD)
        helper = self.house.with_token(entered.access_token.token)
        first = await self.seen("ListTenants, first page", helper, page_size=50)
        await self.seen("ListTenants, a later page", helper, page_size=50, page_token=first.next_page_token)
        for asked in ('slug = "tenant-7"', 'name = "Tenant 7"', 'plan_code = "pro"', "state = SUSPENDED"):
            await self.seen(f"ListTenants, filter {asked}", helper, page_size=50, filter=asked)
        tenant_id = str(self.facts.another_tenant_id)
        await self.seen("SuspendTenant", helper, tenant_id=tenant_id, reason="Unpaid", request_id=str(new_id()))
        await self.seen("ResumeTenant", helper, tenant_id=tenant_id, request_id=str(new_id()))
        await self.seen("ChangePlan", helper, tenant_id=tenant_id, plan_code="enterprise", request_id=str(new_id()))
        person = str(self.facts.owner)
        await self.seen("SetTenantLimit", helper, user_id=person, max_tenants=100, request_id=str(new_id()))
        await self.seen("ListPlans", helper)
        await self.support(helper)

    async def support(self, helper: Client) -> None:
        tenant_id = str(self.facts.tenant_id)
        grant: dict[str, Any] = {"role": Role.MANAGER.value, "duration": {"seconds": 3600}, "reason": "It hangs."}
        await self.seen("GrantSupportAccess", self.owner, **grant, request_id=str(new_id()))
        came = await self.seen("EnterSupportAccess", helper, tenant_id=tenant_id, request_id=str(new_id()))
        inside = self.house.with_token(came.access_token.token)
        await self.seen("GetTenant, by one who helps", inside, tenant_id=tenant_id)
        await self.seen("RevokeSupportAccess", self.owner, request_id=str(new_id()))
