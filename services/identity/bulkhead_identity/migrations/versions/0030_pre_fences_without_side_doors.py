"""No way around the fence of a write, and no API key by what is stored of it."""

from textwrap import indent

from bulkhead_kit.migrations import run_sql

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    run_sql(f"{BEGIN}{CHECKS}{FIND_API_KEY}{END}")
    run_sql(HASH_AGAIN)
    run_sql(WALLS)


def downgrade() -> None:
    """Keys that were made end here: what is stored of them no longer says how they were looked up."""
    run_sql(f"{BEGIN}{before(CHECKS + FIND_API_KEY)}{END}")


BEGIN = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
"""
END = """
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""
# Hashed once more, whoever reads the table cannot ask with what is there; keys that people hold go on working.
HASH_AGAIN = """
alter table identity.api_keys disable trigger user;
update identity.api_keys set secret_hash = sha256(secret_hash);
alter table identity.api_keys enable trigger user;
"""
# Tables that were made before app.protect asked for it.
WALLS = """
do $$
declare
    v_table text;
begin
    for v_table in
        select p.polrelid::regclass::text from pg_policy as p
        inner join pg_class as c on c.oid = p.polrelid
        where p.polname = 'tenant_wall' and c.relnamespace = 'identity'::regnamespace
    loop
        execute format(
            'alter policy tenant_wall on %s with check (tenant_id = app.current_tenant_id() and app.is_writing())',
            v_table
        );
    end loop;
end
$$;
"""
CHECKS = """
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
    -- Whoever does not say what they are about to do writes.
    if p_write is distinct from false then
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'a write looks at its right as it is now, so its transaction is read committed'
                using errcode = 'invalid_transaction_state';
        end if;
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
        elsif p_write is distinct from false then
            perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
        end if;
    end if;
    return next;
end
$$;

create or replace function identity.check_closing(
    p_tenant uuid, p_user uuid, p_role smallint, p_version integer
) returns table (role smallint, status text, team_ids uuid[])
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a write looks at its right as it is now, so its transaction is read committed'
            using errcode = 'invalid_transaction_state';
    end if;
    -- The locks of every write, and then the look of a read, which a suspended tenant passes and a deleted one does
    -- not.
    perform
        pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant)),
        pg_advisory_xact_lock_shared(identity.membership_key(p_tenant, p_user));
    return query
    select m.role, m.status, m.team_ids
    from identity.check_membership(p_tenant, p_user, p_role, p_version, false) as m;
end
$$;

create or replace function identity.check_tenant(p_tenant uuid, p_write boolean)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_status text;
begin
    if p_write is distinct from false then
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'a write looks at its right as it is now, so its transaction is read committed'
                using errcode = 'invalid_transaction_state';
        end if;
        perform pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant));
    end if;
    select t.status into v_status from identity.tenants as t where t.tenant_id = p_tenant;
    if v_status is null or v_status = 'deleted' then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    elsif v_status = 'suspended' and p_write is distinct from false then
        perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
    end if;
end
$$;
"""
FIND_API_KEY = """
create or replace function identity.find_api_key(p_secret_hash bytea, p_ip inet)
returns table (
    tenant_id uuid, user_id uuid, role smallint, version integer, expires_at timestamptz,
    made_by uuid
)
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
        k.secret_hash = sha256(p_secret_hash) and k.revoked_at is null
        and (k.expires_at is null or k.expires_at > now())
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
"""
READ_COMMITTED = """    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a write looks at its right as it is now, so its transaction is read committed'
            using errcode = 'invalid_transaction_state';
    end if;
"""
# What is new, and what stood there.
CHANGES = (
    ("    -- Whoever does not say what they are about to do writes.\n", ""),
    ("p_write is distinct from false", "p_write"),
    (indent(READ_COMMITTED, "    "), ""),
    (READ_COMMITTED, ""),
    ("sha256(p_secret_hash) and k.revoked_at is null\n        and", "p_secret_hash and k.revoked_at is null and"),
)


def before(functions: str) -> str:
    for new, old in CHANGES:
        functions = functions.replace(new, old)
    return functions
