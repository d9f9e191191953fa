"""Memberships, invitations, API keys and teams."""

from __future__ import annotations

from bulkhead_kit.caller import Role

from tests.isolation.samples.base import Fields, fixed, name, rid, sample
from tests.isolation.world import Company
from tests.support import people

fixed("identity.v1.MembershipService/ListMembers")
fixed("identity.v1.MembershipService/ListInvitations", filter="state = OPEN")
fixed("identity.v1.MembershipService/AcceptInvitation", token="unknown", expects="FAILED_PRECONDITION")


@sample("identity.v1.MembershipService/InviteMember")
async def _invite(_company: Company, _role: Role) -> Fields:
    return {"email": f"{rid()}@example.com", "role": Role.VIEWER.value, "request_id": rid()}


@sample("identity.v1.MembershipService/RevokeInvitation")
async def _revoke_invitation(company: Company, role: Role) -> Fields:
    invitation = await company.client(Role.OWNER).identity.InviteMember(email=f"{rid()}@example.com", role=role.value)
    return {"invitation_id": invitation.invitation_id, "request_id": rid()}


@sample("identity.v1.MembershipService/GetMember")
async def _get_member(company: Company, _role: Role) -> Fields:
    return {"user_id": company.one("member")}


@sample("identity.v1.MembershipService/LeaveTenant")
async def _leave_tenant(company: Company, _role: Role) -> Fields:
    """Another's tenant, which our owner has joined: her own she could not leave."""
    connection = await company.tenant.house.connection()
    founder = await people.make_person(connection)
    tenant_id = await people.make_tenant(connection, founder, slug=f"t{rid()}")
    await people.add_member(connection, tenant_id, founder, company.tenant.people[Role.OWNER], Role.MEMBER)
    return {"tenant_id": str(tenant_id), "request_id": rid()}


@sample("identity.v1.MembershipService/ChangeRole")
async def _change_role(company: Company, _role: Role) -> Fields:
    return {"user_id": await _new_member(company), "role": Role.MEMBER.value, "request_id": rid()}


@sample("identity.v1.MembershipService/DisableMember")
async def _disable(company: Company, _role: Role) -> Fields:
    return {"user_id": await _new_member(company), "request_id": rid()}


@sample("identity.v1.MembershipService/EnableMember")
async def _enable(company: Company, _role: Role) -> Fields:
    user_id = await _new_member(company)
    await company.client(Role.OWNER).identity.DisableMember(user_id=user_id)
    return {"user_id": user_id, "request_id": rid()}


@sample("identity.v1.ApiKeyService/CreateApiKey")
async def _create_api_key(company: Company, _role: Role) -> Fields:
    return {"display_name": name(), "user_id": company.one("service account"), "request_id": rid()}


fixed("identity.v1.ApiKeyService/ListApiKeys")


@sample("identity.v1.ApiKeyService/RevokeApiKey")
async def _revoke_api_key(company: Company, _role: Role) -> Fields:
    account = company.one("service account")
    made = await company.client(Role.OWNER).identity.CreateApiKey(display_name=name(), user_id=account)
    return {"api_key_id": made.api_key.api_key_id, "request_id": rid()}


@sample("identity.v1.MembershipService/ImportMembers")
async def _import_members(_company: Company, _role: Role) -> Fields:
    author = {"external_id": rid(), "display_name": name()}
    return {"external_source": "sample", "authors": [author]}


fixed("identity.v1.TeamService/ListTeams", show_archived=True, filter="user_id != me")


@sample("identity.v1.TeamService/CreateTeam")
async def _create_team(_company: Company, _role: Role) -> Fields:
    return {"team": {"name": name()}, "request_id": rid()}


@sample("identity.v1.TeamService/GetTeam")
async def _get_team(company: Company, _role: Role) -> Fields:
    return {"team_id": company.one("team")}


@sample("identity.v1.TeamService/UpdateTeam")
async def _update_team(company: Company, _role: Role) -> Fields:
    return {"team": {"team_id": await _new_team(company), "name": name()}, "request_id": rid()}


@sample("identity.v1.TeamService/ArchiveTeam")
async def _archive_team(company: Company, _role: Role) -> Fields:
    return {"team_id": await _new_team(company), "request_id": rid()}


@sample("identity.v1.TeamService/UnarchiveTeam")
async def _unarchive_team(company: Company, _role: Role) -> Fields:
    team_id = await _new_team(company)
    await company.client(Role.OWNER).identity.ArchiveTeam(team_id=team_id)
    return {"team_id": team_id, "request_id": rid()}


@sample("identity.v1.TeamService/AddTeamMember")
async def _add_team_member(company: Company, _role: Role) -> Fields:
    return {"team_id": await _new_team(company), "user_id": company.one("member"), "request_id": rid()}


@sample("identity.v1.TeamService/RemoveTeamMember")
async def _remove_team_member(company: Company, _role: Role) -> Fields:
    place = {"team_id": await _new_team(company), "user_id": company.one("member")}
    await company.client(Role.OWNER).identity.AddTeamMember(**place)
    return {**place, "request_id": rid()}


@sample("identity.v1.TeamService/ListTeamMembers")
async def _list_team_members(company: Company, _role: Role) -> Fields:
    return {"team_id": company.one("team")}


async def _new_team(company: Company) -> str:
    return str((await company.client(Role.OWNER).identity.CreateTeam(team={"name": name()})).team_id)


async def _new_member(company: Company) -> str:
    house = company.tenant.house
    connection = await house.connection()
    person = await people.make_person(connection)
    owner = company.tenant.people[Role.OWNER]
    await people.add_member(connection, company.tenant.tenant_id, owner, person, Role.VIEWER)
    return str(person.user_id)
