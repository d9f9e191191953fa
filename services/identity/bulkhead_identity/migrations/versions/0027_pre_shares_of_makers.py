"""What a key does counts for the person who made it, however many accounts they make."""

from bulkhead_kit.migrations import run_sql

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(MAKE_WAY)
    run_sql(FIND)
    run_sql(LEAVE_THE_DEFINERS_PLACE)


def downgrade() -> None:
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql("drop function identity.find_api_key(bytea, inet);")
    run_sql(FIND_BEFORE)
    run_sql(LEAVE_THE_DEFINERS_PLACE)


TAKE_THE_DEFINERS_PLACE = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
"""

LEAVE_THE_DEFINERS_PLACE = """
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""

# One more column cannot be added in place. Whoever calls in between waits for the lock, and finds the new one.
MAKE_WAY = """
-- squawk-ignore ban-drop-function
drop function identity.find_api_key(bytea, inet);
"""

FIND = """
create function identity.find_api_key(p_secret_hash bytea, p_ip inet)
returns table (tenant_id uuid, user_id uuid, role smallint, version integer, expires_at timestamptz, made_by uuid)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_api_key_id uuid;
    v_last_used_at timestamptz;
begin
    select k.tenant_id, k.user_id, least(m.role, c.role), m.version, k.expires_at, k.created_by, k.api_key_id,
        k.last_used_at
    into
        find_api_key.tenant_id, find_api_key.user_id, find_api_key.role, find_api_key.version,
        find_api_key.expires_at, find_api_key.made_by, v_api_key_id, v_last_used_at
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
revoke all on function identity.find_api_key(bytea, inet) from public;
grant execute on function identity.find_api_key(bytea, inet) to bulkhead_identity_app, bulkhead_issues_app,
    bulkhead_audit_app;
comment on function identity.find_api_key(bytea, inet) is
'First step of every call with an API key: the membership it stands for, with the lower of its account''s and its '
'maker''s role, and who made it. No row for one that is unknown, revoked, expired, used from elsewhere, or of an '
'account or a maker that is disabled.';
"""

FIND_BEFORE = """
create function identity.find_api_key(p_secret_hash bytea, p_ip inet)
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
revoke all on function identity.find_api_key(bytea, inet) from public;
grant execute on function identity.find_api_key(bytea, inet) to bulkhead_identity_app, bulkhead_issues_app,
    bulkhead_audit_app;
comment on function identity.find_api_key(bytea, inet) is
'First step of every call with an API key: the membership it stands for, with the lower of its account''s and its '
'maker''s role. No row for one that is unknown, revoked, expired, used from elsewhere, or of an account or a maker '
'that is disabled.';
"""
