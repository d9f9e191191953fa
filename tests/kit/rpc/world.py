"""A probe server with keys, tokens and clients, started on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.denials import Denials
from bulkhead_kit.ids import new_id
from bulkhead_kit.interceptors.base import Chain
from bulkhead_kit.interceptors.caller import ApiKeys, Callers
from bulkhead_kit.interceptors.limits import Limits, RateLimit
from bulkhead_kit.interceptors.telemetry import RpcMetrics
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.rates.refusals import Refusals
from bulkhead_kit.server import ServerOptions, Service
from bulkhead_kit.services_auth import Authenticator, ServiceAllowList, ServiceTokens, service_verifier
from bulkhead_kit.tokens import AccessClaims, Signer, access_verifier, sign_access
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry

from tests.kit.rpc.probe import SERVICE, ProbeServicer, ProbeStub

ISSUER, AUDIENCE, NAME = "https://identity.example", "bulkhead", "probe"
FRIEND = "friend"
"""The service that may call AsService and Ask; any other may call nothing."""


def make_signer(kid: str) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), kid)


ACCESS = make_signer("access:1")
SERVICES = {name: make_signer(f"{name}:1") for name in (FRIEND, "stranger", "gateway")}


def authenticator() -> Authenticator:
    people = KeySet({ACCESS.kid: ACCESS.public_key()})
    services = KeySet({signer.kid: signer.public_key() for signer in SERVICES.values()})
    return Authenticator(
        access_verifier(people, issuer=ISSUER, audience=AUDIENCE), service_verifier(services, audience=NAME)
    )


@dataclass
class Person:
    tenant_id: UUID | None = field(default_factory=new_id)
    role: Role = Role.MEMBER
    user_id: UUID = field(default_factory=new_id)
    session_id: UUID = field(default_factory=new_id)
    platform_admin: bool = False
    lasts: int = 200

    def claims(self) -> AccessClaims:
        tenant = self.tenant_id
        return AccessClaims(
            sub=self.user_id,
            sid=self.session_id,
            exp=int(clock.unix()) + self.lasts,
            tid=tenant,
            role=self.role if tenant else None,
            mv=3 if tenant else None,
            platform_admin=self.platform_admin,
        )

    def token(self) -> str:
        return sign_access(ACCESS, self.claims(), issuer=ISSUER, audience=AUDIENCE)

    def metadata(self, **more: str) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.token()}"), *named(more)]


def service_token(name: str, tenant: UUID | None = None) -> str:
    return ServiceTokens(name, SERVICES[name]).token(NAME, tenant)


def service_metadata(name: str, **more: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {service_token(name)}"), *named(more)]


def named(entries: Mapping[str, str]) -> list[tuple[str, str]]:
    """Keyword arguments to metadata: x_tenant_id is x-tenant-id."""
    return [(key.replace("_", "-"), value) for key, value in entries.items()]


class World:
    def __init__(self, service: Service, servicer: ProbeServicer, chain: Chain, registry: CollectorRegistry) -> None:
        self.service = service
        self.servicer = servicer
        self.chain = chain
        self.registry = registry
        self.missing: str | BaseException | None = None
        """What the probe finds missing, or how it breaks."""

    @property
    def address(self) -> str:
        return self.service.address

    @asynccontextmanager
    async def stub(self, options: Sequence[tuple[str, Any]] = ()) -> AsyncIterator[Any]:
        async with grpc.aio.insecure_channel(self.address, options=list(options)) as channel:
            yield ProbeStub(channel)


def make_chain(
    *,
    calls: int = 100,
    streams: int = 100,
    rate_limit: RateLimit | None = None,
    refusals: Refusals | None = None,
    denials: Denials | None = None,
    api_keys: ApiKeys | None = None,
    registry: CollectorRegistry | None = None,
    allowed: Mapping[str, Sequence[str]] | None = None,
) -> Chain:
    return Chain(
        callers=Callers(authenticator(), api_keys=api_keys, refusals=refusals),
        services=ServiceAllowList(allowed or {FRIEND: [f"{SERVICE}/AsService", f"{SERVICE}/Ask"]}),
        limits=Limits(calls=calls, streams=streams, rate_limit=rate_limit, refusals=refusals),
        metrics=RpcMetrics(registry or CollectorRegistry()),
        denials=denials,
    )


@asynccontextmanager
async def running(
    *,
    options: ServerOptions | None = None,
    chain: Chain | None = None,
    ready_every: float = 0.05,
    servicer: ProbeServicer | None = None,
    missing: str | None = None,
) -> AsyncIterator[World]:
    registry = CollectorRegistry()
    chain = chain or make_chain(registry=registry)
    servicer = servicer or ProbeServicer()

    async def ready() -> str | None:
        if isinstance(world.missing, BaseException):
            raise world.missing
        return world.missing

    service = Service(
        NAME,
        chain=chain,
        options=options or ServerOptions(drain_delay=0.0, grace=2.0, probe_every=ready_every),
        ready=ready,
        register=servicer.register,
    )
    world = World(service, servicer, chain, registry)
    world.missing = missing
    await service.start()
    try:
        yield world
    finally:
        await service.stop()  # a second time, where the test has stopped it
