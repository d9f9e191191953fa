"""Whom the calls are made by, and about what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.scale.plans import Watch
from tests.support.client import Client, reason_of
from tests.support.house import House

# Of the greatest tenant: a person for each part, and what a filter can ask for.
_FACTS = """
    with members as (
        select
            m.user_id, u.email, row_number() over (partition by m.role order by m.user_id) as n, m.role, m.joined_at,
            exists (select from identity.memberships as o where o.user_id = m.user_id and o.role = 5) as owns
        from identity.memberships as m
        inner join identity.users as u on u.user_id = m.user_id
        inner join identity.tenants as t on t.tenant_id = m.tenant_id and t.slug = 'tenant-1'
        where m.status = 'active' and u.status = 'active' and u.email_verified_at is not null and m.kind = 'person'
    ),
    tokens as (
        select substr(u.email, 8, strpos(u.email, '@') - 8) as n, t.purpose
        from identity.one_time_tokens as t inner join identity.users as u on u.user_id = t.user_id
        where
            t.used_at is null and t.revoked_at is null and t.expires_at > now() + interval '15 minutes'
            and u.status = 'active' and t.created_at < now() - interval '1 minute'
    ),
    known as (
        select t.tenant_id, m.user_id as owner
        from identity.tenants as t inner join members as m on m.role = 5
        where t.slug = 'tenant-1'
    )
    select
        k.tenant_id, k.owner, a.user_id, a.email, b.user_id, b.email, c.user_id,
        (select max(m.external_id) from identity.memberships as m where m.tenant_id = k.tenant_id),
        (select to_char(percentile_disc(0.9) within group (order by m.joined_at) at time zone 'utc',
            'YYYY-MM-DD"T"HH24:MI:SS"Z"') from members as m),
        (select i.invitation_id from identity.invitations as i where i.tenant_id = k.tenant_id and i.status = 'open'
        order by i.invitation_id desc offset %(round)s limit 1),
        (select t.team_id from identity.teams as t where t.tenant_id = k.tenant_id and t.archived_at is null
        order by t.team_id offset %(round)s limit 1),
        d.user_id, d.email,
        (select u.email from identity.users as u where u.is_platform_admin order by u.user_id offset %(round)s limit 1),
        (select 'token' || n from tokens where purpose = 'verify_email' order by n offset %(round)s limit 1),
        (select 'token' || n from tokens where purpose = 'reset_password' order by n offset %(round)s limit 1),
        (select t.tenant_id from identity.tenants as t where t.slug = format('tenant-%%s', 30 + %(round)s))
    from known as k
    inner join members as a on a.role = 2 and a.n = 500 + %(round)s
    inner join members as b on b.role = 2 and b.n = 900 + %(round)s
    inner join members as c on c.role = 2 and c.n = 1300 + %(round)s
    cross join lateral (
        select m.user_id, m.email from members as m where m.role = 2 and m.n >= 1700 and not m.owns
        order by m.n offset %(round)s limit 1
    ) as d
"""


@dataclass(frozen=True)
class Facts:
    tenant_id: UUID
    owner: UUID
    member: UUID
    member_email: str
    other: UUID
    other_email: str
    leaver: UUID
    external_id: str
    late: str
    invitation_id: UUID
    team_id: UUID
    closer: UUID
    closer_email: str
    helper_email: str
    sign_up_token: str
    reset_token: str
    another_tenant_id: UUID


def look_up(admin_dsn: str, turn: int) -> Facts:
    """Of every turn its own people, so that the second finds all as the first did."""
    with psycopg.connect(admin_dsn) as connection:
        row = connection.execute(_FACTS, {"round": turn}).fetchone()
    assert row is not None, "nobody to call"
    assert None not in row, row
    return Facts(*row)


class Base:
    """What is asked and answered on the way to a call is not watched: only what is within `seen`."""

    def __init__(self, house: House, facts: Facts, watch: Watch, folder: Path) -> None:
        self.house = house
        self.facts = facts
        self.watch = watch
        self.folder = folder
        self.owner = house.member(facts.owner, facts.tenant_id, Role.OWNER)
        # Of each turn its own: one whose logins were counted in the turn before may have to wait.
        self.stranger = f"stranger-{new_id()}@example.com"

    async def seen(self, name: str, client: Client, rpc: str | None = None, **fields: Any) -> Any:
        """Calls what the name begins with."""
        method = rpc or name.partition(",")[0].partition(" ")[0]
        async with self.watch.case(name):
            return await getattr(client.identity, method)(**fields)

    async def refused(self, name: str, client: Client, reason: str, **fields: Any) -> None:
        """Refused for another reason, a call asks the database other things."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.seen(name, client, **fields)
        assert reason_of(caught.value) == reason, name
