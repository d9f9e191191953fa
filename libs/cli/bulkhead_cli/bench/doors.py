"""What the bench measures of identity: logging in, staying logged in, and the list of members."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from pathlib import Path
from uuid import UUID

import grpc.aio
from bulkhead.identity.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    membership_service_pb2,
    membership_service_pb2_grpc,
)
from bulkhead_kit import metadata
from bulkhead_kit.keyfiles import load_signer
from bulkhead_kit.services_auth import ServiceTokens

from bulkhead_cli.bench.load import Next
from bulkhead_cli.bench.scene import Call
from bulkhead_cli.demo.company import Company
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.person import Person

PEOPLE = 20
"""More than are ever in flight: nobody logs in twice at once, and no session is refreshed by two."""
MEMBERS = 60
SERVICE = "/bulkhead.identity.v1."
PASSWORD = "the-tide-is-low-at-4"  # noqa: S105 - of people who live for one bench


class RepeatedTokenError(AssertionError):
    """A refresh gave a token that had been given before: it was not a rotation, and must not be measured as one."""


class Rotations:
    """Sessions that wait to be refreshed, each with the token of its last refresh."""

    def __init__(self, tokens: list[str]) -> None:
        self._waiting = deque(tokens)
        self._given = set(tokens)

    def following(self) -> bytes:
        """The session that has waited longest. Raises IndexError when all are in flight."""
        request = auth_service_pb2.RefreshTokenRequest(refresh_token=self._waiting.popleft())
        return request.SerializeToString()

    def heard(self, answer: bytes) -> None:
        token = auth_service_pb2.RefreshTokenResponse.FromString(answer).refresh_token.token
        if token in self._given:
            raise RepeatedTokenError
        self._given.add(token)
        self._waiting.append(token)


async def at_the_door(endpoints: Endpoints, company: Company) -> list[Call]:
    """Makes the people and says what to call."""
    addresses = await _people(endpoints)
    rotations = Rotations([await _session(endpoints, address) for address in addresses])
    await _members(endpoints, company)
    listed = membership_service_pb2.ListMembersRequest(page_size=50).SerializeToString()
    return [
        Call("Login", f"{SERVICE}AuthService/Login", _logins(addresses), "identity", is_public=True, hashes=True),
        Call(
            "RefreshToken",
            f"{SERVICE}AuthService/RefreshToken",
            rotations.following,
            "identity",
            heard=rotations.heard,
            is_public=True,
        ),
        Call("ListMembers(50)", f"{SERVICE}MembershipService/ListMembers", lambda: listed, "identity"),
    ]


def _logins(addresses: list[str]) -> Next:
    requests = [
        auth_service_pb2.LoginRequest(email=address, password=PASSWORD).SerializeToString() for address in addresses
    ]
    following = itertools.cycle(requests)
    return lambda: next(following)


async def _people(endpoints: Endpoints) -> list[str]:
    addresses = [f"door-{number}@example.com" for number in range(PEOPLE)]

    async def sign_up(address: str) -> None:
        async with Person(endpoints, "Door", address, PASSWORD) as person:
            await person.sign_up()

    await asyncio.gather(*map(sign_up, addresses))
    return addresses


async def _session(endpoints: Endpoints, address: str) -> str:
    """Its first refresh token."""
    async with grpc.aio.insecure_channel(endpoints.services["identity"]) as channel:
        request = auth_service_pb2.LoginRequest(email=address, password=PASSWORD)
        answer = await auth_service_pb2_grpc.AuthServiceStub(channel).Login(request)
    return str(answer.refresh_token.token)


async def _members(endpoints: Endpoints, company: Company) -> None:
    """Authors as an import brings them: they fill pages and take no seats."""
    tenant_id = UUID(company.tenant_id)
    token = ServiceTokens("issues", load_signer(Path(endpoints.keys), "issues")).token("identity", tenant_id)
    request = membership_service_pb2.ImportMembersRequest(
        external_source="bench",
        authors=[
            membership_service_pb2.ImportMembersRequest.Author(
                external_id=str(number), display_name=f"Pump keeper {number}"
            )
            for number in range(MEMBERS)
        ],
    )
    async with grpc.aio.insecure_channel(endpoints.services["identity"]) as channel:
        members = membership_service_pb2_grpc.MembershipServiceStub(channel)
        await members.ImportMembers(request, metadata=metadata.outgoing(token=token, tenant_id=tenant_id))
