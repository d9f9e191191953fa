"""Persons, tenants and members, made by identity's own functions as its own role, without mail and passwords.

What the RPCs of identity do with all that is tested in tests/identity; here it only has to be there.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

import argon2
import psycopg
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

Connection = psycopg.AsyncConnection
NO_PASSWORD = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(secrets.token_hex())
"""The hash of a password that is forgotten at once."""


@dataclass(frozen=True)
class Person:
    user_id: UUID
    email: str


async def set_context(connection: Connection, **values: object) -> None:
    """For the transaction, as the kit enters one for writing: user_id becomes app.user_id."""
    settings = {"writing": "true", **values}
    setting = "set_config('app.' || %s, %s, true)"
    await connection.execute(
        f"select {', '.join([setting] * len(settings))}".encode(),
        [text for name, value in settings.items() for text in (name, str(value))],
    )


async def make_person(connection: Connection, *, name: str = "Ada") -> Person:
    """With a proved address; nobody can log in as her, as her password has no known text."""
    person = Person(new_id(), f"{name.lower()}-{secrets.token_hex(6)}@example.com")
    token = secrets.token_bytes(32)
    async with connection.transaction():
        await connection.execute(
            "select identity.sign_up(%s, %s, %s, %s, %s, %s, interval '1 hour', %s, null)",
            (person.user_id, person.email, name, NO_PASSWORD, new_id(), _digest(token), new_id()),
        )
        await connection.execute("select identity.verify_email(%s, null)", (_digest(token),))
    return person


async def make_tenant(connection: Connection, owner: Person, *, slug: str, name: str = "") -> UUID:
    tenant_id = new_id()
    async with connection.transaction():
        await set_context(connection, user_id=owner.user_id, actor_type="person")
        await connection.execute("select identity.create_tenant(%s, %s, %s)", (tenant_id, slug, name or slug.title()))
    return tenant_id


async def add_member(connection: Connection, tenant_id: UUID, owner: Person, member: Person, role: Role) -> None:
    """By an invitation, like everybody."""
    token = secrets.token_bytes(32)
    async with connection.transaction():
        await set_context(
            connection, tenant_id=tenant_id, user_id=owner.user_id, role=Role.OWNER.value, actor_type="person"
        )
        await connection.execute(
            "insert into identity.invitations (tenant_id, invitation_id, email, role, token_hash, expires_at)"
            " values (%s, %s, %s, %s, %s, now() + interval '1 hour')",
            (tenant_id, new_id(), member.email, role.value, _digest(token)),
        )
    async with connection.transaction():
        await set_context(connection, user_id=member.user_id, actor_type="person")
        await connection.execute("select * from identity.accept_invitation(%s)", (_digest(token),))


async def start_session(connection: Connection, person: Person) -> UUID:
    """As a login does, without the password."""
    session_id = new_id()
    await connection.execute(
        "select identity.start_session("
        "%s, %s, interval '1 hour', %s, %s, interval '1 hour', null, null, %s, null, true, %s)",
        (session_id, person.user_id, new_id(), secrets.token_bytes(32), NO_PASSWORD, new_id()),
    )
    return session_id


async def membership(connection: Connection, tenant_id: UUID, user_id: UUID) -> tuple[Role, int]:
    """Role and version, as a token has to say them."""
    async with connection.transaction():
        await set_context(connection, tenant_id=tenant_id, role=Role.VIEWER.value)
        cursor = await connection.execute(
            "select role, version from identity.memberships where tenant_id = %s and user_id = %s", (tenant_id, user_id)
        )
        row = await cursor.fetchone()
    if row is None:
        raise LookupError(f"{user_id} is no member of {tenant_id}")
    return Role(row[0]), row[1]


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
