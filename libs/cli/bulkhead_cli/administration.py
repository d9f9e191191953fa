"""Who administers the platform. Only who has the database's administrator's login says so; there is no RPC for it."""

import unicodedata

import psycopg

from bulkhead_cli.database import check_server
from bulkhead_cli.errors import MendableError

# The key that addresses are compared by. A person whose address is not proved may be anybody.
_SET = """
    update identity.users set is_platform_admin = %(is_admin)s
    where email_key = lower(%(email)s collate "C") and kind = 'person' and status = 'active'
    and email_verified_at is not null
"""


def set_administrator(admin: str, email: str, *, is_admin: bool) -> None:
    """Takes effect with the next call; to whoever lost it, support access to any tenant ends with it."""
    check_server(admin)
    with psycopg.connect(admin) as connection:
        connection.execute("set local role bulkhead_identity_owner")
        # For the audit log, where the change is kept.
        connection.execute(
            "select set_config('app.actor_type', 'system', true), set_config('app.rpc', 'command/admin', true)"
        )
        values = {"email": unicodedata.normalize("NFC", email.strip()), "is_admin": is_admin}
        if connection.execute(_SET, values).rowcount != 1:
            raise MendableError(
                f"Nobody with the address {email} has an account.", "let her sign up and prove the address first."
            )
