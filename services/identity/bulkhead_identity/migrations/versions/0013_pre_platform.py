"""The platform's administrators: tenants and plans, and a tenant's inside only while its owner lets them in."""

from bulkhead_kit.migrations import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql(SUPPORT_UNTIL)
    run_sql(SEATS)
    run_sql(STAMP)
    run_sql(GUARD)
    run_sql(GRANTS)
    run_sql(GRANT_RULES)
    run_sql(ENTRIES)
    run_sql(RIGHTS)
    run_sql(ACTS)
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(CHECKS)
    run_sql(ADMINISTER)
    run_sql(ENTER)
    run_sql(LEAVE_THE_DEFINERS_PLACE)


def downgrade() -> None:
    run_sql(DOWN_BEFORE)
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(CHECKS_BEFORE)
    run_sql(LEAVE_THE_DEFINERS_PLACE)
    run_sql(SEATS_BEFORE)
    run_sql(STAMP_BEFORE)
    run_sql(DOWN_AFTER)


TAKE_THE_DEFINERS_PLACE = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
"""

LEAVE_THE_DEFINERS_PLACE = """
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""

SUPPORT_UNTIL = """
alter table identity.memberships add column support_until timestamptz;
-- A person who answers for herself, and never one who answers for the tenant. Validated at once: the column is new, and
-- a table of memberships is looked through in milliseconds.
alter table identity.memberships add constraint memberships_support_until_check
check (support_until is null or kind = 'person' and role < 5) not valid;
-- squawk-ignore constraint-missing-not-valid
alter table identity.memberships validate constraint memberships_support_until_check;
grant insert (support_until), update (support_until) on identity.memberships to bulkhead_identity_definer;
call app.capture_on('identity.memberships', 'member', '{user_id}');
comment on column identity.memberships.support_until is
'Of a platform administrator whom the tenant let in: she is refused from then on. Null: a member like everybody.';
comment on column identity.memberships.version is
'Raised when role, status, left_at or support_until change or a key of the account is revoked, and only then: tokens '
'carry it, and one with an older version is refused.';
"""

SEATS = """
create or replace function identity.count_member() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_before integer := 0;
    v_after integer := (new.kind = 'person' and new.status = 'active' and new.support_until is null)::integer;
    v_active integer;
    v_open integer;
    v_limit bigint;
    v_used bigint;
begin
    if tg_op = 'UPDATE' then
        v_before := (old.kind = 'person' and old.status = 'active' and old.support_until is null)::integer;
    end if;
    if v_before = v_after then
        return null;
    end if;
    update identity.tenant_usage set active_members = active_members + v_after - v_before
    where tenant_id = new.tenant_id
    returning active_members, open_invitations into strict v_active, v_open;
    if v_after = 1 then
        -- A new member comes by an invitation, which has held the seat and is about to give it up.
        v_used := v_active + case tg_op when 'INSERT' then 0 else v_open end - 1;
        v_limit := identity.limit_of(new.tenant_id, 'users');
        if v_used >= v_limit then
            perform app.refuse(
                8, 'PLAN_LIMIT_REACHED', format('the plan allows %s users, %s are in use', v_limit, v_used),
                jsonb_build_object('limit', 'users', 'value', v_limit::text, 'used', v_used::text)
            );
        end if;
    end if;
    return null;
end
$$;
"""

