"""What other services may ask of identity: is she a member, may she write, is there room."""

from bulkhead_kit.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # The definer owns nothing but functions, and may make them only here.
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(CHECKS)
    run_sql(LIMITS)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.release_project(uuid);
    drop function identity.claim_project(uuid);
    drop function identity.lock_limits(uuid);
    drop function identity.check_tenant(uuid, boolean);
    drop function identity.check_membership(uuid, uuid, smallint, integer, boolean);
    """)


CHECKS = """
create function identity.check_membership(
    p_tenant uuid, p_user uuid, p_role smallint, p_version integer, p_write boolean
) returns table (role smallint, status text, team_ids uuid[])
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
    v_tenant_status text;
begin
    if p_write then
        -- First the locks, then the look: whoever changes these rows waits for us, or we see what was changed.
        perform
            pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant)),
            pg_advisory_xact_lock_shared(identity.membership_key(p_tenant, p_user));
    end if;
    select
        m.role, m.status, m.version, t.status,
        array(
            select tm.team_id from identity.team_members as tm
            where tm.tenant_id = p_tenant and tm.user_id = p_user and tm.removed_at is null
        )
    into check_membership.role, check_membership.status, v_version, v_tenant_status, check_membership.team_ids
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where m.tenant_id = p_tenant and m.user_id = p_user;
    if not found or check_membership.status <> 'active' or check_membership.role <> p_role or v_version <> p_version
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
revoke all on function identity.check_membership(uuid, uuid, smallint, integer, boolean) from public;
grant execute on function identity.check_membership(uuid, uuid, smallint, integer, boolean)
to bulkhead_identity_app, bulkhead_issues_app, bulkhead_audit_app;
comment on function identity.check_membership(uuid, uuid, smallint, integer, boolean) is
'First step of every transaction of a member: is the membership still what her token says, and is the tenant open.';

create function identity.check_tenant(p_tenant uuid, p_write boolean) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_status text;
begin
    if p_write then
        perform pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant));
    end if;
    select t.status into v_status from identity.tenants as t where t.tenant_id = p_tenant;
    if v_status is null or v_status = 'deleted' then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    elsif v_status = 'suspended' and p_write then
        perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
    end if;
end
$$;
revoke all on function identity.check_tenant(uuid, boolean) from public;
grant execute on function identity.check_tenant(uuid, boolean) to bulkhead_identity_app, bulkhead_issues_app,
    bulkhead_audit_app;
comment on function identity.check_tenant(uuid, boolean) is
'First step of every transaction of a service in a tenant: is the tenant open.';
"""

LIMITS = """
create function identity.lock_limits(p_tenant uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform 1 from identity.tenant_usage as u where u.tenant_id = p_tenant for no key update;
end
$$;
revoke all on function identity.lock_limits(uuid) from public;
grant execute on function identity.lock_limits(uuid) to bulkhead_identity_app, bulkhead_issues_app;
comment on function identity.lock_limits(uuid) is
'The first lock of a call that changes memberships or counts against a limit; everybody in one order, so nobody '
'deadlocks.';

create function identity.claim_project(p_tenant uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_used bigint;
    v_limit bigint;
begin
    if p_tenant is distinct from app.current_tenant_id() then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    update identity.tenant_usage as u set projects = u.projects + 1 where u.tenant_id = p_tenant
    returning u.projects - 1 into strict v_used;
    v_limit := identity.limit_of(p_tenant, 'projects');
    if v_used >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('the plan allows %s projects, %s are in use', v_limit, v_used),
            jsonb_build_object('limit', 'projects', 'value', v_limit::text, 'used', v_used::text)
        );
    end if;
end
$$;
revoke all on function identity.claim_project(uuid) from public;
grant execute on function identity.claim_project(uuid) to bulkhead_issues_app;
comment on function identity.claim_project(uuid) is
'Counts one more project of the tenant in context, or refuses with the plan''s limit.';

create function identity.release_project(p_tenant uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_tenant is distinct from app.current_tenant_id() then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    update identity.tenant_usage as u set projects = u.projects - 1 where u.tenant_id = p_tenant;
end
$$;
revoke all on function identity.release_project(uuid) from public;
grant execute on function identity.release_project(uuid) to bulkhead_issues_app;
comment on function identity.release_project(uuid) is
'Counts one project of the tenant in context less, when it is deleted.';
"""
