"""From nobody to a member: the whole way through RPCs and mails."""

from __future__ import annotations

from tests.identity.world import PostOffice, log_in, new_address, sign_up
from tests.support.client import refused
from tests.support.house import House


async def test_the_whole_way(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email, name="Ann Lee")
    person, login = await log_in(house, email)
    assert login.user_id == user_id
    tenant = await person.identity.CreateTenant(tenant={"slug": "way-" + user_id[-8:], "name": "Way"})
    mine = await person.identity.ListMyTenants()
    assert [t.tenant_id for t in mine.tenants] == [tenant.tenant_id]
    chosen = await person.identity.SelectTenant(tenant_id=tenant.tenant_id)
    member = house.with_token(chosen.access_token.token)
    members = await member.identity.ListMembers()
    assert [m.display_name for m in members.members] == ["Ann Lee"]
    again = await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)
    assert again.refresh_token.token != login.refresh_token.token
    await house.with_token(again.access_token.token).identity.Logout()
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await house.nobody().identity.RefreshToken(refresh_token=again.refresh_token.token)