STAMP = """
create or replace function identity.stamp_membership() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        new.created_at := now();
        new.created_by := app.current_user_id();
        new.updated_at := new.created_at;
        new.version := 1;
        return new;
    end if;
    new.created_at := old.created_at;
    new.created_by := old.created_by;
    new.updated_at := greatest(now(), old.updated_at);
    new.version := old.version;
    new.disabled_at := old.disabled_at;
    new.disabled_by := old.disabled_by;
    if (new.support_until is null) <> (old.support_until is null) then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'who comes to help does not become a member by it', '{"state": "support"}'
        );
    end if;
    if (new.left_at is null) <> (old.left_at is null) then
        new.left_at := case when new.left_at is not null then now() end;
    else
        new.left_at := old.left_at;
    end if;
    if new.status = 'active' and new.left_at is not null then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'she has left the tenant and comes back by an invitation', '{"state": "left"}'
        );
    end if;
    if new.role is distinct from old.role or new.status is distinct from old.status
        or new.left_at is distinct from old.left_at or new.support_until is distinct from old.support_until
    then
        perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
        -- Waits for the member's writes that were let in before, and keeps later ones out until this commits.
        perform pg_advisory_xact_lock(identity.membership_key(new.tenant_id, new.user_id));
        new.version := old.version + 1;
    end if;
    if new.status is distinct from old.status then
        new.disabled_at := case new.status when 'disabled' then now() end;
        new.disabled_by := case new.status when 'disabled' then app.current_user_id() end;
    end if;
    return new;
end
$$;
"""

GUARD = """
create function identity.guard_support() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.refuse(
        9, 'STATE_NOT_ALLOWED', 'support access is changed by granting and revoking it', '{"state": "support"}'
    );
    return null;
end
$$;
revoke all on function identity.guard_support() from public;
comment on function identity.guard_support() is
'No admin of the tenant gives support access another role, or a life of its own.';
create trigger ab_guard_support before update on identity.memberships for each row
when (old.support_until is not null and current_user = 'bulkhead_identity_app')
execute function identity.guard_support();

create function identity.mark_support() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if right(new.display_name, 19) <> ' (Bulkhead support)' then
        new.display_name := left(new.display_name, 181) || ' (Bulkhead support)';
    end if;
    return new;
end
$$;
revoke all on function identity.mark_support() from public;
comment on function identity.mark_support() is
'Whoever comes to help is seen to be no colleague, whatever she is called.';
-- After those that give a member the name she has now.
create trigger ad_mark_support before insert or update on identity.memberships for each row
when (new.support_until is not null) execute function identity.mark_support();

create function identity.demand_colleague() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_kind text;
    v_is_support boolean;
begin
    -- After the row: before it, the wall has not been asked yet.
    select m.kind, m.support_until is not null into v_kind, v_is_support from identity.memberships as m
    where m.tenant_id = new.tenant_id and m.user_id = app.current_user_id();
    if v_is_support then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'support access lets nobody in and gives nobody more', '{"state": "support"}'
        );
    elsif v_kind = 'service' then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'an API key lets nobody in and gives nobody more');
    end if;
    return null;
end
$$;
revoke all on function identity.demand_colleague() from public;
comment on function identity.demand_colleague() is
'Neither who comes to help nor a key leaves a door open behind: no invitation, no key, no member who may more than '
'before. Or an admin who is disabled would come back by a key she made.';
create trigger demand_colleague after insert on identity.invitations
for each row execute function identity.demand_colleague();
create trigger demand_colleague after insert on identity.api_keys
for each row execute function identity.demand_colleague();
create trigger demand_colleague after insert on identity.memberships
for each row when (new.kind = 'service') execute function identity.demand_colleague();

create function identity.keep_support_from_joining() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from identity.memberships as m
        where m.tenant_id = new.tenant_id and m.user_id = new.accepted_by and m.support_until is not null
    ) then
        perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is used, revoked, expired or for another address');
    end if;
    return null;
end
$$;
revoke all on function identity.keep_support_from_joining() from public;
comment on function identity.keep_support_from_joining() is
'No invitation gives support access another role than the owner granted, or a life without a seat.';
create trigger keep_support_from_joining after update on identity.invitations for each row
when (old.status <> 'accepted' and new.status = 'accepted') execute function identity.keep_support_from_joining();
create trigger demand_colleague_to_lift after update on identity.memberships
for each row when (
    new.support_until is null and (new.role > old.role or old.status = 'disabled' and new.status = 'active')
) execute function identity.demand_colleague();
"""

