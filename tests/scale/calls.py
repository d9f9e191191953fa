"""One call of each kind to a grown identity, where there is most to be found: in the greatest tenant."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc.aio
import psycopg
from bulkhead_identity.expiry.actions import expire
from bulkhead_identity.mail.actions import BATCH, send_due
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import PostOffice
from tests.scale.crowd import PASSWORD
from tests.scale.plans import Watch
from tests.support.callers import worker_caller
from tests.support.client import Client
from tests.support.house import House

# Of the greatest tenant: a person for each part, and what a filter can ask for.
_FACTS = """
    with members as (
        select m.user_id, u.email, row_number() over (partition by m.role order by m.user_id) as n, m.role, m.joined_at
        from identity.memberships as m
        inner join identity.users as u on u.user_id = m.user_id
        inner join identity.tenants as t on t.tenant_id = m.tenant_id and t.slug = 'tenant-1'
        where m.status = 'active' and u.status = 'active' and u.email_verified_at is not null and m.kind = 'person'
    ),
    known as (
        select t.tenant_id, m.user_id as owner
        from identity.tenants as t inner join members as m on m.role = 5
        where t.slug = 'tenant-1'
    )
    select
        k.tenant_id, k.owner, a.user_id, a.email, b.user_id, b.email, c.user_id,
        (select max(m.external_id) from identity.memberships as m where m.tenant_id = k.tenant_id),
        (select to_char(percentile_disc(0.9) within group (order by m.joined_at) at time zone 'utc',
            'YYYY-MM-DD"T"HH24:MI:SS"Z"') from members as m),
        (select i.invitation_id from identity.invitations as i where i.tenant_id = k.tenant_id and i.status = 'open'
        order by i.invitation_id desc offset %(round)s limit 1),
        (select t.team_id from identity.teams as t where t.tenant_id = k.tenant_id and t.archived_at is null
        order by t.team_id offset %(round)s limit 1)
    from known as k
    inner join members as a on a.role = 2 and a.n = 500 + %(round)s
    inner join members as b on b.role = 2 and b.n = 900 + %(round)s
    inner join members as c on c.role = 2 and c.n = 1300 + %(round)s
