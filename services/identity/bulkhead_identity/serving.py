"""The identity service, put together for calls: here only."""

from __future__ import annotations

from datetime import timedelta

import grpc.aio
from bulkhead.identity.v1 import (
    api_key_service_pb2_grpc,
    auth_service_pb2_grpc,
    membership_service_pb2_grpc,
    platform_service_pb2_grpc,
    team_service_pb2_grpc,
    tenant_service_pb2_grpc,
    user_service_pb2_grpc,
)
from bulkhead_kit import assembly, serving
from bulkhead_kit.keyfiles import ACCESS, load_identity_secret, load_public_keys, load_signer
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.parts import Parts
from bulkhead_kit.server import Service
from bulkhead_kit.services_auth import ServiceAllowList

from bulkhead_identity.api_key.handler import ApiKeyHandler
from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.membership.handler import MembershipHandler
from bulkhead_identity.password.handler import PasswordHandler
from bulkhead_identity.passwords import Passwords
from bulkhead_identity.platform.handler import PlatformHandler
from bulkhead_identity.registration.handler import RegistrationHandler
from bulkhead_identity.session.handler import SessionHandler
from bulkhead_identity.session.rules import Lives
from bulkhead_identity.session.tokens import AccessTokens
from bulkhead_identity.settings import IdentitySettings
from bulkhead_identity.strength import Strength
from bulkhead_identity.team.handler import TeamHandler
from bulkhead_identity.tenant.handler import TenantHandler
from bulkhead_identity.tools import Tools
from bulkhead_identity.user.handler import UserHandler

_CARDS = "bulkhead.identity.v1.UserService/BatchGetMembers"
ALLOWED = ServiceAllowList(
    {"issues": ["bulkhead.identity.v1.MembershipService/ImportMembers", _CARDS], "audit": [_CARDS]}
)


class _Auth(SessionHandler, RegistrationHandler, PasswordHandler):
    """AuthService, of the slices that do its work."""

    def __init__(self, tools: Tools, page_tokens: PageTokens, public_keys: KeySet) -> None:
        SessionHandler.__init__(self, tools, page_tokens, public_keys)
        RegistrationHandler.__init__(self, tools)
        PasswordHandler.__init__(self, tools)


def register(parts: Parts, server: grpc.aio.Server) -> None:
    settings = parts.settings
    assert isinstance(settings, IdentitySettings)
    database, page_tokens = parts.database, parts.page_tokens
    tools = _tools(settings, parts)
    auth = _Auth(tools, page_tokens, load_public_keys(settings.keys_dir, [ACCESS]))
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(auth, server)
    tenants = TenantHandler(database, page_tokens)
    tenant_service_pb2_grpc.add_TenantServiceServicer_to_server(tenants, server)
    members = MembershipHandler(database, page_tokens, tools.derived, timedelta(days=settings.invitation_days))
    membership_service_pb2_grpc.add_MembershipServiceServicer_to_server(members, server)
    team_service_pb2_grpc.add_TeamServiceServicer_to_server(TeamHandler(database, page_tokens), server)
    keys = ApiKeyHandler(database, page_tokens)
    api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server(keys, server)
    user_service_pb2_grpc.add_UserServiceServicer_to_server(UserHandler(tools), server)
    if settings.platform_database_url is not None:
        # A role and a pool of its own: no statement of a tenant's call can run with the rights of the platform.
        platform = PlatformHandler(parts.other_database("platform"), page_tokens, tools.access)
        platform_service_pb2_grpc.add_PlatformServiceServicer_to_server(platform, server)


def _tools(settings: IdentitySettings, parts: Parts) -> Tools:
    passwords = Passwords(threads=settings.hash_threads, queue=settings.hash_queue)

    async def close() -> None:
        passwords.close()

    parts.closing.append(close)
    return Tools(
        database=parts.database,
        passwords=passwords,
        strength=Strength(queue=settings.hash_queue),
        access=AccessTokens(
            signer=load_signer(settings.keys_dir, ACCESS),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            seconds=settings.access_token_seconds,
        ),
        derived=DerivedTokens(load_identity_secret(settings.keys_dir)),
        lives=Lives(
            session=timedelta(days=settings.session_days),
            refresh_token=timedelta(hours=settings.refresh_token_hours),
            refresh_grace=timedelta(seconds=settings.refresh_grace_seconds),
            device=timedelta(days=settings.device_days),
            verify_email=timedelta(hours=settings.verify_email_hours),
        ),
    )


def build(settings: IdentitySettings) -> Service:
    """Not yet listening. Needs a running event loop."""
    return assembly.build(settings, register, ALLOWED)


def serve(settings: IdentitySettings) -> None:
    serving.serve(settings, register, ALLOWED)
