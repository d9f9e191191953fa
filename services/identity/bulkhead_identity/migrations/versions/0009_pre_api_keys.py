"""Service accounts and their keys."""

from bulkhead_kit.migrations import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(API_KEYS)
    run_sql(SETTLE)
    run_sql(FENCE)
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(FIND)
    run_sql(ACCOUNTS)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.create_service_account(uuid, text, smallint);
    drop function identity.find_api_key(bytea, inet);
    drop trigger ab_fence on identity.memberships;
    drop table identity.api_keys;
    drop function identity.raise_version();
    drop function identity.fence_api_key();
    drop function identity.settle_api_key();
    drop function identity.admit_api_key();
    drop function identity.capture_api_keys();
    comment on column identity.memberships.version is
    'Raised when role, status or left_at change, and only then: tokens carry it, and one with an older version is '
    'refused.';
    """)


API_KEYS = """
create table identity.api_keys (
    tenant_id uuid not null,
    api_key_id uuid not null,
    user_id uuid not null,
    display_name text not null,
    prefix text not null,
    secret_hash bytea not null,
    ip_ranges cidr[] not null default '{}',
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    revoked_by uuid,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint api_keys_pkey primary key (tenant_id, api_key_id),
    constraint api_keys_user_id_fkey foreign key (tenant_id, user_id)
    references identity.memberships (tenant_id, user_id),
    -- Global on purpose: a key is looked up before its tenant is known.
    constraint api_keys_secret_hash_key unique (secret_hash),
    constraint api_keys_secret_hash_check check (octet_length(secret_hash) = 32),
    constraint api_keys_display_name_check check (length(display_name) between 1 and 200),
    constraint api_keys_prefix_check check (prefix ~ '^bh_[a-z2-7]{8}$'),
    constraint api_keys_ip_ranges_check check (
        case
            when cardinality(ip_ranges) = 0 then true
            when array_ndims(ip_ranges) = 1
                then cardinality(ip_ranges) <= 20 and array_position(ip_ranges, null) is null
            else false
        end
    ),
    constraint api_keys_expires_at_check check (expires_at > created_at),
    constraint api_keys_revoked_at_check check ((revoked_at is null) = (revoked_by is null))
);
create index api_keys_user_id_idx on identity.api_keys (tenant_id, user_id);
call app.protect('identity.api_keys');
call app.rights('identity.api_keys', 4::smallint, 4::smallint);
create policy definer_read on identity.api_keys for select to bulkhead_identity_definer using (true);
-- A key that is revoked is not even said to have been used.
create policy definer_update on identity.api_keys for update to bulkhead_identity_definer
using (revoked_at is null) with check (revoked_at is null);
grant select (
    tenant_id, api_key_id, user_id, display_name, prefix, ip_ranges, expires_at, last_used_at, revoked_at, revoked_by,
    created_at, created_by, updated_at, version
), insert (
    tenant_id, api_key_id, user_id, display_name, prefix, secret_hash, ip_ranges, expires_at
), update (revoked_at) on identity.api_keys to bulkhead_identity_app;
grant select (tenant_id, api_key_id, user_id, secret_hash, ip_ranges, expires_at, last_used_at, revoked_at),
update (last_used_at) on identity.api_keys to bulkhead_identity_definer;
-- Not for last_used_at: to use a key is no edit of it.
create trigger aa_stamp before insert or update of
tenant_id, api_key_id, user_id, display_name, prefix, secret_hash, ip_ranges, expires_at, revoked_at, revoked_by
on identity.api_keys for each row execute function app.stamp();
call app.capture_on('identity.api_keys', 'api_key', '{api_key_id}', '{secret_hash,last_used_at}');
comment on table identity.api_keys is
'Keys of service accounts. What a key may do is what its account''s membership says; here is how it is known.';
comment on column identity.api_keys.user_id is 'The service account that acts by the key.';
comment on column identity.api_keys.display_name is 'What admins call it.';
comment on column identity.api_keys.prefix is 'How the key begins, so that people can tell keys apart.';
comment on column identity.api_keys.secret_hash is 'SHA-256 of the whole key.';
comment on column identity.api_keys.ip_ranges is 'The addresses it may be used from; empty: any.';
comment on column identity.api_keys.expires_at is
'From when on it is worth nothing; null: it lasts until it is revoked.';
comment on column identity.api_keys.last_used_at is 'When it was last used, to the minute.';
comment on column identity.api_keys.revoked_at is 'When it was revoked; set by trigger, once.';
comment on column identity.api_keys.revoked_by is 'Who revoked it; set by trigger.';
"""

SETTLE = """
create function identity.admit_api_key() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_status text;
    v_role smallint;
    v_live integer;
    v_limit constant integer := 100;
