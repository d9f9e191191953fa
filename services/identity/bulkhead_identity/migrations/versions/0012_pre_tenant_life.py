"""What a tenant says of itself, its end and its return."""

from bulkhead_kit.migrations import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql(RIGHTS)
    run_sql(SLUG)
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    -- Both return more from now on. Nothing has been released that calls them as they were.
    -- squawk-ignore ban-drop-function
    drop function identity.my_tenants(uuid, integer);
    -- squawk-ignore ban-drop-function
    drop function identity.create_tenant(uuid, text, text);
    """)
    run_sql(CREATE_TENANT)
    run_sql(MY_TENANTS)
    run_sql(LOOKUP)
    run_sql(END)
    run_sql(RETURN)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.undelete_tenant(uuid);
    drop function identity.delete_tenant(uuid, text, smallint, integer);
    drop function identity.lookup_tenant(text);
    drop function identity.create_tenant(uuid, text, text);
    drop function identity.my_tenants(uuid, integer, boolean);
    drop trigger ab_guard_slug on identity.tenants;
    drop function identity.guard_slug();
    drop policy read_right on identity.plans;
    revoke select on identity.plans from bulkhead_identity_app;
    drop policy update_right on identity.tenants;
    drop policy definer_update on identity.tenants;
    revoke update (
        slug, name, domain, branding, settings, description, logo_url, website_url, industry, size
    ) on identity.tenants from bulkhead_identity_app;
    revoke update (status, status_reason, deleted_at, purge_after) on identity.tenants from bulkhead_identity_definer;
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(CREATE_TENANT_BEFORE)
    run_sql(MY_TENANTS_BEFORE)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


RIGHTS = """
-- The status is not among the columns: it changes by functions, which take their locks in the right order.
create policy update_right on identity.tenants for update to bulkhead_identity_app
using (app.role_level() >= 4) with check (app.role_level() >= 4);
grant update (slug, name, domain, branding, settings, description, logo_url, website_url, industry, size)
on identity.tenants to bulkhead_identity_app;
create policy definer_update on identity.tenants for update to bulkhead_identity_definer using (true) with check (true);
grant update (status, status_reason, deleted_at, purge_after) on identity.tenants to bulkhead_identity_definer;
-- A price list; whoever belongs to a tenant may compare.
create policy read_right on identity.plans for select to bulkhead_identity_app using (app.role_level() >= 1);
grant select on identity.plans to bulkhead_identity_app;
"""

SLUG = """
create function identity.guard_slug() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if app.role_level() < 5 then
        perform app.refuse(
            7, 'ROLE_TOO_LOW', 'only an owner changes the name in the addresses', '{"least_role": "OWNER"}'
        );
    end if;
    return new;
end
$$;
revoke all on function identity.guard_slug() from public;
comment on function identity.guard_slug() is
'A tenant''s address is its owners'' to change.';
create trigger ab_guard_slug before update on identity.tenants for each row
when (old.slug is distinct from new.slug) execute function identity.guard_slug();
"""

CREATE_TENANT = """
create function identity.create_tenant(p_tenant_id uuid, p_slug text, p_name text)
returns setof identity.tenants
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
declare
    v_full_name text;
    v_avatar_url text;
begin
    select u.full_name, u.avatar_url into v_full_name, v_avatar_url from identity.users as u
    where u.user_id = app.current_user_id() and u.kind = 'person' and u.status = 'active'
    and u.email_verified_at is not null;
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the account is closed, log in again');
    end if;
    return query
    insert into identity.tenants as t (tenant_id, slug, name) values (p_tenant_id, p_slug, p_name)
    returning t.*;
    insert into identity.tenant_usage (tenant_id) values (p_tenant_id);
    insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
    values (p_tenant_id, app.current_user_id(), 'person', 5, v_full_name, v_avatar_url);
end
$$;
revoke all on function identity.create_tenant(uuid, text, text) from public;
grant execute on function identity.create_tenant(uuid, text, text) to bulkhead_identity_app;
comment on function identity.create_tenant(uuid, text, text) is
'A tenant with the person in context as its owner.';
"""

# As migration 0006 made it.
CREATE_TENANT_BEFORE = """
create function identity.create_tenant(p_tenant_id uuid, p_slug text, p_name text)
returns table (
    tenant_id uuid, slug text, name text, status text, plan_code text,
    created_at timestamptz, updated_at timestamptz, version integer
)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_full_name text;
    v_avatar_url text;
begin
    select u.full_name, u.avatar_url into v_full_name, v_avatar_url from identity.users as u
    where u.user_id = app.current_user_id() and u.kind = 'person' and u.status = 'active'
    and u.email_verified_at is not null;
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the account is closed, log in again');
    end if;
    return query
    insert into identity.tenants as t (tenant_id, slug, name) values (p_tenant_id, p_slug, p_name)
    returning t.tenant_id, t.slug, t.name, t.status, t.plan_code, t.created_at, t.updated_at, t.version;
    insert into identity.tenant_usage (tenant_id) values (p_tenant_id);
    insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
    values (p_tenant_id, app.current_user_id(), 'person', 5, v_full_name, v_avatar_url);
end
$$;
revoke all on function identity.create_tenant(uuid, text, text) from public;
grant execute on function identity.create_tenant(uuid, text, text) to bulkhead_identity_app;
comment on function identity.create_tenant(uuid, text, text) is
'A tenant with the person in context as its owner.';
"""

MY_TENANTS = """
create function identity.my_tenants(p_after uuid, p_limit integer, p_deleted boolean)
returns table (
    tenant_id uuid, slug text, name text, logo_url text, status text, role smallint, joined_at timestamptz,
    purge_after timestamptz
)
language sql stable security definer rows 10
set search_path = pg_catalog, pg_temp
as $$
    select t.tenant_id, t.slug, t.name, t.logo_url, t.status, m.role, m.joined_at, t.purge_after
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.user_id = app.current_user_id() and m.kind = 'person' and m.status = 'active'
        and (t.status <> 'deleted' or p_deleted and m.role = 5 and t.purge_after > now())
        and (p_after is null or m.tenant_id > p_after)
    order by m.tenant_id
    limit p_limit;
