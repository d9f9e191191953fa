"""A person as a client has her: signs up, reads her mail, logs in, picks a tenant, and stays logged in."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import time
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc.aio
from bulkhead.audit.v1 import audit_service_pb2
from bulkhead.identity.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    membership_service_pb2,
    membership_service_pb2_grpc,
    tenant_pb2,
    tenant_service_pb2,
    tenant_service_pb2_grpc,
)
from bulkhead.issues.v1 import (
    comment_service_pb2,
    import_service_pb2,
    issue_service_pb2,
    label_service_pb2,
    project_service_pb2,
    workflow_service_pb2,
    workspace_service_pb2,
)
from bulkhead_kit.caller import Caller
from bulkhead_kit.client import Channel, connect
from bulkhead_kit.ids import new_id

from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.errors import MendableError

Q = TypeVar("Q")
R = TypeVar("R")

CONTRACTS = {
    "identity": (auth_service_pb2, tenant_service_pb2, membership_service_pb2),
    "issues": (
        workspace_service_pb2,
        project_service_pb2,
        workflow_service_pb2,
        label_service_pb2,
        issue_service_pb2,
        comment_service_pb2,
        import_service_pb2,
    ),
    "audit": (audit_service_pb2,),
}
RENEW_BEFORE = 60.0
MAIL_PATIENCE = 30.0
_token_in_link = re.compile(r"[?&]token=([A-Za-z0-9_.~-]+)")


class Person:
    """Her channels to all services, with the token she has at the time of each call."""

    def __init__(self, endpoints: Endpoints, name: str, address: str, password: str) -> None:
        self.name = name
        self.address = address
        self.user_id = ""
        self.tenant_id = ""
        self._password = password
        self._mail = Path(endpoints.mail)
        self._token: str | None = None
        self._expires = 0.0
        self._refresh = ""
        self.channels = {
            service: connect(
                endpoints.services[service],
                service=service,
                contracts=[one.full_name for file in files for one in file.DESCRIPTOR.services_by_name.values()],
                token=self._current_token,
                as_service=False,
            )
            for service, files in CONTRACTS.items()
        }
        self._auth = auth_service_pb2_grpc.AuthServiceStub(self.identity)

    @property
    def identity(self) -> Channel:
        return self.channels["identity"]

    @property
    def token(self) -> str:
        if self._token is None:
            raise LookupError(f"{self.name} is not logged in")
        return self._token

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self.channels.values():
            await channel.close()

    async def call(
        self, service: str, method: grpc.aio.UnaryUnaryMultiCallable[Q, R], request: Q, *, within: float | None = None
    ) -> R:
        """Raises the DomainError of the answer."""
        await self.stay_logged_in()
        return await self.channels[service].call(method, request, caller=None, within=within)

    async def sign_up(self) -> None:
        """Returns when the address is verified by the mail that came."""
        request = auth_service_pb2.SignUpRequest(
            email=self.address, password=self._password, full_name=self.name, request_id=str(new_id())
        )
        await self.identity.call(self._auth.SignUp, request, caller=None)
        token = await self.mailed_token("confirm")
        verify = auth_service_pb2.VerifyEmailRequest(token=token, password=self._password, request_id=str(new_id()))
        verified = await self.identity.call(self._auth.VerifyEmail, verify, caller=None)
        self.user_id = verified.user_id

    async def log_in(self) -> None:
        request = auth_service_pb2.LoginRequest(email=self.address, password=self._password)
        answer = await self.identity.call(self._auth.Login, request, caller=None)
        self.user_id = answer.user_id
        self._keep(answer.access_token)
        self._refresh = answer.refresh_token.token

    async def create_tenant(self, slug: str, name: str) -> tenant_pb2.Tenant:
        """She is its owner, and works in it from now on."""
        tenants = tenant_service_pb2_grpc.TenantServiceStub(self.identity)
        request = tenant_service_pb2.CreateTenantRequest(
            tenant=tenant_pb2.Tenant(slug=slug, name=name), request_id=str(new_id())
        )
        made = await self.call("identity", tenants.CreateTenant, request)
        await self.select(made.tenant_id)
        return made

    async def select(self, tenant_id: str) -> None:
        request = auth_service_pb2.SelectTenantRequest(tenant_id=tenant_id)
        answer = await self.identity.call(self._auth.SelectTenant, request, caller=None)
        self._keep(answer.access_token)
        self.tenant_id = tenant_id

    async def accept_invitation(self) -> None:
        """Returns when she works in the tenant that invited her."""
        members = membership_service_pb2_grpc.MembershipServiceStub(self.identity)
        token = await self.mailed_token("invites")
        request = membership_service_pb2.AcceptInvitationRequest(token=token, request_id=str(new_id()))
        accepted = await self.call("identity", members.AcceptInvitation, request)
        await self.select(accepted.tenant_id)

    async def stay_logged_in(self) -> None:
        if self._token is None or time.time() < self._expires - RENEW_BEFORE:
            return
        request = auth_service_pb2.RefreshTokenRequest(refresh_token=self._refresh)
        answer = await self.identity.call(self._auth.RefreshToken, request, caller=None)
        self._keep(answer.access_token)
        self._refresh = answer.refresh_token.token
        if self.tenant_id:
            await self.select(self.tenant_id)

    async def mailed_token(self, subject: str) -> str:
        """The token in the newest mail to her whose subject has these letters."""
        ends = time.monotonic() + MAIL_PATIENCE
        while time.monotonic() < ends:
            found = await asyncio.to_thread(self._newest_token, subject)
            if found is not None:
                return found
            await asyncio.sleep(0.1)
        raise MendableError(
            f"No mail to {self.address} came within {MAIL_PATIENCE:.0f} s.",
            "see what identity.work says in its log; it writes the mails.",
        )

    def _newest_token(self, subject: str) -> str | None:
        newest = sorted(self._mail.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in newest:
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if message["To"] != self.address or subject.lower() not in str(message["Subject"]).lower():
                continue
            body: Any = message.get_body(("plain",))
            found = _token_in_link.search(body.get_content())
            if found is not None:
                return found[1]
        return None

    def _keep(self, access: Any) -> None:
        self._token = access.token
        self._expires = access.expire_time.ToSeconds()

    def _current_token(self, _caller: Caller | None) -> str | None:
        return self._token
