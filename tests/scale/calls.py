"""One call of each kind to a grown identity, where there is most to be found: in the greatest tenant."""

from __future__ import annotations

from bulkhead_identity.expiry.actions import expire
from bulkhead_identity.mail.actions import BATCH, send_due
from bulkhead_identity.mail_ask.actions import BATCH as ASKS
from bulkhead_identity.mail_ask.actions import answer_asks
from bulkhead_kit.ids import new_id

from tests.identity.world import PostOffice
from tests.scale.people_calls import PeopleCalls
from tests.scale.platform_calls import PlatformCalls
from tests.support.callers import worker_caller


class Calls(PeopleCalls, PlatformCalls):
    async def all(self, *, expiring: bool = True) -> None:
        await self.sign_in()
        await self.passwords()
        await self.profiles()
        await self.tenants()
        await self.tenant_changes()
        await self.platform()
        await self.members()
        await self.member_changes()
        await self.invitations()
        await self.keys()
        await self.teams()
        await self.worker(expiring=expiring)

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
        member = self.house.user(self.facts.member)
        await self.refused("AcceptInvitation, unknown token", member, "INVITATION_INVALID", token="x" * 43)

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
            async with self.watch.case("identity.work, a batch of mails asked for"):
                assert await answer_asks(office.answering, worker_caller()) == ASKS
            async with self.watch.case("identity.work, a batch of due mails"):
                assert await send_due(office.post, worker_caller()) == BATCH
            if expiring:
                async with self.watch.case("identity.work, what has expired"):
                    removed = await expire(office.database, worker_caller())
                assert removed > 100, removed
        finally:
            await office.database.close()
