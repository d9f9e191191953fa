"""BatchGetMembers."""

from __future__ import annotations

import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.support.client import refused
from tests.support.house import House


async def test_faces_in_the_order_asked_for(house: House) -> None:
    own, other = await house.tenant("own"), await house.tenant("other")
    imported = await own.service("issues").identity.ImportMembers(
        external_source="github", authors=[{"external_id": "1", "display_name": "Ghost", "avatar_url": "https://g/1"}]
    )
    await own.owner.identity.DisableMember(user_id=str(own.people[Role.MEMBER].user_id))
    ghost = imported.members[0].user_id
    ids = {role: str(person.user_id) for role, person in own.people.items()}
    stranger, nobody = str(other.people[Role.OWNER].user_id), str(new_id())
    asked = [ids[Role.VIEWER], stranger, ghost, ids[Role.MEMBER], nobody, ids[Role.OWNER].upper()]
    for client in (own.member(Role.VIEWER), own.service("issues"), own.service("audit")):
        reply = await client.identity.BatchGetMembers(user_ids=asked)
        assert [(card.display_name, card.kind, card.state) for card in reply.members] == [
            ("Viewer", 1, 1),
            ("Ghost", 3, 1),
            ("Member", 1, 2),
            ("Owner", 1, 1),
        ]
        assert [card.user_id for card in reply.members][-1] == ids[Role.OWNER]
        assert reply.members[1].avatar_url == "https://g/1"
        assert list(reply.missing_user_ids) == [stranger, nobody]


@pytest.mark.parametrize("ids", [[], ["7"], ["x"] * 2])
async def test_wrong_ids(house: House, ids: list[str]) -> None:
    tenant = await house.tenant("wrong")
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await tenant.owner.identity.BatchGetMembers(user_ids=ids)


async def test_many_and_too_many(house: House) -> None:
    tenant = await house.tenant("many")
    ids = [str(new_id()) for _ in range(199)] + [str(tenant.people[Role.OWNER].user_id)]
    reply = await tenant.owner.identity.BatchGetMembers(user_ids=ids)
    assert (len(reply.members), list(reply.missing_user_ids)) == (1, ids[:199])
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await tenant.owner.identity.BatchGetMembers(user_ids=[*ids, str(new_id())])


async def test_who_may_not(house: House) -> None:
    tenant, one = await house.tenant("denied"), str(new_id())
    with refused("UNAUTHENTICATED", "TENANT_NOT_SELECTED"):
        await house.user(new_id()).identity.BatchGetMembers(user_ids=[one])
    with refused("INVALID_ARGUMENT", "INVALID_METADATA"):
        await house.service("issues").identity.BatchGetMembers(user_ids=[one])
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await house.service("issues", new_id()).identity.BatchGetMembers(user_ids=[one])
    assert (await tenant.owner.identity.BatchGetMembers(user_ids=[one])).missing_user_ids == [one]
