"""Teams: who may join, and no project for an archived one."""

from bulkhead_kit.migrations import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(FENCE)
    run_sql(MEMBERS)
    run_sql(ADMISSION)
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(HOLD)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.hold_team(uuid, uuid);
    drop trigger ab_admit on identity.team_members;
    drop function identity.admit_to_team();
    alter table identity.team_members drop constraint team_members_is_lead_check;
    alter table identity.team_members drop column added_at;
    comment on column identity.team_members.removed_at is null;
    comment on column identity.teams.archived_at is null;
    call app.capture_on('identity.team_members', 'team_member', '{team_id,user_id}');
    drop index identity.teams_tenant_id_name_key_team_id_idx;
    drop trigger ab_fence on identity.teams;
    drop function identity.fence_team();
    revoke select (tenant_id, team_id, archived_at) on identity.teams from bulkhead_identity_definer;
    drop policy definer_read on identity.teams;
    drop function identity.team_key(uuid, uuid);
    """)


FENCE = """
create function identity.team_key(p_tenant uuid, p_team uuid) returns bigint
language sql immutable parallel safe
return uuid_hash_extended(p_team, uuid_hash_extended(p_tenant, 2));
revoke all on function identity.team_key(uuid, uuid) from public;
grant execute on function identity.team_key(uuid, uuid) to bulkhead_identity_definer;
comment on function identity.team_key(uuid, uuid) is
'Advisory lock of a team: shared by whatever gives it a project or a member, taken alone when it is archived.';

create function identity.fence_team() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Waits for what was let in before, and keeps the rest out until this commits.
    perform pg_advisory_xact_lock(identity.team_key(new.tenant_id, new.team_id));
    return new;
end
$$;
revoke all on function identity.fence_team() from public;
comment on function identity.fence_team() is
'Once a team is archived, no project or member that was about to come to it comes any more.';
create trigger ab_fence before update on identity.teams
for each row when (old.archived_at is null and new.archived_at is not null) execute function identity.fence_team();
-- The order of lists, archived teams included, whose names others may have by now. A tenant has tens of teams, so the
-- index is there in a moment.
-- squawk-ignore require-concurrent-index-creation
create index teams_tenant_id_name_key_team_id_idx on identity.teams (tenant_id, name_key, team_id);
comment on column identity.teams.archived_at is
'Since when it has been archived: it keeps what it has, gets no project and no member, and its name is free.';
"""

MEMBERS = """
alter table identity.team_members add column added_at timestamptz not null default now();
comment on column identity.team_members.added_at is 'When she was added, or added again; set by trigger.';
comment on column identity.team_members.removed_at is 'When she left the team; null: she is in it.';
-- Who has left leads nobody.
alter table identity.team_members add constraint team_members_is_lead_check
check (not is_lead or removed_at is null) not valid;
-- squawk-ignore constraint-missing-not-valid
alter table identity.team_members validate constraint team_members_is_lead_check;
call app.capture_on('identity.team_members', 'team_member', '{team_id,user_id}');
"""

ADMISSION = """
create function identity.admit_to_team() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_kind text;
    v_status text;
begin
    if tg_op = 'UPDATE' then
        new.added_at := old.added_at;
        if new.removed_at is not null or old.removed_at is null then
            return new;
        end if;
    end if;
    -- First the locks, then the look: whoever archives the team or disables the member waits, or is seen.
    perform
        pg_advisory_xact_lock_shared(identity.membership_key(new.tenant_id, new.user_id)),
        pg_advisory_xact_lock_shared(identity.team_key(new.tenant_id, new.team_id));
    if exists (
        select from identity.teams as t
        where t.tenant_id = new.tenant_id and t.team_id = new.team_id and t.archived_at is not null
    ) then
        perform app.refuse(9, 'ARCHIVED', 'the team is archived', '{"resource": "team"}');
    end if;
    select m.kind, m.status into v_kind, v_status from identity.memberships as m
    where m.tenant_id = new.tenant_id and m.user_id = new.user_id;
    if v_status = 'disabled' then
        perform app.refuse(9, 'STATE_NOT_ALLOWED', 'a disabled member joins no team', '{"state": "disabled"}');
    elsif v_kind = 'placeholder' then
        perform app.refuse(9, 'STATE_NOT_ALLOWED', 'a placeholder joins no team', '{"state": "placeholder"}');
    end if;
    new.added_at := now();
    return new;
end
$$;
revoke all on function identity.admit_to_team() from public;
comment on function identity.admit_to_team() is
'Only an active member who can act joins a team, and only one that is not archived.';
create trigger ab_admit before insert or update on identity.team_members
for each row execute function identity.admit_to_team();

create policy definer_read on identity.teams for select to bulkhead_identity_definer using (true);
grant select (tenant_id, team_id, archived_at) on identity.teams to bulkhead_identity_definer;
"""

HOLD = """
create function identity.hold_team(p_tenant uuid, p_team uuid) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_tenant is distinct from app.current_tenant_id() then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    perform pg_advisory_xact_lock_shared(identity.team_key(p_tenant, p_team));
    if exists (
        select from identity.teams as t
        where t.tenant_id = p_tenant and t.team_id = p_team and t.archived_at is not null
    ) then
        perform app.refuse(9, 'ARCHIVED', 'the team is archived', '{"resource": "team"}');
    end if;
end
$$;
revoke all on function identity.hold_team(uuid, uuid) from public;
grant execute on function identity.hold_team(uuid, uuid) to bulkhead_issues_app;
comment on function identity.hold_team(uuid, uuid) is
'Refuses an archived team of the tenant in context, and keeps one in use from being archived until the transaction '
'ends. A team that is not there is left to the foreign key.';
"""