$$;
revoke all on function identity.my_tenants(uuid, integer, boolean) from public;
grant execute on function identity.my_tenants(uuid, integer, boolean) to bulkhead_identity_app;
comment on function identity.my_tenants(uuid, integer, boolean) is
'The tenants the person in context is an active member of, after one, in the order of their ids; on demand those too '
'that she may bring back.';
"""

# As migration 0006 made it.
MY_TENANTS_BEFORE = """
create function identity.my_tenants(p_after uuid, p_limit integer)
returns table (
    tenant_id uuid, slug text, name text, logo_url text, status text, role smallint, joined_at timestamptz
)
language sql stable security definer rows 10
set search_path = pg_catalog, pg_temp
as $$
    select t.tenant_id, t.slug, t.name, t.logo_url, t.status, m.role, m.joined_at
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.user_id = app.current_user_id() and m.kind = 'person' and m.status = 'active' and t.status <> 'deleted'
        and (p_after is null or m.tenant_id > p_after)
    order by m.tenant_id
    limit p_limit;
$$;
revoke all on function identity.my_tenants(uuid, integer) from public;
grant execute on function identity.my_tenants(uuid, integer) to bulkhead_identity_app;
comment on function identity.my_tenants(uuid, integer) is
'The tenants the person in context is an active member of, after one, in the order of their ids.';
"""

LOOKUP = """
create function identity.lookup_tenant(p_slug text) returns table (name text, logo_url text, branding jsonb)
language sql stable security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
    -- One row whatever the slug: the same plan and the same answer for one that nobody has and one that is deleted.
    select coalesce(t.name, p_slug), t.logo_url, nullif(t.branding, '{}')
    from (values (p_slug)) as asked (slug)
    left join identity.tenants as t on t.slug = asked.slug and t.status <> 'deleted';
$$;
revoke all on function identity.lookup_tenant(text) from public;
grant execute on function identity.lookup_tenant(text) to bulkhead_identity_app;
comment on function identity.lookup_tenant(text) is
'What a tenant shows to everybody. Of an unknown slug and of a deleted tenant''s there is nothing but the slug itself.';
"""

END = """
create function identity.delete_tenant(p_tenant uuid, p_slug text, p_role smallint, p_version integer)
returns setof identity.tenants
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The limits first, as everywhere; then the writers' lock alone, before any other: whoever holds it shared and then
    -- waits for the tenant's row would else be in our way, and we in hers.
    perform identity.lock_limits(p_tenant);
    perform pg_advisory_xact_lock(identity.tenant_key(p_tenant));
    perform 1 from identity.check_membership(p_tenant, app.current_user_id(), p_role, p_version, true);
    if p_role < 5 then
        perform app.refuse(7, 'ROLE_TOO_LOW', 'only an owner deletes the tenant', '{"least_role": "OWNER"}');
    end if;
    if not exists (select from identity.tenants as t where t.tenant_id = p_tenant and t.slug = p_slug) then
        perform app.refuse(3, 'INVALID_FIELD', 'slug: must be that of the tenant', '{"field": "slug"}');
    end if;
    return query
    update identity.tenants as t
    set status = 'deleted', status_reason = null, deleted_at = now(), purge_after = now() + interval '30 days'
    where t.tenant_id = p_tenant
    returning t.*;
end
$$;
revoke all on function identity.delete_tenant(uuid, text, smallint, integer) from public;
grant execute on function identity.delete_tenant(uuid, text, smallint, integer) to bulkhead_identity_app;
comment on function identity.delete_tenant(uuid, text, smallint, integer) is
'Ends a tenant, by one of its owners: after COMMIT nothing in it is read or written. Role and version are those of her '
'token, which are checked as for every other call.';
"""

RETURN = """
create function identity.undelete_tenant(p_tenant uuid) returns setof identity.tenants
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
declare
    v_status text;
    v_purge_after timestamptz;
    v_locked boolean := false;
begin
    -- Looked at twice: nobody keeps a tenant's writers waiting by asking for what is not hers.
    loop
        select t.status, t.purge_after into v_status, v_purge_after
        from identity.memberships as m
        inner join identity.users as u on u.user_id = m.user_id
        inner join identity.tenants as t on t.tenant_id = m.tenant_id
        where
            m.tenant_id = p_tenant and m.user_id = app.current_user_id() and m.role = 5 and m.status = 'active'
            and u.status = 'active';
        if not found or v_purge_after <= now() then
            perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
        elsif v_status <> 'deleted' then
            perform app.refuse(6, 'NOT_DELETED', 'the tenant is not deleted');
        end if;
        exit when v_locked;
        perform identity.lock_limits(p_tenant);
        perform pg_advisory_xact_lock(identity.tenant_key(p_tenant));
        v_locked := true;
    end loop;
    return query
    update identity.tenants as t set status = 'active', status_reason = null, deleted_at = null, purge_after = null
    where t.tenant_id = p_tenant
    returning t.*;
end
$$;
revoke all on function identity.undelete_tenant(uuid) from public;
grant execute on function identity.undelete_tenant(uuid) to bulkhead_identity_app;
comment on function identity.undelete_tenant(uuid) is
'Brings a deleted tenant back, by one of its owners, while it can be.';
"""