begin
    -- The lock of everything that changes members: the account can not be disabled or lifted meanwhile.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    select m.status, m.role into v_status, v_role from identity.memberships as m
    where m.tenant_id = new.tenant_id and m.user_id = new.user_id and m.kind = 'service';
    if not found then
        perform app.refuse(
            3, 'REFERENCE_NOT_FOUND', 'user_id: no such service account in this tenant', '{"field": "user_id"}'
        );
    elsif v_status <> 'active' then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'the service account is ' || v_status, jsonb_build_object('state', v_status)
        );
    elsif v_role > app.role_level() then
        perform app.refuse(7, 'ROLE_ABOVE_OWN', 'the service account''s role is above the caller''s own');
    end if;
    select count(*) - 1 into v_live from identity.api_keys as k
    where k.tenant_id = new.tenant_id and k.revoked_at is null and (k.expires_at is null or k.expires_at > now());
    if v_live >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('a tenant may have %s keys, %s are in use', v_limit, v_live),
            jsonb_build_object('limit', 'api_keys', 'value', v_limit::text, 'used', v_live::text)
        );
    end if;
    return null;
end
$$;
revoke all on function identity.admit_api_key() from public;
comment on function identity.admit_api_key() is
'A key is made for an active service account up to the maker''s own role, one of at most 100 live ones. After the '
'row: before it, the wall has not been asked yet, and a refusal would tell of another tenant''s accounts.';
create trigger admit after insert on identity.api_keys for each row execute function identity.admit_api_key();

create function identity.settle_api_key() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if old.revoked_at is not null then
        perform app.refuse(9, 'STATE_NOT_ALLOWED', 'the key is revoked', '{"state": "revoked"}');
    end if;
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    new.revoked_at := now();
    new.revoked_by := app.current_user_id();
    return new;
end
$$;
revoke all on function identity.settle_api_key() from public;
comment on function identity.settle_api_key() is
'A key is revoked once; who did it and when is not left to the caller.';
create trigger ab_settle before update of revoked_at, revoked_by on identity.api_keys
for each row execute function identity.settle_api_key();
"""

FENCE = """
create function identity.fence_api_key() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.memberships set version = version + 1 where tenant_id = new.tenant_id and user_id = new.user_id;
    return null;
end
$$;
revoke all on function identity.fence_api_key() from public;
comment on function identity.fence_api_key() is
'No write by a key commits after it was revoked: its account''s membership gets another version, behind the lock that '
'every write of the account holds.';
create trigger fence after update on identity.api_keys
for each row when (old.revoked_at is null and new.revoked_at is not null) execute function identity.fence_api_key();

create function identity.raise_version() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    perform pg_advisory_xact_lock(identity.membership_key(new.tenant_id, new.user_id));
    new.version := old.version + 1;
    return new;
end
$$;
revoke all on function identity.raise_version() from public;
comment on function identity.raise_version() is
'Who sets the version by hand, which only the owner''s triggers can, means that what was let in with the old one is to '
'end: waits for its writes and keeps later ones out.';
comment on column identity.memberships.version is
'Raised when role, status or left_at change or a key of the account is revoked, and only then: tokens carry it, and '
'one with an older version is refused.';
-- After aa_stamp, which has put the old version back.
create trigger ab_fence before update of version on identity.memberships
for each row execute function identity.raise_version();
"""

FIND = """
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
revoke all on function identity.find_api_key(bytea, inet) from public;
grant execute on function identity.find_api_key(bytea, inet) to bulkhead_identity_app, bulkhead_issues_app,
    bulkhead_audit_app;
comment on function identity.find_api_key(bytea, inet) is
'First step of every call with an API key: the membership it stands for. No row for one that is unknown, revoked, '
'expired, used from elsewhere, or of an account that is disabled.';
"""

ACCOUNTS = """
create function identity.create_service_account(p_user_id uuid, p_display_name text, p_role smallint) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if app.current_tenant_id() is null or app.role_level() not in (4, 5) then
        perform app.refuse(7, 'ROLE_TOO_LOW', 'only admins make service accounts', '{"least_role": "ADMIN"}');
    elsif p_role > app.role_level() then
        perform app.refuse(7, 'ROLE_ABOVE_OWN', 'the role is above the caller''s own');
    end if;
    perform identity.lock_limits(app.current_tenant_id());
    insert into identity.users (user_id, kind, full_name) values (p_user_id, 'service', p_display_name);
    insert into identity.memberships (tenant_id, user_id, kind, role, display_name)
    values (app.current_tenant_id(), p_user_id, 'service', p_role, p_display_name);
end
$$;
revoke all on function identity.create_service_account(uuid, text, smallint) from public;
grant execute on function identity.create_service_account(uuid, text, smallint) to bulkhead_identity_app;
comment on function identity.create_service_account(uuid, text, smallint) is
'A member of the tenant in context that is no person: it acts by API keys, takes no seat and is never an owner.';
"""
