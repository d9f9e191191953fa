"""Calls of people about themselves: coming in, passwords, profiles, the end of an account."""

from __future__ import annotations

import grpc.aio
import psycopg
from bulkhead_kit.ids import new_id

from tests.scale.base import Base
from tests.scale.crowd import PASSWORD
from tests.support.client import reason_of

NEW_PASSWORD = "tide-low-pump-9-keeper"


class PeopleCalls(Base):
    async def sign_in(self) -> None:
        nobody, facts = self.house.nobody(), self.facts
        entered = await self.seen("Login", nobody, email=facts.member_email, password=PASSWORD)
        known = {"email": facts.member_email, "device_token": entered.device_token}
        await self.seen("Login, on a known device", nobody, password=PASSWORD, **known)
        wrong = {"email": facts.other_email, "password": "wrong"}
        await self.refused("Login, wrong password", nobody, "CREDENTIALS_INVALID", **wrong)
        unknown = {"email": self.stranger, "password": PASSWORD}
        await self.refused("Login, unknown address", nobody, "CREDENTIALS_INVALID", **unknown)
        await self.throttled()
        token = entered.refresh_token.token
        token = (await self.seen("RefreshToken", nobody, refresh_token=token)).refresh_token.token
        await self.refused("RefreshToken, unknown token", nobody, "REFRESH_TOKEN_INVALID", refresh_token="x" * 43)
        person = self.house.with_token(entered.access_token.token)
        await self.seen("SelectTenant", person, tenant_id=str(facts.tenant_id))
        for kind, address in (("new", f"new-{new_id()}@example.com"), ("known", facts.other_email)):
            fields = {"email": address, "password": "tide-low-pump-9-keeper", "full_name": "Somebody"}
            await self.seen(f"SignUp, a {kind} address", nobody, **fields)
        await self.refused(
            "VerifyEmail, unknown token", nobody, "ONE_TIME_TOKEN_INVALID", token="x" * 43, password=PASSWORD
        )
        await self.seen("VerifyEmail", nobody, token=facts.sign_up_token, password=PASSWORD)
        await self.seen("ListSessions", person, page_size=2)
        lost = await nobody.identity.Login(email=facts.member_email, password=PASSWORD)
        await self.seen("RevokeSession", person, session_id=lost.session_id, request_id=str(new_id()))
        await self.seen("RevokeOtherSessions", person, request_id=str(new_id()))
        await self.seen("Logout", person, request_id=str(new_id()))

    async def throttled(self) -> None:
        """Until a second must be waited, which is made ten minutes: the next one is within that."""
        fields = {"email": self.stranger, "password": PASSWORD}
        reason = ""
        while reason != "RATE_LIMITED":
            try:
                await self.house.nobody().identity.Login(**fields)
            except grpc.aio.AioRpcError as error:
                reason = reason_of(error)
        with psycopg.connect(self.house.database.admin_dsn) as admin:
            admin.execute(
                "update identity.login_throttles set retry_at = now() + interval '10 minutes'"
                " where created_at = (select max(t.created_at) from identity.login_throttles as t)"
            )
        await self.refused("Login, throttled", self.house.nobody(), "RATE_LIMITED", **fields)

    async def passwords(self) -> None:
        nobody, facts = self.house.nobody(), self.facts
        await self.seen("ResendVerification", nobody, email=facts.other_email)
        await self.seen("ResendVerification, of an unknown address", nobody, email=self.stranger)
        await self.seen("RequestPasswordReset", nobody, email=facts.other_email)
        await self.seen("ResetPassword", nobody, token=facts.reset_token, new_password=NEW_PASSWORD)
        await self.refused(
            "ResetPassword, unknown token", nobody, "ONE_TIME_TOKEN_INVALID", token="x" * 43, new_password=NEW_PASSWORD
        )
        entered = await nobody.identity.Login(email=facts.other_email, password=PASSWORD)
        person = self.house.with_token(entered.access_token.token)
        await self.seen("ChangePassword", person, current_password=PASSWORD, new_password=NEW_PASSWORD)

    async def profiles(self) -> None:
        one, many = self.house.user(self.facts.member), self.house.user(self.facts.owner)
        await self.seen("GetMe", one)
        await self.seen("UpdateMe", one, user={"full_name": "Somebody Else", "bio": "New"}, request_id=str(new_id()))
        await self.seen("UpdateMe, of one who has 151", many, user={"full_name": "Somebody Else"})
        members = await self.owner.identity.ListMembers(page_size=200)
        ids = [member.user_id for member in members.members]
        await self.seen("BatchGetMembers, 200", self.owner, user_ids=ids)
        entered = await self.house.nobody().identity.Login(email=self.facts.closer_email, password=PASSWORD)
        await self.seen("CloseAccount", self.house.with_token(entered.access_token.token), password=PASSWORD)