GRANTS = """
create table identity.support_grants (
    tenant_id uuid not null,
    grant_id uuid not null,
    role smallint not null,
    reason text not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_by uuid,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint support_grants_pkey primary key (tenant_id, grant_id),
    constraint support_grants_tenant_id_fkey foreign key (tenant_id) references identity.tenants (tenant_id),
    -- Who helps does not answer for the tenant.
    constraint support_grants_role_check check (role between 1 and 4),
    constraint support_grants_reason_check check (length(reason) between 1 and 500),
    -- Not a standing door. The hour is for clocks that differ.
    constraint support_grants_expires_at_check check (expires_at <= created_at + interval '7 days 1 hour'),
    constraint support_grants_revoked_at_check check ((revoked_at is null) = (revoked_by is null))
);
create index support_grants_open_idx on identity.support_grants (tenant_id, expires_at) where revoked_at is null;
call app.protect('identity.support_grants');
call app.rights('identity.support_grants', 5::smallint, 5::smallint);
create policy definer_read on identity.support_grants for select to bulkhead_identity_definer using (true);
grant select, insert (tenant_id, grant_id, role, reason, expires_at), update (revoked_at)
on identity.support_grants to bulkhead_identity_app;
grant select on identity.support_grants to bulkhead_identity_definer;
create trigger aa_stamp before insert or update on identity.support_grants
for each row execute function app.stamp();
comment on table identity.support_grants is
'When a tenant''s owners have let the platform''s administrators in, for what, and until when.';
comment on column identity.support_grants.role is 'The role they get: 1 viewer .. 4 admin.';
comment on column identity.support_grants.reason is 'What help is needed with.';
comment on column identity.support_grants.expires_at is 'When it ends by itself.';
comment on column identity.support_grants.revoked_at is 'When an owner took it back; set by trigger.';
comment on column identity.support_grants.revoked_by is 'Who took it back; set by trigger.';
"""

GRANT_RULES = """
create function identity.settle_support_grant() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if old.revoked_at is not null or new.revoked_at is null then
        -- Taken back once and for good.
        new.revoked_at := old.revoked_at;
        new.revoked_by := old.revoked_by;
        return new;
    end if;
    -- Whoever is coming in by it waits, or has come in and is ended below.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    new.revoked_at := now();
    new.revoked_by := app.current_user_id();
    return new;
end
$$;
revoke all on function identity.settle_support_grant() from public;
comment on function identity.settle_support_grant() is
'A grant is taken back once; by whom and when is not left to the caller.';
create trigger ab_settle before update on identity.support_grants
for each row execute function identity.settle_support_grant();
call app.capture_on('identity.support_grants', 'support_grant', '{grant_id}');

create function identity.keep_one_support_grant() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- First the lock, then the look, and after the policies: they have let the row pass.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    if exists (
        select from identity.support_grants as g
        where
            g.tenant_id = new.tenant_id and g.grant_id <> new.grant_id and g.revoked_at is null
            and g.expires_at > now()
    ) then
        perform app.refuse(
            6, 'ALREADY_TAKEN', 'support_access: a grant is open, revoke it first', '{"field": "support_access"}'
        );
    end if;
    return null;
end
$$;
revoke all on function identity.keep_one_support_grant() from public;
comment on function identity.keep_one_support_grant() is
'One open grant a tenant, so that revoking it closes the door.';
create trigger keep_one after insert on identity.support_grants
for each row execute function identity.keep_one_support_grant();

create function identity.end_support() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.memberships set status = 'disabled'
    where tenant_id = new.tenant_id and support_until is not null and status = 'active';
    return null;
end
$$;
revoke all on function identity.end_support() from public;
comment on function identity.end_support() is
'Whoever came in by a grant goes out with it; the membership''s own trigger waits for her writes and lets no more in.';
create trigger end_support after update on identity.support_grants for each row
when (old.revoked_at is null and new.revoked_at is not null) execute function identity.end_support();
"""

