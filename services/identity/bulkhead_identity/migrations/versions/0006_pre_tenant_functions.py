"""What a person does with tenants she has not entered: founds, lists, selects, joins; and the authors of an import."""

from bulkhead_kit.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(CREATE_TENANT)
    run_sql(MY_TENANTS)
    run_sql(INVITATIONS)
    run_sql(IMPORT)
    run_sql(EXPIRY)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.expire_invitations(uuid);
    drop function identity.import_members(text, uuid[], text[], text[], text[]);
    drop function identity.accept_invitation(bytea);
    drop function identity.has_member(text);
    drop function identity.select_tenant(uuid, uuid);
    drop function identity.my_tenants(uuid, integer);
    drop function identity.create_tenant(uuid, text, text);
    """)


CREATE_TENANT = """
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

create function identity.select_tenant(p_session_id uuid, p_tenant_id uuid)
returns table (role smallint, version integer, is_platform_admin boolean)
language plpgsql stable security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
    select u.is_platform_admin into select_tenant.is_platform_admin
    from identity.sessions as s
    inner join identity.users as u on u.user_id = s.user_id
    where s.session_id = p_session_id and s.user_id = app.current_user_id()
    and s.revoked_at is null and s.expires_at > now() and u.status = 'active';
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    select m.role, m.version into select_tenant.role, select_tenant.version
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.tenant_id = p_tenant_id and m.user_id = app.current_user_id() and m.kind = 'person'
        and m.status = 'active' and t.status <> 'deleted';
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    return next;
end
$$;
revoke all on function identity.select_tenant(uuid, uuid) from public;
grant execute on function identity.select_tenant(uuid, uuid) to bulkhead_identity_app;
comment on function identity.select_tenant(uuid, uuid) is
'Role, version and is_platform_admin for a token of the person in context, whose session lasts, in one of her tenants.';
"""

INVITATIONS = """
create function identity.has_member(p_email text) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from identity.users as u
        inner join identity.memberships as m on m.user_id = u.user_id
        where u.email_key = lower(p_email collate "C") and m.tenant_id = app.current_tenant_id()
    );
$$;
revoke all on function identity.has_member(text) from public;
grant execute on function identity.has_member(text) to bulkhead_identity_app;
comment on function identity.has_member(text) is
'Whether a member of the tenant in context, active or not, has the address.';

create function identity.accept_invitation(p_token_hash bytea)
returns table (tenant_id uuid, role smallint)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_tenant_id uuid;
    v_invitation_id uuid;
    v_email_key text;
    v_role smallint;
    v_status text;
    v_in_time boolean;
    v_accepted_by uuid;
    v_invited_by uuid;
    v_user_id uuid;
    v_full_name text;
    v_avatar_url text;
    v_tenant_status text;
    v_member_status text;
begin
    select i.tenant_id, i.invitation_id into v_tenant_id, v_invitation_id
    from identity.invitations as i where i.token_hash = p_token_hash;
    perform identity.lock_limits(v_tenant_id);
    perform pg_advisory_xact_lock_shared(identity.tenant_key(v_tenant_id));
    select i.email_key, i.role, i.status, i.expires_at > now(), i.accepted_by, i.created_by
    into v_email_key, v_role, v_status, v_in_time, v_accepted_by, v_invited_by
    from identity.invitations as i where i.tenant_id = v_tenant_id and i.invitation_id = v_invitation_id;
    select u.user_id, u.full_name, u.avatar_url into v_user_id, v_full_name, v_avatar_url from identity.users as u
    where u.user_id = app.current_user_id() and u.kind = 'person' and u.status = 'active'
    and u.email_verified_at is not null and u.email_key = v_email_key;
    select t.status into v_tenant_status from identity.tenants as t
    where t.tenant_id = v_tenant_id and t.status <> 'deleted';
    select m.status into v_member_status from identity.memberships as m
    where m.tenant_id = v_tenant_id and m.user_id = v_user_id;
    accept_invitation.tenant_id := v_tenant_id;
    accept_invitation.role := v_role;
    if v_user_id is null or v_tenant_status is null or v_member_status = 'disabled'
        or not (v_status = 'open' and v_in_time or v_status = 'accepted' and v_accepted_by = v_user_id)
    then
        perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is used, revoked, expired or for another address');
    elsif v_status = 'accepted' then
        -- Her own second try.
        return next;
        return;
    elsif not exists (
        -- An invitation is worth what its sender may do now: who has lost a right does not keep it in a drawer. The
        -- lock
        -- on the limits holds her role and status still.
        select from identity.memberships as m
        inner join identity.users as u on u.user_id = m.user_id
        where m.tenant_id = v_tenant_id and m.user_id = v_invited_by and m.status = 'active' and u.status = 'active'
        and m.role >= greatest(v_role, 4)
    ) then
        perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is used, revoked, expired or for another address');
    elsif v_tenant_status = 'suspended' then
        perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
    end if;
    if v_member_status is null then
        insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
        values (v_tenant_id, v_user_id, 'person', v_role, v_full_name, v_avatar_url);
    end if;
    update identity.invitations as i set status = 'accepted', accepted_at = now(), accepted_by = v_user_id
    where i.tenant_id = v_tenant_id and i.invitation_id = v_invitation_id;
    return next;
