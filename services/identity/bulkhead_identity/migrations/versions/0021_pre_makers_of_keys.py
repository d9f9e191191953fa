"""A key is worth at most what its maker may now, and support access what the owner who granted it may."""

from bulkhead_kit.migrations import run_sql

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run_sql(MADE)
    run_sql(WITHDRAW)
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(CHECK)
    run_sql(FIND)
    run_sql(LEAVE_THE_DEFINERS_PLACE)


def downgrade() -> None:
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(CHECK_BEFORE)
    run_sql(FIND_BEFORE)
    run_sql(LEAVE_THE_DEFINERS_PLACE)
    run_sql("""
    drop trigger fence_makings on identity.memberships;
    drop function identity.fence_makings();
    drop index identity.api_keys_created_by_idx;
    revoke select (created_by) on identity.api_keys from bulkhead_identity_definer;
    comment on column identity.memberships.version is
    'Raised when role, status, left_at or support_until change or a key of the account is revoked, and only then: '
    'tokens carry it, and one with an older version is refused.';
    comment on column identity.api_keys.created_by is null;
    comment on table identity.api_keys is
    'Keys of service accounts. What a key may do is what its account''s membership says; here is how it is known.';
    """)


TAKE_THE_DEFINERS_PLACE = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
"""

LEAVE_THE_DEFINERS_PLACE = """
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""

MADE = """
grant select (created_by) on identity.api_keys to bulkhead_identity_definer;
-- A tenant has at most a hundred live keys.
-- squawk-ignore require-concurrent-index-creation
create index api_keys_created_by_idx on identity.api_keys (tenant_id, created_by) where revoked_at is null;
comment on column identity.api_keys.created_by is
'Who made it: a key opens at most what its maker may now, and nothing while she is no active member.';
comment on table identity.api_keys is
'Keys of service accounts. What a key may do is what its account''s membership says and its maker''s allows; here is '
'how it is known.';
"""

WITHDRAW = """
create function identity.fence_makings() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The limits are locked, by aa_stamp at the latest. A write that was let in by a key has long ended a day after it.
    update identity.memberships as m set version = m.version + 1
    where m.tenant_id = new.tenant_id and m.kind = 'service' and m.user_id in (
        select k.user_id from identity.api_keys as k
        where
            k.tenant_id = new.tenant_id and k.created_by = new.user_id and k.revoked_at is null
            and (k.expires_at is null or k.expires_at > now() - interval '1 day')
    );
    if old.role = 5 then
        update identity.support_grants as g set revoked_at = now()
        where
            g.tenant_id = new.tenant_id and g.created_by = new.user_id and g.revoked_at is null
            and g.expires_at > now();
    end if;
    return null;
end
$$;
revoke all on function identity.fence_makings() from public;
comment on function identity.fence_makings() is
'Whoever may less from now on has given no more by keys: their accounts get another version, behind the lock that '
'every write by them holds. Support access that an owner granted ends with her ownership.';
create trigger fence_makings after update on identity.memberships for each row
when (old.kind = 'person' and old.status = 'active' and (new.status <> 'active' or new.role < old.role))
execute function identity.fence_makings();
comment on column identity.memberships.version is
'Raised when role, status, left_at or support_until change, a key of the account is revoked or the maker of one may '
'less, and only then: tokens carry it, and one with an older version is refused.';
"""

CHECK = """
create or replace function identity.check_membership(
    p_tenant uuid, p_user uuid, p_role smallint, p_version integer, p_write boolean
) returns table (role smallint, status text, team_ids uuid[])
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
declare
    v_kind text;
    v_version integer;
    v_tenant_status text;
    v_support_until timestamptz;
begin
    if p_write then
        -- First the locks, then the look: whoever changes these rows waits for us, or we see what was changed.
        perform
            pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant)),
            pg_advisory_xact_lock_shared(identity.membership_key(p_tenant, p_user));
    end if;
    select
        m.kind, m.role, m.status, m.version, m.support_until, t.status,
        array(
            select tm.team_id from identity.team_members as tm
            where tm.tenant_id = p_tenant and tm.user_id = p_user and tm.removed_at is null
        )
    into v_kind, check_membership.role, check_membership.status, v_version, v_support_until,
        v_tenant_status, check_membership.team_ids
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where m.tenant_id = p_tenant and m.user_id = p_user;
    if v_kind = 'service' and p_role < check_membership.role then
        -- By a key whose maker may less by now; what she may less from now on raises the version.
        check_membership.role := p_role;
    end if;
    if not found or check_membership.status <> 'active' or check_membership.role <> p_role or v_version <> p_version
        -- By the clock, not by the transaction's beginning: it may have waited for a lock.
        or v_support_until <= clock_timestamp()
    then
        perform app.refuse(16, 'MEMBERSHIP_CHANGED', 'the membership has changed, get a new token');
    end if;
    if v_tenant_status <> 'active' then
        if v_tenant_status = 'deleted' then
            perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
        elsif p_write then
            perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
        end if;
    end if;
    return next;
end
$$;
"""