ENTRIES = """
create table identity.support_entries (
    tenant_id uuid not null,
    entry_id uuid not null,
    grant_id uuid not null,
    user_id uuid not null,
    created_at timestamptz not null default now(),
    constraint support_entries_pkey primary key (tenant_id, entry_id),
    constraint support_entries_grant_id_fkey foreign key (tenant_id, grant_id)
    references identity.support_grants (tenant_id, grant_id),
    constraint support_entries_user_id_fkey foreign key (tenant_id, user_id)
    references identity.memberships (tenant_id, user_id)
);
create index support_entries_grant_id_idx on identity.support_entries (tenant_id, grant_id);
create index support_entries_user_id_idx on identity.support_entries (tenant_id, user_id);
call app.own('identity.support_entries');
create policy definer_read on identity.support_entries for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.support_entries for insert to bulkhead_identity_definer with check (true);
grant select, insert (tenant_id, entry_id, grant_id, user_id) on identity.support_entries to bulkhead_identity_definer;
call app.capture_on('identity.support_entries', 'support_entry', '{entry_id}');
comment on table identity.support_entries is
'Each time somebody came in by a grant; no login reads it, the tenant''s log has it.';
comment on column identity.support_entries.grant_id is 'The grant that let her in.';
comment on column identity.support_entries.user_id is 'The platform administrator.';
"""

RIGHTS = """
grant usage on schema identity to bulkhead_platform_app;
-- Outside any tenant only, and only what says whether it can be used and how much of it is. No policy of another table
-- knows this role.
-- A subselect is asked once and guessed to be true half the time; as a plain condition it was guessed to leave one
-- row in 200, and every page of tenants was sorted out of all of them.
create policy platform_read on identity.tenants for select to bulkhead_platform_app
using ((select app.current_tenant_id() is null and app.current_user_id() is not null));
create policy platform_update on identity.tenants for update to bulkhead_platform_app
using (app.current_tenant_id() is null and app.current_user_id() is not null and status <> 'deleted')
with check (app.current_tenant_id() is null and app.current_user_id() is not null and status <> 'deleted');
create policy platform_read on identity.tenant_usage for select to bulkhead_platform_app
using ((select app.current_tenant_id() is null and app.current_user_id() is not null));
create policy platform_read on identity.plans for select to bulkhead_platform_app
using (app.current_tenant_id() is null and app.current_user_id() is not null);
create policy platform_calls on identity.user_request_ids to bulkhead_platform_app
using (user_id = app.current_user_id()) with check (user_id = app.current_user_id());
grant select (
    tenant_id, slug, name, domain, status, status_reason, status_changed_at, plan_code, max_users_override,
    max_projects_override, max_storage_bytes_override, deleted_at, purge_after, created_at, version
), update (
    status, status_reason, plan_code, max_users_override, max_projects_override, max_storage_bytes_override
) on identity.tenants to bulkhead_platform_app;
grant select on identity.tenant_usage, identity.plans to bulkhead_platform_app;
grant select, insert (user_id, request_id, rpc, request_digest), update (reply)
on identity.user_request_ids to bulkhead_platform_app;
"""

