"""ListMembers, ChangeRole, DisableMember, EnableMember and ImportMembers."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import events, set_plan, set_status
from tests.support import people
from tests.support.client import refused
from tests.support.house import House, Tenant

# Who may give whom which role: (caller, member before, new role) -> allowed.
_ADMINS = (Role.ADMIN, Role.OWNER)


def may_change(caller: Role, before: Role, after: Role) -> bool:
    return caller in _ADMINS and before <= caller and after <= caller


async def newcomer(house: House, tenant: Tenant, role: Role = Role.MEMBER) -> UUID:
    await set_plan(house.database, tenant.tenant_id, users=1000)
    person = await house.person("New")
    await people.add_member(await house.connection(), tenant.tenant_id, tenant.people[Role.OWNER], person, role)
    return person.user_id


class TestListMembers:
    async def test_pages_are_complete(self, house: House) -> None:
        tenant = await house.tenant("pages")
        for _ in range(6):
            await newcomer(house, tenant)
        seen, token = [], ""
        while True:
            page = await tenant.member(Role.VIEWER).identity.ListMembers(page_size=4, page_token=token)
            assert len(page.members) <= 4
            seen += [member.user_id for member in page.members]
            token = page.next_page_token
            if not token:
                break
        assert len(seen) == len(set(seen)) == 11
        assert seen == sorted(seen)
        assert {str(person.user_id) for person in tenant.people.values()} <= set(seen)

    async def test_a_page_token_is_its_tenants(self, house: House) -> None:
        own, other = await house.tenant("own"), await house.tenant("other")
        token = (await own.owner.identity.ListMembers(page_size=1)).next_page_token
        with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await other.owner.identity.ListMembers(page_size=1, page_token=token)
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await own.owner.identity.ListMembers(page_size=-1)

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ("", {"Owner", "Admin", "Manager", "Member", "Viewer", "Ann \U0001f98a", "Annette"}),
            ("role >= ADMIN", {"Owner", "Admin"}),
            ("role = VIEWER AND kind = PERSON", {"Viewer"}),
            ("kind = PLACEHOLDER", {"Ann \U0001f98a", "Annette"}),
            ('display_name:"Ann*" AND external_id = "2"', {"Annette"}),
            ('external_source = "github" OR user_id = me', {"Owner", "Ann \U0001f98a", "Annette"}),
            ("state = DISABLED", {"Manager"}),
            ("NOT state = ACTIVE AND role < ADMIN", {"Manager"}),
            ('join_time > "2126-01-01T00:00:00Z"', set()),
        ],
    )
    async def test_filters(self, house: House, asked: str, found: set[str]) -> None:
        tenant = await house.tenant("filters")
        names = ["Ann \U0001f98a", "Annette"]
        await tenant.service("issues").identity.ImportMembers(
            external_source="github",
            authors=[{"external_id": str(i + 1), "display_name": name} for i, name in enumerate(names)],
        )
        await tenant.owner.identity.DisableMember(user_id=str(tenant.people[Role.MANAGER].user_id))
        seen, token = set(), ""
        while True:
            page = await tenant.owner.identity.ListMembers(filter=asked, page_size=2, page_token=token)
            seen |= {member.display_name for member in page.members}
            token = page.next_page_token
            if not token:
                break
        assert seen == found

    async def test_a_bad_filter_is_named(self, house: House) -> None:
        tenant = await house.tenant("bad")
        for wrong in ("role = EMPEROR", "email = 'x'", "role >", "state > ACTIVE", "(" * 200):
            with refused("INVALID_ARGUMENT", "INVALID_FILTER"):
                await tenant.owner.identity.ListMembers(filter=wrong)
        token = (await tenant.owner.identity.ListMembers(filter="kind = PERSON", page_size=1)).next_page_token
        with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await tenant.owner.identity.ListMembers(filter="role >= VIEWER", page_size=1, page_token=token)

    async def test_needs_a_tenant(self, house: House) -> None:
        with refused("UNAUTHENTICATED", "TENANT_NOT_SELECTED"):
            await house.user(new_id()).identity.ListMembers()


class TestChangeRole:
    @pytest.mark.parametrize("caller", list(Role), ids=lambda role: role.name.lower())
    async def test_nobody_reaches_above_herself(self, house: House, caller: Role) -> None:
        tenant = await house.tenant("matrix")
        for before in Role:
            for after in Role:
                member = await newcomer(house, tenant, before)
                change = tenant.member(caller).identity.ChangeRole(user_id=str(member), role=after.value)
                if may_change(caller, before, after):
                    assert (await change).role == after
                elif caller in _ADMINS:
                    with refused("PERMISSION_DENIED", "ROLE_ABOVE_OWN"):
                        await change
                else:
                    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                        await change

    async def test_her_tokens_are_refused_from_now_on(self, house: House) -> None:
        tenant = await house.tenant("tokens")
        member = tenant.people[Role.MEMBER]
        client = tenant.member(Role.MEMBER)
        changed = await tenant.owner.identity.ChangeRole(user_id=str(member.user_id), role=4)
        assert changed.etag == '"v2"'
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await client.identity.ListMembers()
        # A token that only claims the new role, with the version of before.
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await house.member(member.user_id, tenant.tenant_id, Role.ADMIN, version=1).identity.ListMembers()
        await house.member(member.user_id, tenant.tenant_id, Role.ADMIN, version=2).identity.ListMembers()

    async def test_the_last_owner_stays(self, house: House) -> None:
        tenant = await house.tenant("last")
        owner = str(tenant.people[Role.OWNER].user_id)
        with refused("FAILED_PRECONDITION", "LAST_OWNER"):
            await tenant.owner.identity.ChangeRole(user_id=owner, role=4)
        with refused("FAILED_PRECONDITION", "LAST_OWNER"):
            await tenant.owner.identity.DisableMember(user_id=owner)
        await tenant.owner.identity.ChangeRole(user_id=str(await newcomer(house, tenant)), role=5)
        await tenant.owner.identity.ChangeRole(user_id=owner, role=4)

    async def test_a_repeat_changes_nothing_more(self, house: House) -> None:
        tenant, request_id = await house.tenant("repeat"), str(new_id())
        member = str(tenant.people[Role.MEMBER].user_id)
        first = await tenant.owner.identity.ChangeRole(user_id=member, role=3, request_id=request_id)
        again = await tenant.owner.identity.ChangeRole(user_id=member, role=3, request_id=request_id)
        plain = await tenant.owner.identity.ChangeRole(user_id=member, role=3)
        assert first == again == plain
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await tenant.owner.identity.ChangeRole(user_id=member, role=2, request_id=request_id)
        changes = [changes for action, _, changes in await events(house.database, member) if action == "member.updated"]
        assert changes == [{"role": ["ROLE_MEMBER", "ROLE_MANAGER"]}]

    async def test_an_old_etag_is_refused(self, house: House) -> None:
        tenant = await house.tenant("etag")
        member = str(tenant.people[Role.MEMBER].user_id)
        await tenant.owner.identity.ChangeRole(user_id=member, role=3, etag='"v1"')
        with refused("ABORTED", "ETAG_MISMATCH"):
            await tenant.owner.identity.ChangeRole(user_id=member, role=2, etag='"v1"')
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await tenant.owner.identity.ChangeRole(user_id=member, role=2, etag="v2")

    @pytest.mark.parametrize("role", [0, 6, -1])
    async def test_there_are_no_other_roles(self, house: House, role: int) -> None:
        tenant = await house.tenant("roles")
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await tenant.owner.identity.ChangeRole(user_id=str(tenant.people[Role.MEMBER].user_id), role=role)

    async def test_a_placeholder_stays_a_viewer(self, house: House) -> None:
        tenant = await house.tenant("placeholder")
        reply = await tenant.service("issues").identity.ImportMembers(
            external_source="github", authors=[{"external_id": "1", "display_name": "Old"}]
        )
        with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED"):
            await tenant.owner.identity.ChangeRole(user_id=reply.members[0].user_id, role=2)


class TestOtherTenants:
    @pytest.mark.parametrize("rpc", ["ChangeRole", "DisableMember", "EnableMember"])
    async def test_their_members_are_nobody_here(self, house: House, rpc: str) -> None:
        own, other = await house.tenant("own"), await house.tenant("other")
        call = getattr(own.owner.identity, rpc)
        more: dict[str, Any] = {"role": 2} if rpc == "ChangeRole" else {}
        target = str(other.people[Role.VIEWER].user_id)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as theirs:
            await call(user_id=target, **more)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as nobodys:
            await call(user_id=str(new_id()), **more)
        assert theirs.status == nobodys.status
        # And there she can do what she could.
        await other.member(Role.VIEWER).identity.ListMembers()
        await getattr(other.owner.identity, rpc)(user_id=target, **more)


class TestDisable:
    async def test_takes_her_rights_here_and_nowhere_else(self, house: House) -> None:
        one, two = await house.tenant("one"), await house.tenant("two")
        person = await house.person()
        connection = await house.connection()
        for tenant in (one, two):
            await set_plan(house.database, tenant.tenant_id, users=10)
            await people.add_member(connection, tenant.tenant_id, tenant.people[Role.OWNER], person, Role.MEMBER)
        disabled = await one.owner.identity.DisableMember(user_id=str(person.user_id))
        assert disabled.state == 2
        assert disabled.disabled_by == str(one.people[Role.OWNER].user_id)
        assert disabled.HasField("disable_time")
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await house.member(person.user_id, one.tenant_id, Role.MEMBER).identity.ListMembers()
        await house.member(person.user_id, two.tenant_id, Role.MEMBER).identity.ListMembers()
        enabled = await one.owner.identity.EnableMember(user_id=str(person.user_id))
        assert (enabled.state, enabled.role, enabled.disabled_by) == (1, Role.MEMBER, "")
        assert not enabled.HasField("disable_time")
        # Tokens of before stay dead: they say nothing about what happened in between.
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await house.member(person.user_id, one.tenant_id, Role.MEMBER).identity.ListMembers()
        await house.member(person.user_id, one.tenant_id, Role.MEMBER, version=3).identity.ListMembers()

    @pytest.mark.parametrize("rpc", ["DisableMember", "EnableMember"])
    async def test_is_for_admins_up_to_their_own_role(self, house: House, rpc: str) -> None:
        tenant = await house.tenant("ranks")
        owner, member = (str(tenant.people[role].user_id) for role in (Role.OWNER, Role.MEMBER))
        for role in (Role.VIEWER, Role.MEMBER, Role.MANAGER):
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await getattr(tenant.member(role).identity, rpc)(user_id=member)
        with refused("PERMISSION_DENIED", "ROLE_ABOVE_OWN"):
            await getattr(tenant.member(Role.ADMIN).identity, rpc)(user_id=owner)
        await getattr(tenant.member(Role.ADMIN).identity, rpc)(user_id=member)

    async def test_a_repeat_changes_nothing_more(self, house: House) -> None:
        tenant = await house.tenant("again")
        member = str(tenant.people[Role.VIEWER].user_id)
        first = await tenant.owner.identity.DisableMember(user_id=member)
        assert await tenant.owner.identity.DisableMember(user_id=member) == first
        updates = [changes for action, _, changes in await events(house.database, member) if action == "member.updated"]
        assert len(updates) == 1
        assert updates[0]["state"] == ["STATE_ACTIVE", "STATE_DISABLED"]

    async def test_in_a_suspended_tenant_nobody_is_enabled(self, house: House) -> None:
        tenant = await house.tenant("suspended")
        await set_status(house.database, tenant.tenant_id, "suspended")
        viewer = str(tenant.people[Role.VIEWER].user_id)
        assert (await tenant.owner.identity.DisableMember(user_id=viewer)).state == 2
        with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
            await tenant.owner.identity.EnableMember(user_id=viewer)

    async def test_gives_a_seat_back_and_takes_one(self, house: House) -> None:
        tenant = await house.tenant("seats")
        viewer = str(tenant.people[Role.VIEWER].user_id)
        await tenant.owner.identity.DisableMember(user_id=viewer)
        await tenant.owner.identity.InviteMember(email="x@example.com", role=2)
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED") as refusal:
            await tenant.owner.identity.EnableMember(user_id=viewer)
        assert refusal.metadata == {"limit": "users", "value": "5", "used": "5"}
        await set_plan(house.database, tenant.tenant_id, users=6)
        await tenant.owner.identity.EnableMember(user_id=viewer)


class TestImport:
    async def test_makes_each_author_once(self, house: House) -> None:
        tenant = await house.tenant("import")
        service = tenant.service("issues")
        authors = [{"external_id": str(i), "display_name": f"Author {i} \U0001f98a"} for i in range(94)]
        first = await service.identity.ImportMembers(external_source="github", authors=authors)
        assert [one.external_id for one in first.members] == [one["external_id"] for one in authors]
        assert all(one.is_new for one in first.members)
        authors.append({"external_id": "94", "display_name": "Late", "avatar_url": "https://example.com/a.png"})
        second = await service.identity.ImportMembers(external_source="github", authors=authors)
        assert [one.is_new for one in second.members] == [False] * 94 + [True]
        assert [one.user_id for one in second.members[:94]] == [one.user_id for one in first.members]
        late = next(
            one
            for one in (await tenant.owner.identity.ListMembers(page_size=200)).members
            if one.user_id == second.members[94].user_id
        )
        assert (late.kind, late.role, late.external_source, late.external_id) == (3, 1, "github", "94")
        assert late.avatar_url == "https://example.com/a.png"

    async def test_takes_no_seat(self, house: House) -> None:
        tenant = await house.tenant("noseat")
        await tenant.owner.identity.DisableMember(user_id=str(tenant.people[Role.VIEWER].user_id))
        await tenant.service("issues").identity.ImportMembers(
            external_source="x", authors=[{"external_id": str(i), "display_name": "A"} for i in range(20)]
        )
        await tenant.owner.identity.InviteMember(email="seat@example.com", role=2)

    async def test_two_at_once_agree(self, house: House) -> None:
        tenant = await house.tenant("twice")
        authors = [{"external_id": str(i), "display_name": "A"} for i in range(50)]
        replies = await asyncio.gather(
            *(tenant.service("issues").identity.ImportMembers(external_source="x", authors=authors) for _ in range(4))
        )
        assert len({tuple(one.user_id for one in reply.members) for reply in replies}) == 1
        assert sum(one.is_new for reply in replies for one in reply.members) == 50

    async def test_sources_and_tenants_are_apart(self, house: House) -> None:
        one, two = await house.tenant("one"), await house.tenant("two")
        authors = [{"external_id": "1", "display_name": "A"}]
        made = [
            (await tenant.service("issues").identity.ImportMembers(external_source=source, authors=authors)).members[0]
            for tenant, source in ((one, "github"), (one, "jira"), (two, "github"))
        ]
        assert len({member.user_id for member in made}) == 3

    async def test_is_for_services_that_list_it(self, house: House) -> None:
        tenant = await house.tenant("who")
        request: dict[str, Any] = {"external_source": "x", "authors": [{"external_id": "1", "display_name": "A"}]}
        with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
            await tenant.owner.identity.ImportMembers(**request)
        with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
            await tenant.service("audit").identity.ImportMembers(**request)
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await house.nobody().identity.ImportMembers(**request)
        with refused("INVALID_ARGUMENT", "INVALID_METADATA"):
            await house.service("issues").identity.ImportMembers(**request)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await house.service("issues", new_id()).identity.ImportMembers(**request)
        await set_status(house.database, tenant.tenant_id, "suspended")
        with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
            await tenant.service("issues").identity.ImportMembers(**request)

    @pytest.mark.parametrize(
        ("request_fields", "field"),
        [
            ({"external_source": ""}, "external_source"),
            ({"external_source": "a\nb"}, "external_source"),
            ({"authors": []}, "authors"),
            ({"authors": [{"external_id": "1", "display_name": "A"}] * 2}, "authors[1].external_id"),
            ({"authors": [{"external_id": "", "display_name": "A"}]}, "authors[0].external_id"),
            ({"authors": [{"external_id": "1", "display_name": " "}]}, "authors[0].display_name"),
            ({"authors": [{"external_id": "1", "display_name": "A\x00"}]}, "authors[0].display_name"),
            ({"authors": [{"external_id": str(i), "display_name": "A"} for i in range(501)]}, "authors"),
        ],
    )
    async def test_what_is_wrong_is_named(self, house: House, request_fields: dict[str, Any], field: str) -> None:
        tenant = await house.tenant("wrong")
        request = {"external_source": "x", "authors": [{"external_id": "1", "display_name": "A"}], **request_fields}
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await tenant.service("issues").identity.ImportMembers(**request)
        assert refusal.fields == [field]

    async def test_placeholders_are_no_persons(self, house: House) -> None:
        tenant = await house.tenant("ghost")
        reply = await tenant.service("issues").identity.ImportMembers(
            external_source="x", authors=[{"external_id": "1", "display_name": "Ghost"}]
        )
        ghost = UUID(reply.members[0].user_id)
        assert not (await house.user(ghost).identity.ListMyTenants()).tenants
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await house.user(ghost).identity.CreateTenant(tenant={"slug": f"ghost-{ghost.hex[-8:]}", "name": "G"})
