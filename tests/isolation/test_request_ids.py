"""A request_id is of one tenant and one caller: nobody gets the answer to another's call by repeating it."""

from __future__ import annotations

from bulkhead.issues.v1 import label_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.support import people
from tests.support.client import Client, refused
from tests.support.house import House, Tenant


async def create(client: Client, name: str, request_id: str) -> str:
    label = await client.issues.CreateLabel(label=label_pb2.Label(name=name), request_id=request_id)
    return str(label.label_id)


async def join(house: House, tenant: Tenant, other: Tenant) -> None:
    """The owner of the one becomes an admin of the other."""
    other.lift_limits()
    connection = await house.connection()
    owner, member = other.people[Role.OWNER], tenant.people[Role.OWNER]
    await people.add_member(connection, other.tenant_id, owner, member, Role.ADMIN)


async def test_the_same_caller_gets_her_answer_again(house: House) -> None:
    acme, request_id = await house.tenant("acme"), str(new_id())
    first = await create(acme.owner, "secret plan", request_id)
    assert await create(acme.owner, "secret plan", request_id) == first
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await create(acme.owner, "another plan", request_id)


async def test_another_tenant_gets_its_own_effect(house: House) -> None:
    acme, globex, request_id = await house.tenant("acme"), await house.tenant("globex"), str(new_id())
    first = await create(acme.owner, "secret plan", request_id)
    assert await create(globex.owner, "secret plan", request_id) != first
    assert await create(acme.owner, "secret plan", request_id) == first


async def test_a_fellow_member_gets_her_own_effect(house: House) -> None:
    acme, request_id = await house.tenant("acme"), str(new_id())
    first = await create(acme.owner, "secret plan", request_id)
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await create(acme.member(Role.ADMIN), "secret plan", request_id)
    assert await create(acme.member(Role.ADMIN), "other plan", request_id) != first


async def test_the_same_person_in_another_tenant_gets_an_effect_there(house: House) -> None:
    acme, globex, request_id = await house.tenant("acme"), await house.tenant("globex"), str(new_id())
    await join(house, acme, globex)
    person = acme.people[Role.OWNER].user_id
    elsewhere = house.member(person, globex.tenant_id, Role.ADMIN)
    first = await create(acme.owner, "secret plan", request_id)
    assert await create(elsewhere, "secret plan", request_id) != first
    names = {label.name for label in (await elsewhere.issues.ListLabels()).labels}
    assert names == {"secret plan"}
