"""Leaves out one check of the code at a time and demands that the probes notice."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import grpc.aio
import psycopg
import pytest
from bulkhead.rpc.v1.options_pb2 import Scope
from bulkhead_kit.caller import Role
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.code_mutants import MUTANTS, CodeMutant
from tests.isolation.conftest import World
from tests.isolation.mirror import MARK, mirror, spilled
from tests.isolation.outcomes import call
from tests.isolation.predicates import Watch, take_the_wall_down
from tests.isolation.rpc_probes import RpcProber, methods_to_probe, name_of, policy_of
from tests.isolation.samples import SAMPLES
from tests.isolation.samples.base import name, rid
from tests.isolation.state import changed, state_of
from tests.isolation.world import Company, import_of
from tests.support.builders import make_workspace
from tests.support.client import message_class
from tests.support.house import House
from tests.support.parts import PARTS
from tests.support.postgres import Databases

METHODS = {name_of(method): method for method in methods_to_probe()}
IN_TENANT = [name for name, method in METHODS.items() if policy_of(method).scope == Scope.SCOPE_TENANT]
_caught: list[str] = []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
async def test_a_check_left_out_is_noticed(
    mutant: CodeMutant, world: World, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = databases.clone(world.database.name)
    mutant.plant(monkeypatch, clone)
    async with House(clone, world.folder) as house:
        found = await RpcProber(*world.companies_at(house)).probe(METHODS[mutant.method])
    databases.drop(clone)
    assert found.leaks
    _caught.append(mutant.name)
    PARTS.found["Isolation mutants (code)"] = f"{len(_caught)} of {len(MUTANTS)} caught"


EQUIVALENT = {
    "UPDATE identity.request_ids": "the row it answers was made by the same transaction, under an id of the call's own",
    "UPDATE issues.request_ids": "the row it answers was made by the same transaction, under an id of the call's own",
    "INSERT INTO issues.status_transitions": "joins statuses made by the same transaction, with ids of their own",
}
"""Beginnings of queries that cannot reach another tenant's row even without their predicate, each with its reason."""
EVERY = 8
"""Of the queries, so many are left out in a short run for each that is tried."""


async def test_without_the_wall_every_query_still_keeps_to_its_tenant(
    world: World, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _hunt_predicates(world, databases, monkeypatch, every=EVERY, name="a sample")


@pytest.mark.soak
async def test_no_tenant_predicate_can_be_left_out(
    world: World, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _hunt_predicates(world, databases, monkeypatch, every=1, name="all")


async def _hunt_predicates(
    world: World, databases: Databases, monkeypatch: pytest.MonkeyPatch, *, every: int, name: str
) -> None:
    clone = databases.clone(world.database.name)
    watch = Watch()
    watch.patch(monkeypatch)
    with psycopg.connect(clone.admin_dsn, autocommit=True) as admin:
        take_the_wall_down(admin)
        async with House(clone, world.folder) as house:
            trial = Trial(admin, *world.companies_at(house))
            for method in IN_TENANT:
                with watch.method(method):
                    found = await trial.beside_a_mirror(method)
                assert not found, f"{method}: {found}"
                found = await trial.with_their_ids(method)
                assert not found, f"{method}: {found}"
            survivors = []
            tried = [
                (query, methods)
                for query, methods in watch.queries()
                if not query.sql.decode().startswith(tuple(EQUIVALENT))
            ][::every]
            for query, methods in tried:
                with watch.forgetful(query):
                    noticed = [method for method in methods if await trial.notices(method)]
                if not noticed:
                    survivors.append(query.sql.decode())
    databases.drop(clone)
    PARTS.found[f"Isolation mutants (tenant predicates, {name})"] = (
        f"{len(tried) - len(survivors)} of {len(tried)} caught"
    )
    assert not survivors, "\n\n".join(["", *survivors])


@dataclass
class Trial:
    """A method by its twin beside a mirror of its tenant, and with another tenant's ids."""

    admin: psycopg.Connection
    ours: Company
    theirs: Company
    copies: set[UUID] = field(default_factory=set)

    async def notices(self, name: str) -> list[str]:
        try:
            return await self.beside_a_mirror(name) or await self.with_their_ids(name)
        except grpc.aio.AioRpcError as error:
            # Not even what the method needs could be made.
            return [str(error.details())]

    async def beside_a_mirror(self, name: str) -> list[str]:
        method, owner = METHODS[name], self.ours.client(Role.OWNER)
        request = await SAMPLES[name].request(method, self.ours, Role.OWNER)
        reads = not policy_of(method).audited
        alone = await call(owner, method, request) if reads else None
        copied = mirror(self.admin, self.ours.tenant.tenant_id, marks_addresses=True)
        self.copies.add(copied)
        before = state_of(self.admin, copied)
        got = await call(owner, method, request)
        found = changed(before, state_of(self.admin, copied)) + spilled(self.admin, self.copies)
        if got.code != SAMPLES[name].expects or (alone is not None and got != alone):
            found.append(f"{got}, not as without a mirror")
        if MARK.encode() in got.body:
            found.append("shows names of the mirror")
        if name.endswith("/CreateWorkspace"):
            found += await self._in_a_new_tenant()
        if name.endswith("/ImportItems"):
            found += await self._what_only_a_mirror_has(method)
        return found

    async def _in_a_new_tenant(self) -> list[str]:
        """The first workspace brings the workflow, whatever other tenants have."""
        tenant = await self.ours.tenant.house.tenant("new")
        await make_workspace(tenant.owner)
        workflow = await tenant.owner.issues.ListStatuses()
        return [] if workflow.statuses and workflow.transitions else ["a new tenant has no workflow"]

    async def _what_only_a_mirror_has(self, method: MethodDescriptor) -> list[str]:
        """A comment that was imported elsewhere is imported here, too."""
        source = f"mirrored:{rid()}"
        message = message_class(method.input_type.full_name)
        request: list[Message] = [message(**fields) for fields in import_of(self.ours, source, name())]
        await call(self.ours.client(Role.OWNER), method, request)
        self.copies.add(mirror(self.admin, self.ours.tenant.tenant_id, marks_addresses=True))
        here = (self.ours.tenant.tenant_id, source)
        with self.admin.transaction():
            self.admin.execute("set local session_replication_role = replica")
            self.admin.execute("delete from issues.comments where tenant_id = %s and external_source = %s", here)
        await call(self.ours.client(Role.OWNER), method, request)
        counted = self.admin.execute(
            "select count(*) from issues.comments where tenant_id = %s and external_source = %s", here
        ).fetchone()
        return [] if counted == (1,) else ["a comment that is only in the mirror was taken for one that is here"]

    async def with_their_ids(self, name: str) -> list[str]:
        prober = RpcProber(self.ours, self.theirs)
        await prober.as_role(METHODS[name], policy_of(METHODS[name]), Role.OWNER)
        return prober.found.leaks
