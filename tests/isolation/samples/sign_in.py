"""Coming in, sessions, passwords, and a person's own profile."""

from __future__ import annotations

import psycopg
from bulkhead_kit.caller import Role

from tests.isolation.samples.base import Fields, fixed, name, rid, sample
from tests.isolation.world import Company
from tests.support import people

fixed("identity.v1.AuthService/GetJwks")
fixed("identity.v1.AuthService/RefreshToken", refresh_token="bhr_unknown", expects="UNAUTHENTICATED")
fixed(
    "identity.v1.AuthService/VerifyEmail",
    token="unknown",
    password="not her password",
    expects="FAILED_PRECONDITION",
)
fixed("identity.v1.AuthService/Logout")
fixed("identity.v1.AuthService/ListSessions")
fixed("identity.v1.AuthService/ResendVerification", email="nobody@example.com")
fixed("identity.v1.AuthService/RequestPasswordReset", email="nobody@example.com")
fixed(
    "identity.v1.AuthService/ResetPassword",
    token="unknown",
    new_password="four other words there",
    expects="FAILED_PRECONDITION",
)
fixed("identity.v1.AuthService/RevokeOtherSessions")


@sample("identity.v1.AuthService/Login", expects="UNAUTHENTICATED")
async def _login(_company: Company, _role: Role) -> Fields:
    # Another address each time: one that is tried often has to wait.
    return {"email": f"{rid()}@example.com", "password": "not her password"}


@sample("identity.v1.AuthService/ChangePassword", expects="UNAUTHENTICATED")
async def _change_password(company: Company, _role: Role) -> Fields:
    _forget_failures(company)
    return {"current_password": "not her password", "new_password": "four other words there"}


def _forget_failures(company: Company) -> None:
    """Who has tried often with a wrong password has to wait, and it is always the owner who tries."""
    with psycopg.connect(company.tenant.house.database.admin_dsn) as connection:
        connection.execute("update identity.login_throttles set failures = 0, retry_at = now()")


@sample("identity.v1.AuthService/SignUp")
async def _sign_up(_company: Company, _role: Role) -> Fields:
    return {
        "email": f"{rid()}@example.com",
        "password": "four plain words here",
        "full_name": "Ada",
        "request_id": rid(),
    }


@sample("identity.v1.AuthService/SelectTenant")
async def _select_tenant(company: Company, _role: Role) -> Fields:
    return {"tenant_id": company.one("tenant")}


@sample("identity.v1.AuthService/RevokeSession")
async def _revoke_session(company: Company, _role: Role) -> Fields:
    house = company.tenant.house
    return {
        "session_id": str(await people.start_session(await house.connection(), company.tenant.people[Role.OWNER])),
        "request_id": rid(),
    }


fixed("identity.v1.UserService/GetMe")


@sample("identity.v1.UserService/CloseAccount", expects="UNAUTHENTICATED")
async def _close_account(company: Company, _role: Role) -> Fields:
    _forget_failures(company)
    return {"password": "not her password"}


@sample("identity.v1.UserService/UpdateMe")
async def _update_me(_company: Company, _role: Role) -> Fields:
    return {"user": {"bio": name()}, "request_id": rid()}


@sample("identity.v1.UserService/BatchGetMembers")
async def _batch_get_members(company: Company, _role: Role) -> Fields:
    return {"user_ids": [company.one("member")]}
