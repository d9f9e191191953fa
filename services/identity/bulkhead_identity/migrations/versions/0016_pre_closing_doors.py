"""A suspended tenant is only read, but whoever must be shut out of it still is; the tables themselves hold both."""

from bulkhead_kit.migrations import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql(WALL)
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(CHECK)
    run_sql(LEAVE)
    run_sql(LEAVE_THE_DEFINERS_PLACE)


def downgrade() -> None:
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(LEAVE_BEFORE)
    run_sql(LEAVE_THE_DEFINERS_PLACE)
    run_sql("""
    drop function identity.check_closing(uuid, uuid, smallint, integer);
    drop trigger ab_keep_suspended on identity.support_grants;
    drop trigger ab_keep_suspended on identity.invitations;
    drop trigger ab_keep_suspended on identity.api_keys;
    drop trigger ab_keep_suspended_change on identity.memberships;
    drop trigger ab_keep_suspended on identity.memberships;
    drop trigger ab_keep_suspended on identity.team_members;
    drop trigger ab_keep_suspended on identity.teams;
    drop trigger ab_keep_suspended on identity.tenants;
    drop function identity.keep_suspended();
    comment on column identity.tenants.status is
    'active; suspended: reads work, writes are refused; deleted: invisible, restorable by an owner until purge_after.';
    """)


TAKE_THE_DEFINERS_PLACE = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
"""

LEAVE_THE_DEFINERS_PLACE = """
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""

WALL = """
create function identity.keep_suspended() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Outside any tenant write the platform, the workers and each person for herself.
    if exists (
        select from identity.tenants as t where t.tenant_id = app.current_tenant_id() and t.status = 'suspended'
    ) then
        perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
    end if;
    return null;
end
$$;
revoke all on function identity.keep_suspended() from public;
comment on function identity.keep_suspended() is
'In a suspended tenant nothing is made or changed but what shuts somebody out, however the transaction was let in.';
create trigger ab_keep_suspended before update on identity.tenants
for each statement execute function identity.keep_suspended();
create trigger ab_keep_suspended before insert or update on identity.teams
for each statement execute function identity.keep_suspended();
create trigger ab_keep_suspended before insert or update on identity.team_members
for each statement execute function identity.keep_suspended();
create trigger ab_keep_suspended before insert on identity.memberships
for each statement execute function identity.keep_suspended();
-- Another version alone is a fence: a key of the account was revoked.
create trigger ab_keep_suspended_change after update on identity.memberships for each row
when (new.role <> old.role or new.status <> old.status and new.status <> 'disabled')
execute function identity.keep_suspended();
create trigger ab_keep_suspended after insert or update on identity.api_keys for each row
when (new.revoked_at is null) execute function identity.keep_suspended();
create trigger ab_keep_suspended after insert or update on identity.invitations for each row
when (new.status not in ('revoked', 'expired')) execute function identity.keep_suspended();
create trigger ab_keep_suspended after insert or update on identity.support_grants for each row
when (new.revoked_at is null) execute function identity.keep_suspended();
comment on column identity.tenants.status is
'active; suspended: only read, apart from what shuts somebody out; deleted: invisible, restorable by an owner until '
'purge_after.';
"""

CHECK = """
create function identity.check_closing(p_tenant uuid, p_user uuid, p_role smallint, p_version integer)
returns table (role smallint, status text, team_ids uuid[])
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
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
revoke all on function identity.check_closing(uuid, uuid, smallint, integer) from public;
grant execute on function identity.check_closing(uuid, uuid, smallint, integer) to bulkhead_identity_app;
comment on function identity.check_closing(uuid, uuid, smallint, integer) is
'check_membership for a call that shuts somebody out, in a suspended tenant too; what else it might write there is '
'refused by the tables. Other services have no such calls.';
"""

LEAVE = """
create or replace function identity.leave_tenant(p_tenant_id uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_member_status text;
    v_left boolean;
begin
    -- A stranger takes no lock of theirs.
    if not exists (
        select from identity.memberships as m where m.tenant_id = p_tenant_id and m.user_id = app.current_user_id()
    ) then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    perform identity.lock_limits(p_tenant_id);
    perform pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant_id));
    select m.status, m.left_at is not null into v_member_status, v_left
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.tenant_id = p_tenant_id and m.user_id = app.current_user_id() and m.kind = 'person' and t.status <> 'deleted';
    if v_left then
        return;
    elsif v_member_status = 'active' then
        update identity.memberships as m set status = 'disabled', left_at = now()
        where m.tenant_id = p_tenant_id and m.user_id = app.current_user_id();
    else
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
end
$$;
"""

LEAVE_BEFORE = """
create or replace function identity.leave_tenant(p_tenant_id uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant_status text;
    v_member_status text;
    v_left boolean;
begin
    -- A stranger takes no lock of theirs.
    if not exists (
        select from identity.memberships as m where m.tenant_id = p_tenant_id and m.user_id = app.current_user_id()
    ) then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    perform identity.lock_limits(p_tenant_id);
    perform pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant_id));
    select t.status, m.status, m.left_at is not null into v_tenant_status, v_member_status, v_left
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.tenant_id = p_tenant_id and m.user_id = app.current_user_id() and m.kind = 'person' and t.status <> 'deleted';
    if v_left then
        return;
    elsif v_member_status = 'active' then
        if v_tenant_status = 'suspended' then
            perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
        end if;
        update identity.memberships as m set status = 'disabled', left_at = now()
        where m.tenant_id = p_tenant_id and m.user_id = app.current_user_id();
    else
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
end
$$;
"""