FIND = """
create or replace function identity.find_api_key(p_secret_hash bytea, p_ip inet)
returns table (tenant_id uuid, user_id uuid, role smallint, version integer, expires_at timestamptz)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_api_key_id uuid;
    v_last_used_at timestamptz;
begin
    select k.tenant_id, k.user_id, least(m.role, c.role), m.version, k.expires_at, k.api_key_id, k.last_used_at
    into
        find_api_key.tenant_id, find_api_key.user_id, find_api_key.role, find_api_key.version,
        find_api_key.expires_at, v_api_key_id, v_last_used_at
    from identity.api_keys as k
    inner join identity.memberships as m on m.tenant_id = k.tenant_id and m.user_id = k.user_id
    inner join identity.users as u on u.user_id = k.user_id
    -- Who made it, as she is now.
    inner join identity.memberships as c on c.tenant_id = k.tenant_id and c.user_id = k.created_by
    inner join identity.users as cu on cu.user_id = k.created_by
    where
        k.secret_hash = p_secret_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
        and (cardinality(k.ip_ranges) = 0 or p_ip <<= any(k.ip_ranges))
        and m.kind = 'service' and m.status = 'active' and u.status = 'active'
        and c.kind = 'person' and c.status = 'active' and cu.status = 'active';
    if not found then
        return;
    end if;
    if v_last_used_at is null or v_last_used_at <= now() - interval '1 minute' then
        -- Of calls at once one writes it down, and none waits for another.
        update identity.api_keys as k set last_used_at = now()
        from (
            select f.tenant_id, f.api_key_id from identity.api_keys as f
            where f.tenant_id = find_api_key.tenant_id and f.api_key_id = v_api_key_id
            for no key update skip locked
        ) as free
        where k.tenant_id = free.tenant_id and k.api_key_id = free.api_key_id;
    end if;
    return next;
end
$$;
comment on function identity.find_api_key(bytea, inet) is
'First step of every call with an API key: the membership it stands for, with the lower of its account''s and its '
'maker''s role. No row for one that is unknown, revoked, expired, used from elsewhere, or of an account or a maker '
'that is disabled.';
"""

CHECK_BEFORE = """
create or replace function identity.check_membership(
    p_tenant uuid, p_user uuid, p_role smallint, p_version integer, p_write boolean
) returns table (role smallint, status text, team_ids uuid[])
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
    v_tenant_status text;
    v_support_until timestamptz;
begin
    if p_write then
        -- First the locks, then the look: whoever changes these rows waits for us, or we see what was changed.
        perform
            pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant)),
            pg_advisory_xact_lock_shared(identity.membership_key(p_tenant, p_user));
    end if;
    select
        m.role, m.status, m.version, m.support_until, t.status,
        array(
            select tm.team_id from identity.team_members as tm
            where tm.tenant_id = p_tenant and tm.user_id = p_user and tm.removed_at is null
        )
    into check_membership.role, check_membership.status, v_version, v_support_until,
        v_tenant_status, check_membership.team_ids
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where m.tenant_id = p_tenant and m.user_id = p_user;
    if not found or check_membership.status <> 'active' or check_membership.role <> p_role or v_version <> p_version
        -- By the clock, not by the transaction's beginning: it may have waited for a lock.
        or v_support_until <= clock_timestamp()
    then
        perform app.refuse(16, 'MEMBERSHIP_CHANGED', 'the membership has changed, get a new token');
    end if;
    if v_tenant_status <> 'active' then
        if v_tenant_status = 'deleted' then
            perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
        elsif p_write then
            perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
        end if;
    end if;
    return next;
end
$$;
"""

FIND_BEFORE = """
create or replace function identity.find_api_key(p_secret_hash bytea, p_ip inet)
returns table (tenant_id uuid, user_id uuid, role smallint, version integer, expires_at timestamptz)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_api_key_id uuid;
    v_last_used_at timestamptz;
begin
    select k.tenant_id, k.user_id, m.role, m.version, k.expires_at, k.api_key_id, k.last_used_at
    into
        find_api_key.tenant_id, find_api_key.user_id, find_api_key.role, find_api_key.version,
        find_api_key.expires_at, v_api_key_id, v_last_used_at
    from identity.api_keys as k
    inner join identity.memberships as m on m.tenant_id = k.tenant_id and m.user_id = k.user_id
    inner join identity.users as u on u.user_id = k.user_id
    where
        k.secret_hash = p_secret_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
        and (cardinality(k.ip_ranges) = 0 or p_ip <<= any(k.ip_ranges))
        and m.kind = 'service' and m.status = 'active' and u.status = 'active';
    if not found then
        return;
    end if;
    if v_last_used_at is null or v_last_used_at <= now() - interval '1 minute' then
        -- Of calls at once one writes it down, and none waits for another.
        update identity.api_keys as k set last_used_at = now()
        from (
            select f.tenant_id, f.api_key_id from identity.api_keys as f
            where f.tenant_id = find_api_key.tenant_id and f.api_key_id = v_api_key_id
            for no key update skip locked
        ) as free
        where k.tenant_id = free.tenant_id and k.api_key_id = free.api_key_id;
    end if;
    return next;
end
$$;
comment on function identity.find_api_key(bytea, inet) is
'First step of every call with an API key: the membership it stands for. No row for one that is unknown, revoked, '
'expired, used from elsewhere, or of an account that is disabled.';
"""