ACTS = """
create function identity.demand_platform_admin() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from identity.users as u
        where u.user_id = app.current_user_id() and u.is_platform_admin and u.status = 'active'
    ) then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'only platform administrators may do this');
    end if;
    return new;
end
$$;
revoke all on function identity.demand_platform_admin() from public;
comment on function identity.demand_platform_admin() is
'A change by the platform names somebody who administers it now.';
create trigger ab_demand_admin before update on identity.tenants for each row
when (current_user = 'bulkhead_platform_app') execute function identity.demand_platform_admin();

create function identity.note_platform_act() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The tenant's own log has it from the capture of the row; this is the same for those who watch the platform.
    insert into identity.outbox (tenant_id, action, entity_type, entity_id, changes)
    select
        app.platform_log_id(), tg_argv[0], 'tenant', new.tenant_id,
        coalesce(jsonb_object_agg(n.key, jsonb_build_array(o.value, n.value)), '{}')
    from jsonb_each(to_jsonb(new)) as n
    left join jsonb_each(to_jsonb(old)) as o on o.key = n.key
    where
        n.value is distinct from coalesce(o.value, 'null')
        and n.key not in ('tenant_id', 'created_at', 'updated_at', 'version');
    return null;
end
$$;
revoke all on function identity.note_platform_act() from public;
comment on function identity.note_platform_act() is
'What a platform administrator did to a tenant, for the platform''s own log.';
create trigger note_platform_act after update on identity.tenants for each row
when (current_user = 'bulkhead_platform_app') execute function identity.note_platform_act('tenant.administered');
create trigger note_platform_act after insert on identity.support_entries
for each row execute function identity.note_platform_act('tenant.support_entered');

create function identity.end_administration() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_tenant uuid;
begin
    -- In the order of ids, like everybody who needs the limits of several tenants.
    for v_tenant in
        select m.tenant_id from identity.memberships as m
        where m.user_id = new.user_id and m.support_until > now()
        order by m.tenant_id
    loop
        update identity.memberships set support_until = now() where tenant_id = v_tenant and user_id = new.user_id;
    end loop;
    return null;
end
$$;
revoke all on function identity.end_administration() from public;
comment on function identity.end_administration() is
'Who does not administer the platform any more is in no tenant by it.';
create trigger end_administration after update on identity.users for each row
when (old.is_platform_admin and not new.is_platform_admin) execute function identity.end_administration();
"""

CHECKS = """
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

create or replace function identity.select_tenant(p_session_id uuid, p_tenant_id uuid)
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
        and m.status = 'active' and m.support_until is null and t.status <> 'deleted';
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    return next;
end
$$;

create or replace function identity.my_tenants(p_after uuid, p_limit integer, p_deleted boolean)
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
        and m.support_until is null
        and (t.status <> 'deleted' or p_deleted and m.role = 5 and t.purge_after > now())
        and (p_after is null or m.tenant_id > p_after)
    order by m.tenant_id
    limit p_limit;
$$;
"""

ADMINISTER = """
create function identity.check_platform_admin() returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from identity.users as u
        where u.user_id = app.current_user_id() and u.is_platform_admin and u.status = 'active'
    ) then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'only platform administrators may call the method');
    end if;
end
$$;
revoke all on function identity.check_platform_admin() from public;
grant execute on function identity.check_platform_admin() to bulkhead_platform_app;
comment on function identity.check_platform_admin() is
'First step of every transaction of a platform administrator: whether she is one now, whatever her token says.';

create function identity.hold_tenant(p_tenant uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity.check_platform_admin();
    -- Before the tenant's row, or we were in the way of a member who has begun to write it, and she in ours.
    perform identity.lock_limits(p_tenant);
    perform pg_advisory_xact_lock(identity.tenant_key(p_tenant));
end
$$;
revoke all on function identity.hold_tenant(uuid) from public;
grant execute on function identity.hold_tenant(uuid) to bulkhead_platform_app;
comment on function identity.hold_tenant(uuid) is
'The locks of who changes a tenant''s state or plan: its limits, and its writers'' lock alone.';
"""

