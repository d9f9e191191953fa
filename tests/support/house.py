"""The three services in this process, on free ports, built by the functions their processes use, called for real."""

from __future__ import annotations

import asyncio
import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import grpc.aio
import psycopg
import structlog
from bulkhead_cli import administration
from bulkhead_kit import logs
from bulkhead_kit.caller import Role
from bulkhead_kit.keyfiles import ACCESS, generate_keys, load_signer
from bulkhead_kit.server import Service
from bulkhead_kit.tokens import Signer

from tests.support import people
from tests.support.client import SERVICES, Client, Metadata
from tests.support.people import Person
from tests.support.postgres import ScratchDatabase
from tests.support.tokens import Mint


class Tenant:
    """A company with one member of every role."""

    def __init__(self, house: House, tenant_id: UUID, slug: str, members: dict[Role, Person]) -> None:
        self.house = house
        self.tenant_id = tenant_id
        self.slug = slug
        self.people = members

    def member(self, role: Role) -> Client:
        person = self.people[role]
        return self.house.member(person.user_id, self.tenant_id, role)

    @property
    def owner(self) -> Client:
        return self.member(Role.OWNER)

    def lift_limits(self) -> None:
        """Onto the plan without limits, past which no role can put a tenant yet."""
        with psycopg.connect(self.house.database.admin_dsn) as connection:
            connection.execute(
                "update identity.tenants set plan_code = 'enterprise' where tenant_id = %s", (self.tenant_id,)
            )

    def service(self, name: str) -> Client:
        """Another Bulkhead service acting in this tenant."""
        return self.house.service(name, self.tenant_id)


class House:
    def __init__(self, database: ScratchDatabase, folder: Path) -> None:
        self.database = database
        self.mint = Mint.open(folder / "keys")
        self.mails = folder / "mails"
        self.running: dict[str, Service] = {}
        self.channels: dict[str, grpc.aio.Channel] = {}
        self._connection: people.Connection | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        # Faults of ours show in a failing test's output; a line a call would only bury them. Undone at the end, and
        # kept by no logger in between: other tests read what is said below an error.
        logs.configure("test", output="json", level="error")
        structlog.configure(cache_logger_on_first_use=False)
        addresses: dict[str, str] = {}
        for name in SERVICES:
            service = self.build(name, addresses)
            self.running[name] = service
            addresses[name] = await service.start()
            self.channels[name] = grpc.aio.insecure_channel(addresses[name])

    def build(self, name: str, addresses: Mapping[str, str], **more: Any) -> Service:
        """Not yet listening. `more` are settings that differ from the usual ones of a test."""
        settings = {
            "listen": "127.0.0.1:0",
            "database_url": self.database.dsn(f"bulkhead_{name}_app"),
            "keys_dir": self.mint.keys,
            "database_pooler": self.database.pool_mode,
            "pool_min": 1,
            "pool_max": 8,
            "drain_seconds": 0.0,
            "grace_seconds": 1.0,
            # Counted as anywhere, and never too many: tests come from one address.
            **dict.fromkeys(
                ("rate_per_ip", "rate_per_principal", "rate_per_tenant", "rate_failed_keys", "rate_refused"),
                "999999999/minute",
            ),
            "rate_per_method": "*=999999999/minute",
            **({"platform_database_url": self.database.dsn("bulkhead_platform_app")} if name == "identity" else {}),
            **{f"{other}_address": address for other, address in addresses.items()},
            **more,
        }
        kind = getattr(importlib.import_module(f"bulkhead_{name}.settings"), f"{name.title()}Settings")
        serving = importlib.import_module(f"bulkhead_{name}.serving")
        service: Service = serving.build(kind(**settings))
        return service

    async def stop(self) -> None:
        for channel in self.channels.values():
            await channel.close()
        if self._connection is not None:
            await self._connection.close()
        # All of them, even if one fails: a pool that is left open keeps its database from being dropped.
        results = await asyncio.gather(*(s.stop() for s in self.running.values()), return_exceptions=True)
        structlog.reset_defaults()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def connection(self) -> people.Connection:
        """As bulkhead_identity_app; for making persons and tenants."""
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self.database.dsn("bulkhead_identity_app"), autocommit=True, prepare_threshold=None
            )
        return self._connection

    async def tenant(self, slug: str, *, names: str = "") -> Tenant:
        """A new company; the slug gets an ending of its own, so that a test can ask twice.

        `names` goes before the name of every member.
        """
        connection = await self.connection()
        owner = await people.make_person(connection, name=f"{names}Owner")
        slug = f"{slug}-{secrets.token_hex(4)}"
        tenant_id = await people.make_tenant(connection, owner, slug=slug)
        members = {Role.OWNER: owner}
        for role in (Role.ADMIN, Role.MANAGER, Role.MEMBER, Role.VIEWER):
            members[role] = await people.make_person(connection, name=names + role.name.title())
            await people.add_member(connection, tenant_id, owner, members[role], role)
        return Tenant(self, tenant_id, slug, members)

    def let_make_tenants(self, user_id: UUID) -> None:
        """As many as a test wants."""
        with psycopg.connect(self.database.admin_dsn) as connection:
            connection.execute(
                "insert into identity.tenant_allowances (user_id, max_tenants) values (%s, 100000)"
                " on conflict (user_id) do nothing",
                (user_id,),
            )

    async def person(self, name: str = "Ada") -> Person:
        return await people.make_person(await self.connection(), name=name)

    def with_token(self, token: str) -> Client:
        return Client(self.channels, lambda _: (("authorization", f"Bearer {token}"),))

    def nobody(self) -> Client:
        return Client(self.channels, lambda _: ())

    def user(self, user_id: UUID) -> Client:
        """Signed in, without a tenant."""
        return self.with_token(self.mint.person(user_id))

    async def signed_in(self, person: Person) -> Client:
        """Without a tenant, but with a session that is there."""
        session_id = await people.start_session(await self.connection(), person)
        return self.with_token(self.mint.person(person.user_id, session_id=session_id))

    async def platform_admin(self, person: Person) -> Client:
        """One who is in the database too, with a session and without a tenant."""
        administration.set_administrator(self.database.admin_dsn, person.email, is_admin=True)
        session_id = await people.start_session(await self.connection(), person)
        return self.with_token(self.mint.person(person.user_id, session_id=session_id, platform_admin=True))

    def forger(self) -> Signer:
        """Somebody else's key under the name of ours."""
        folder = self.mint.keys.parent / "forged"
        generate_keys(folder)
        forger = load_signer(folder, ACCESS)
        forger.kid = self.mint.access.kid
        return forger

    def member(self, user_id: UUID, tenant_id: UUID, role: Role, version: int = 1) -> Client:
        return self.with_token(self.mint.person(user_id, tenant_id=tenant_id, role=role, version=version))

    def service(self, name: str, tenant_id: UUID | None = None) -> Client:
        def metadata(called: str) -> Metadata:
            token = ("authorization", f"Bearer {self.mint.service(name, called, tenant_id)}")
            return (token,) if tenant_id is None else (token, ("x-tenant-id", str(tenant_id)))

        return Client(self.channels, metadata)