end
$$;
revoke all on function identity.accept_invitation(bytea) from public;
grant execute on function identity.accept_invitation(bytea) to bulkhead_identity_app;
comment on function identity.accept_invitation(bytea) is
'The person in context joins the tenant that invited her address, while who invited her still may.';
"""

IMPORT = """
create function identity.import_members(
    p_source text, p_user_ids uuid[], p_external_ids text[], p_names text[], p_avatar_urls text[]
) returns table (external_id text, user_id uuid, is_new boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if app.role_level() <> 6 or app.current_tenant_id() is null then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'only services import members');
    end if;
    -- Two imports of one author at a time would leave a person who is nobody's member.
    perform identity.lock_limits(app.current_tenant_id());
    return query
    with given as (
        select g.user_id, g.external_id, g.name, g.avatar_url
        from unnest(p_user_ids, p_external_ids, p_names, p_avatar_urls) as g (user_id, external_id, name, avatar_url)
    ),
    known as (
        select m.external_id, m.user_id from identity.memberships as m
        where m.tenant_id = app.current_tenant_id() and m.external_source = p_source
        and m.external_id = any(p_external_ids)
    ),
    fresh as (
        select g.user_id, g.external_id, g.name, g.avatar_url from given as g
        where not exists (select from known as k where k.external_id = g.external_id)
    ),
    made as (
        insert into identity.users (user_id, kind, full_name, avatar_url)
        select f.user_id, 'placeholder', f.name, f.avatar_url from fresh as f
        returning user_id
    ),
    joined as (
        insert into identity.memberships (
            tenant_id, user_id, kind, role, display_name, avatar_url, external_source, external_id
        )
        select
            app.current_tenant_id(), f.user_id, 'placeholder', 1, f.name, f.avatar_url, p_source, f.external_id
        from fresh as f
        -- Not for the rows but for the order: users first.
        inner join made on made.user_id = f.user_id
        returning external_id, user_id
    )
    select k.external_id, k.user_id, false from known as k
    union all
    select j.external_id, j.user_id, true from joined as j;
end
$$;
revoke all on function identity.import_members(text, uuid[], text[], text[], text[]) from public;
grant execute on function identity.import_members(text, uuid[], text[], text[], text[]) to bulkhead_identity_app;
comment on function identity.import_members(text, uuid[], text[], text[], text[]) is
'Placeholders for the authors of an import, each made once a tenant, source and external id.';
"""

EXPIRY = """
create function identity.expire_invitations(p_tenant uuid) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    perform identity.lock_limits(p_tenant);
    update identity.invitations as i set status = 'expired'
    where i.tenant_id = p_tenant and i.status = 'open' and i.expires_at <= now();
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
revoke all on function identity.expire_invitations(uuid) from public;
grant execute on function identity.expire_invitations(uuid) to bulkhead_identity_app, bulkhead_identity_worker;
comment on function identity.expire_invitations(uuid) is
'Gives back the seats of a tenant''s invitations that nobody accepted in time.';
"""