ENTER = """
create function identity.enter_support(p_tenant uuid, p_session uuid, p_entry uuid)
returns table (role smallint, version integer, support_until timestamptz)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_user constant uuid := app.current_user_id();
    v_grant uuid;
    v_role smallint;
    v_until timestamptz;
begin
    -- Before the look and before any other lock: who stops to administer the platform, or closes her account, has this
    -- row first and then looks for what she has to be shown out of.
    perform 1 from identity.users as u where u.user_id = v_user for share;
    perform identity.check_platform_admin();
    if not exists (
        select from identity.sessions as s
        where s.session_id = p_session and s.user_id = v_user and s.revoked_at is null and s.expires_at > now()
    ) then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    perform identity.lock_limits(p_tenant);
    if not exists (select from identity.tenants as t where t.tenant_id = p_tenant and t.status <> 'deleted') then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    if exists (
        select from identity.memberships as m
        where m.tenant_id = p_tenant and m.user_id = v_user and m.support_until is null
    ) then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'she is or was a member of the tenant by herself', '{"state": "member"}'
        );
    end if;
    select g.grant_id, g.role, g.expires_at into v_grant, v_role, v_until
    from identity.support_grants as g
    where g.tenant_id = p_tenant and g.revoked_at is null and g.expires_at > clock_timestamp();
    if not found then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'the tenant has not granted support access', '{"state": "not_granted"}'
        );
    end if;
    insert into identity.memberships as m (tenant_id, user_id, kind, role, display_name, avatar_url, support_until)
    select p_tenant, u.user_id, u.kind, v_role, u.full_name, u.avatar_url, v_until
    from identity.users as u where u.user_id = v_user
    on conflict (tenant_id, user_id) do nothing;
    update identity.memberships as m set role = v_role, status = 'active', left_at = null, support_until = v_until
    where
        m.tenant_id = p_tenant and m.user_id = v_user
        and (m.role, m.status, m.support_until) is distinct from (v_role, 'active', v_until);
    insert into identity.support_entries (tenant_id, entry_id, grant_id, user_id)
    values (p_tenant, p_entry, v_grant, v_user)
    on conflict (tenant_id, entry_id) do nothing;
    if not found then
        -- The request_id is the entry's id: this call has been made before, or somebody else's has.
        if exists (
            select from identity.support_entries as e
            where e.tenant_id = p_tenant and e.entry_id = p_entry and e.user_id = v_user
        ) then
            perform app.refuse(9, 'SECRET_ALREADY_SHOWN', 'this call has been made, its token is not kept');
        end if;
        perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
    end if;
    return query
    select m.role, m.version, m.support_until from identity.memberships as m
    where m.tenant_id = p_tenant and m.user_id = v_user;
end
$$;
revoke all on function identity.enter_support(uuid, uuid, uuid) from public;
grant execute on function identity.enter_support(uuid, uuid, uuid) to bulkhead_platform_app;
comment on function identity.enter_support(uuid, uuid, uuid) is
'Makes the platform administrator in context a member of a tenant that lets her in, until its grant ends.';
"""

DOWN_BEFORE = """
-- Without the time that ends it, support access would be a membership like any other: it ends now.
do $$
declare
    helper record;
begin
    for helper in
        select m.tenant_id, m.user_id from identity.memberships as m
        where m.support_until is not null and m.status = 'active' order by m.tenant_id
    loop
        perform set_config('app.user_id', helper.user_id::text, true);
        update identity.memberships set status = 'disabled'
        where tenant_id = helper.tenant_id and user_id = helper.user_id;
    end loop;
    perform set_config('app.user_id', '', true);
end
$$;
drop function identity.enter_support(uuid, uuid, uuid);
drop function identity.hold_tenant(uuid);
drop function identity.check_platform_admin();
drop trigger end_administration on identity.users;
drop trigger note_platform_act on identity.tenants;
drop trigger ab_demand_admin on identity.tenants;
drop table identity.support_entries;
drop table identity.support_grants;
drop function identity.end_administration();
drop function identity.note_platform_act();
drop function identity.demand_platform_admin();
drop function identity.end_support();
drop function identity.keep_one_support_grant();
drop function identity.settle_support_grant();
drop function identity.capture_support_entries();
drop function identity.capture_support_grants();
drop trigger keep_support_from_joining on identity.invitations;
drop function identity.keep_support_from_joining();
drop trigger demand_colleague_to_lift on identity.memberships;
drop trigger demand_colleague on identity.memberships;
drop trigger demand_colleague on identity.api_keys;
drop trigger demand_colleague on identity.invitations;
drop function identity.demand_colleague();
drop trigger ad_mark_support on identity.memberships;
drop function identity.mark_support();
drop trigger ab_guard_support on identity.memberships;
drop function identity.guard_support();
drop policy platform_calls on identity.user_request_ids;
drop policy platform_read on identity.plans;
drop policy platform_read on identity.tenant_usage;
drop policy platform_update on identity.tenants;
drop policy platform_read on identity.tenants;
revoke all on identity.tenants, identity.tenant_usage, identity.plans, identity.user_request_ids from
    bulkhead_platform_app;
revoke usage on schema identity from bulkhead_platform_app;
"""