"""


@dataclass(frozen=True)
class Facts:
    tenant_id: UUID
    owner: UUID
    member: UUID
    member_email: str
    other: UUID
    other_email: str
    leaver: UUID
    external_id: str
    late: str
    invitation_id: UUID
    team_id: UUID


def look_up(admin_dsn: str, turn: int) -> Facts:
    """Of every turn its own people, so that the second finds all as the first did."""
    with psycopg.connect(admin_dsn) as connection:
        row = connection.execute(_FACTS, {"round": turn}).fetchone()
    assert row is not None, "nobody to call"
    assert None not in row, row
    return Facts(*row)


class Calls:
    def __init__(self, house: House, facts: Facts, watch: Watch, folder: Path) -> None:
        self.house = house
        self.facts = facts
        self.watch = watch
        self.folder = folder
        self.owner = house.member(facts.owner, facts.tenant_id, Role.OWNER)

    async def all(self, *, expiring: bool = True) -> None:
        await self.sign_in()
        await self.tenants()
        await self.members()
        await self.member_changes()
        await self.invitations()
        await self.keys()
        await self.teams()
        await self.worker(expiring=expiring)

    async def seen(self, name: str, client: Client, rpc: str | None = None, **fields: Any) -> Any:
        """Calls what the name begins with."""
        method = rpc or name.partition(",")[0].partition(" ")[0]
        async with self.watch.case(name):
            return await getattr(client.identity, method)(**fields)

    async def sign_in(self) -> None:
        nobody, facts = self.house.nobody(), self.facts
        entered = await self.seen("Login", nobody, email=facts.member_email, password=PASSWORD)
        with suppress(grpc.aio.AioRpcError):
            await self.seen("Login, wrong password", nobody, email=facts.other_email, password="wrong")
        with suppress(grpc.aio.AioRpcError):
            await self.seen("Login, unknown address", nobody, email="nobody@example.com", password=PASSWORD)
        token = entered.refresh_token.token
        token = (await self.seen("RefreshToken", nobody, refresh_token=token)).refresh_token.token
        with suppress(grpc.aio.AioRpcError):
            await self.seen("RefreshToken, unknown token", nobody, refresh_token="x" * 43)
        person = self.house.with_token(entered.access_token.token)
        await self.seen("SelectTenant", person, tenant_id=str(facts.tenant_id))
        for kind, address in (("new", f"new-{new_id()}@example.com"), ("known", facts.other_email)):
            fields = {"email": address, "password": "tide-low-pump-9-keeper", "full_name": "Somebody"}
            await self.seen(f"SignUp, a {kind} address", nobody, **fields)
        with suppress(grpc.aio.AioRpcError):
            await self.seen("VerifyEmail, unknown token", nobody, token="x" * 43, password=PASSWORD)
        await self.seen("ListSessions", person, page_size=2)
        lost = await nobody.identity.Login(email=facts.member_email, password=PASSWORD)
        await self.seen("RevokeSession", person, session_id=lost.session_id, request_id=str(new_id()))
        await self.seen("RevokeOtherSessions", person, request_id=str(new_id()))
        await self.seen("Logout", person, request_id=str(new_id()))

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

    async def members(self) -> None:
        first = await self.seen("ListMembers, first page", self.owner, page_size=50)
        later = await self.seen("ListMembers, a later page", self.owner, page_size=50, page_token=first.next_page_token)
        assert len(first.members) == len(later.members) == 50
        facts = self.facts
        for asked in (
            f'user_id = "{facts.other}"',
            "role = OWNER",
            "role >= ADMIN",
            "state = DISABLED",
            "kind = PLACEHOLDER",
            "kind = SERVICE_ACCOUNT",
            'display_name = "Member 4711"',
            'external_source = "github"',
            f'external_id = "{facts.external_id}"',
            f'external_source = "github" AND external_id = "{facts.external_id}"',
            f'join_time > "{facts.late}"',
        ):
            shown = asked.replace(str(facts.other), "...").replace(facts.late, "...").replace(facts.external_id, "...")
            await self.seen(f"ListMembers, filter {shown}", self.owner, page_size=50, filter=asked)

    async def member_changes(self) -> None:
        facts = self.facts
        who = str(facts.other)
        await self.seen("GetMember", self.owner, user_id=who)
        await self.seen("ChangeRole", self.owner, user_id=who, role="ROLE_MANAGER", request_id=str(new_id()))
        await self.seen("DisableMember", self.owner, user_id=who, request_id=str(new_id()))
        await self.seen("EnableMember", self.owner, user_id=who, request_id=str(new_id()))
        leaver = self.house.user(facts.leaver)
        await self.seen("LeaveTenant", leaver, tenant_id=str(facts.tenant_id), request_id=str(new_id()))
        service = self.house.service("issues", facts.tenant_id)
        authors = [{"external_id": f"{who}-{number}", "display_name": "New"} for number in range(20)]
        await self.seen("ImportMembers, 20 authors", service, external_source="github", authors=authors)

    async def invitations(self) -> None:
        first = await self.seen("ListInvitations, first page", self.owner, page_size=50)
        await self.seen("ListInvitations, a later page", self.owner, page_size=50, page_token=first.next_page_token)
        for asked in ("state = OPEN", 'email = "guest-1-3@example.com"', "invited_by = me"):
            await self.seen(f"ListInvitations, filter {asked}", self.owner, page_size=50, filter=asked)
        one = str(self.facts.invitation_id)
        await self.seen("RevokeInvitation", self.owner, invitation_id=one, request_id=str(new_id()))
        fields = {"email": f"guest-{new_id()}@example.com", "role": "ROLE_MEMBER", "request_id": str(new_id())}
        await self.seen("InviteMember", self.owner, **fields)
        with suppress(grpc.aio.AioRpcError):
            await self.seen("AcceptInvitation, unknown token", self.house.user(self.facts.member), token="x" * 43)

    async def keys(self) -> None:
        fields = {"display_name": "Robot", "role": "ROLE_MEMBER", "request_id": str(new_id())}
        made = await self.seen("CreateApiKey", self.owner, **fields)
        robot = self.house.with_token(made.key)
        tenant_id = str(self.facts.tenant_id)
        await self.seen("GetTenant, by an API key used first", robot, tenant_id=tenant_id)
        await self.seen("GetTenant, by an API key used before", robot, tenant_id=tenant_id)
        await self.seen("ListApiKeys", self.owner, page_size=50)
        key = made.api_key.api_key_id
        await self.seen("RevokeApiKey", self.owner, api_key_id=key, request_id=str(new_id()))

    async def teams(self) -> None:
        team, who = str(self.facts.team_id), str(self.facts.member)
        first = await self.seen("ListTeams, first page", self.owner, page_size=50)
        await self.seen("ListTeams, a later page", self.owner, page_size=50, page_token=first.next_page_token)
        for asked in ('name = "Team 7"', f'user_id = "{who}"'):
            shown = asked.replace(who, "...")
            await self.seen(f"ListTeams, filter {shown}", self.owner, page_size=50, filter=asked)
        await self.seen("GetTeam", self.owner, team_id=team)
        await self.seen("ListTeamMembers", self.owner, team_id=team, page_size=50)
        await self.seen("AddTeamMember", self.owner, team_id=team, user_id=who, request_id=str(new_id()))
        await self.seen("RemoveTeamMember", self.owner, team_id=team, user_id=who, request_id=str(new_id()))
        named = {"name": f"Team {new_id()}"}
        await self.seen("CreateTeam", self.owner, team=named, request_id=str(new_id()))
        await self.seen("ArchiveTeam", self.owner, team_id=team, request_id=str(new_id()))

    async def worker(self, *, expiring: bool) -> None:
        office = PostOffice(self.house, self.folder)
        await office.database.open()
        try:
            async with self.watch.case("identity.work, a batch of due mails"):
                assert await send_due(office.post, worker_caller()) == BATCH
            if expiring:
                async with self.watch.case("identity.work, what has expired"):
                    removed = await expire(office.database, worker_caller())
                assert removed > 100, removed
        finally:
            await office.database.close()