# As migrations 0003, 0004, 0006, 0007 and 0012 made them.
CHECKS_BEFORE = """
create or replace function identity.check_membership(
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

create or replace function identity.select_tenant(p_session_id uuid, p_tenant_id uuid)
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

create or replace function identity.my_tenants(p_after uuid, p_limit integer, p_deleted boolean)
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
"""

SEATS_BEFORE = """
create or replace function identity.count_member() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_before integer := 0;
    v_after integer := (new.kind = 'person' and new.status = 'active')::integer;
    v_active integer;
    v_open integer;
    v_limit bigint;
    v_used bigint;
begin
    if tg_op = 'UPDATE' then
        v_before := (old.kind = 'person' and old.status = 'active')::integer;
    end if;
    if v_before = v_after then
        return null;
    end if;
    update identity.tenant_usage set active_members = active_members + v_after - v_before
    where tenant_id = new.tenant_id
    returning active_members, open_invitations into strict v_active, v_open;
    if v_after = 1 then
        -- A new member comes by an invitation, which has held the seat and is about to give it up.
        v_used := v_active + case tg_op when 'INSERT' then 0 else v_open end - 1;
        v_limit := identity.limit_of(new.tenant_id, 'users');
        if v_used >= v_limit then
            perform app.refuse(
                8, 'PLAN_LIMIT_REACHED', format('the plan allows %s users, %s are in use', v_limit, v_used),
                jsonb_build_object('limit', 'users', 'value', v_limit::text, 'used', v_used::text)
            );
        end if;
    end if;
    return null;
end
$$;
"""

STAMP_BEFORE = """
create or replace function identity.stamp_membership() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        new.created_at := now();
        new.created_by := app.current_user_id();
        new.updated_at := new.created_at;
        new.version := 1;
        return new;
    end if;
    new.created_at := old.created_at;
    new.created_by := old.created_by;
    new.updated_at := greatest(now(), old.updated_at);
    new.version := old.version;
    new.disabled_at := old.disabled_at;
    new.disabled_by := old.disabled_by;
    if (new.left_at is null) <> (old.left_at is null) then
        new.left_at := case when new.left_at is not null then now() end;
    else
        new.left_at := old.left_at;
    end if;
    if new.status = 'active' and new.left_at is not null then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'she has left the tenant and comes back by an invitation', '{"state": "left"}'
        );
    end if;
    if new.role is distinct from old.role or new.status is distinct from old.status
        or new.left_at is distinct from old.left_at
    then
        perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
        -- Waits for the member's writes that were let in before, and keeps later ones out until this commits.
        perform pg_advisory_xact_lock(identity.membership_key(new.tenant_id, new.user_id));
        new.version := old.version + 1;
    end if;
    if new.status is distinct from old.status then
        new.disabled_at := case new.status when 'disabled' then now() end;
        new.disabled_by := case new.status when 'disabled' then app.current_user_id() end;
    end if;
    return new;
end
$$;
"""

DOWN_AFTER = """
alter table identity.memberships drop column support_until;
call app.capture_on('identity.memberships', 'member', '{user_id}');
comment on column identity.memberships.version is
'Raised when role, status or left_at change or a key of the account is revoked, and only then: tokens carry it, and one '
'with an older version is refused.';
"""
