"""Memberships, invitations and teams; seats counted exactly, an owner always, no write after a change of rights."""

from bulkhead_kit.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(MEMBERSHIPS)
    run_sql(MEMBERSHIP_STAMP)
    run_sql(INVITATIONS)
    run_sql(INVITATION_STAMP)
    run_sql(SEATS)
    run_sql(OWNER)
    run_sql(TEAMS)


def downgrade() -> None:
    run_sql("""
    drop table identity.team_members;
    drop table identity.teams;
    drop trigger need_owner on identity.tenants;
    drop table identity.invitations;
    drop table identity.memberships;
    drop function identity.require_owner();
    drop function identity.count_invitation();
    drop function identity.count_member();
    drop function identity.settle_invitation();
    drop function identity.stamp_membership();
    drop function identity.capture_team_members();
    drop function identity.capture_teams();
    drop function identity.capture_invitations();
    drop function identity.capture_memberships();
    """)


MEMBERSHIPS = """
create table identity.memberships (
    tenant_id uuid not null,
    user_id uuid not null,
    kind text not null,
    role smallint not null,
    status text not null default 'active',
    display_name text not null,
    avatar_url text,
    joined_at timestamptz not null default now(),
    disabled_at timestamptz,
    disabled_by uuid,
    external_source text,
    external_id text,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint memberships_pkey primary key (tenant_id, user_id),
    constraint memberships_tenant_id_fkey foreign key (tenant_id) references identity.tenants (tenant_id),
    constraint memberships_user_id_kind_fkey foreign key (user_id, kind) references identity.users (user_id, kind),
    constraint memberships_disabled_by_fkey foreign key (tenant_id, disabled_by)
    references identity.memberships (tenant_id, user_id),
    -- One placeholder an imported author, however often she is imported.
    constraint memberships_external_id_key unique (tenant_id, external_source, external_id),
    constraint memberships_role_check check (role between 1 and 5),
    -- Only a person answers for a tenant; a placeholder can do nothing at all.
    constraint memberships_kind_role_check check (role < 5 or kind = 'person'),
    constraint memberships_placeholder_role_check check (role = 1 or kind <> 'placeholder'),
    constraint memberships_status_check check (status in ('active', 'disabled')),
    -- No disabled membership without who and when.
    constraint memberships_disabled_at_check check (
        (status = 'disabled') = (disabled_at is not null) and (disabled_at is null) = (disabled_by is null)
    ),
    constraint memberships_display_name_check check (length(display_name) between 1 and 200),
    constraint memberships_avatar_url_check check (length(avatar_url) <= 2000),
    constraint memberships_external_source_check check (length(external_source) between 1 and 100),
    constraint memberships_external_check check (
        (external_source is null) = (external_id is null) and length(external_id) between 1 and 200
    )
);
create index memberships_user_id_idx on identity.memberships (user_id, kind, tenant_id);
create index memberships_role_status_idx on identity.memberships (tenant_id, role, status);
create index memberships_disabled_by_idx on identity.memberships (tenant_id, disabled_by) where disabled_by is not null;
call app.protect('identity.memberships');
create policy read_right on identity.memberships for select to bulkhead_identity_app using (app.role_level() >= 1);
-- Admins and above, and nobody touches a member above herself or lifts one above herself.
create policy update_right on identity.memberships for update to bulkhead_identity_app
using (app.role_level() >= 4 and role <= app.role_level())
with check (app.role_level() >= 4 and role <= app.role_level());
create policy definer_read on identity.memberships for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.memberships for insert to bulkhead_identity_definer with check (true);
grant select, update (role, status) on identity.memberships to bulkhead_identity_app;
grant select, insert (
    tenant_id, user_id, kind, role, display_name, avatar_url, external_source, external_id
) on identity.memberships to bulkhead_identity_definer;
grant references (tenant_id, user_id) on identity.memberships to bulkhead_issues_owner;
comment on table identity.memberships is
'Who belongs to which tenant. (tenant_id, user_id) is a published key: other schemas refer to it and rows are never '
'deleted.';
comment on column identity.memberships.kind is
'Copied from the user and held by the foreign key: person, service or placeholder.';
comment on column identity.memberships.status is 'active or disabled, in this tenant only.';
comment on column identity.memberships.joined_at is 'Since when she has belonged to the tenant.';
comment on column identity.memberships.disabled_at is 'Since when she has been disabled; set by trigger.';
comment on column identity.memberships.disabled_by is 'Who disabled her; set by trigger.';
comment on column identity.memberships.role is '1 viewer, 2 member, 3 manager, 4 admin, 5 owner.';
comment on column identity.memberships.version is
'Raised when role or status change, and only then: tokens carry it, and one with an older version is refused.';
comment on column identity.memberships.display_name is 'What fellow members see of the person.';
"""

MEMBERSHIP_STAMP = """
create function identity.stamp_membership() returns trigger
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
    if new.role is distinct from old.role or new.status is distinct from old.status then
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
revoke all on function identity.stamp_membership() from public;
comment on function identity.stamp_membership() is
'In place of app.stamp: the version is the one that tokens carry. No write of a member commits after her rights have '
'changed.';
create trigger aa_stamp before insert or update on identity.memberships
for each row execute function identity.stamp_membership();
call app.capture_on('identity.memberships', 'member', '{user_id}');
"""

INVITATIONS = """
create table identity.invitations (
    tenant_id uuid not null,
    invitation_id uuid not null,
    email text not null,
    email_key text not null generated always as (lower(email collate "C")) stored,
    role smallint not null,
    token_hash bytea not null,
    status text not null default 'open',
    expires_at timestamptz not null,
    accepted_at timestamptz,
    accepted_by uuid,
    revoked_at timestamptz,
    revoked_by uuid,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint invitations_pkey primary key (tenant_id, invitation_id),
    constraint invitations_tenant_id_fkey foreign key (tenant_id) references identity.tenants (tenant_id),
    constraint invitations_accepted_by_fkey foreign key (tenant_id, accepted_by)
    references identity.memberships (tenant_id, user_id),
    -- Global on purpose: a token is looked up before its tenant is known.
    constraint invitations_token_hash_key unique (token_hash),
    constraint invitations_token_hash_check check (octet_length(token_hash) = 32),
    constraint invitations_email_check check (length(email) between 3 and 254),
    constraint invitations_role_check check (role between 1 and 5),
    constraint invitations_status_check check (status in ('open', 'accepted', 'revoked', 'expired')),
    constraint invitations_accepted_check check (
        (status = 'accepted') = (accepted_at is not null) and (accepted_at is null) = (accepted_by is null)
    ),
    constraint invitations_revoked_check check ((status = 'revoked') = (revoked_at is not null))
);
-- One live invitation an address in a tenant.
create unique index invitations_open_email_key on identity.invitations (tenant_id, email_key) where status = 'open';
create index invitations_email_key_idx on identity.invitations (tenant_id, email_key);
create index invitations_accepted_by_idx on identity.invitations (tenant_id, accepted_by) where accepted_by is not null;
create index invitations_expires_at_idx on identity.invitations (expires_at) where status = 'open';
call app.protect('identity.invitations');
create policy read_right on identity.invitations for select to bulkhead_identity_app using (app.role_level() >= 4);
create policy insert_right on identity.invitations for insert to bulkhead_identity_app
with check (app.role_level() >= 4 and role <= app.role_level());
-- Only the status is granted: what an invitation promises does not change.
create policy update_right on identity.invitations for update to bulkhead_identity_app
using (app.role_level() >= 4) with check (app.role_level() >= 4);
create policy definer_read on identity.invitations for select to bulkhead_identity_definer using (true);
create policy definer_update on identity.invitations for update to bulkhead_identity_definer using (true) with check
    (true);
create policy expiry_read on identity.invitations for select to bulkhead_identity_worker
using (status = 'open' and expires_at <= now());
grant select (
    tenant_id, invitation_id, email, email_key, role, status, expires_at, accepted_at, accepted_by, revoked_at,
    revoked_by, created_at, created_by, updated_at, version
), insert (tenant_id, invitation_id, email, role, token_hash, expires_at), update (status)
on identity.invitations to bulkhead_identity_app;
grant select, update (status, accepted_at, accepted_by) on identity.invitations to bulkhead_identity_definer;
grant select (tenant_id, invitation_id, status, expires_at) on identity.invitations to bulkhead_identity_worker;
create trigger aa_stamp before insert or update on identity.invitations for each row execute function app.stamp();
comment on table identity.invitations is
'Invitations to a tenant. An open one holds a seat. The token is in the mail; here is its SHA-256.';
comment on column identity.invitations.email is 'Who is invited, as the inviter wrote it.';
comment on column identity.invitations.email_key is 'What addresses are compared by, as identity.users has it.';
comment on column identity.invitations.role is 'The role that is offered: 1 viewer .. 5 owner.';
comment on column identity.invitations.status is 'open, accepted, revoked or expired.';
comment on column identity.invitations.accepted_at is 'When she joined.';
comment on column identity.invitations.accepted_by is 'The member she became.';
comment on column identity.invitations.revoked_by is 'Who took it back.';
"""

INVITATION_STAMP = """
create function identity.settle_invitation() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        if new.status <> 'open' then
            perform app.refuse(9, 'STATE_NOT_ALLOWED', 'an invitation begins open', '{"state": "open"}');
        end if;
        return new;
    end if;
    if new.status is distinct from old.status then
        perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
        if old.status <> 'open' then
            perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is not open any more');
        end if;
        if new.status = 'revoked' then
            new.revoked_at := now();
            new.revoked_by := app.current_user_id();
        end if;
    end if;
    return new;
end
$$;
revoke all on function identity.settle_invitation() from public;
comment on function identity.settle_invitation() is
'An invitation is open once and settled once; who revoked it and when is not left to the caller.';
create trigger ab_settle before insert or update on identity.invitations
for each row execute function identity.settle_invitation();
call app.capture_on('identity.invitations', 'invitation', '{invitation_id}', '{token_hash}');
"""

SEATS = """
create function identity.count_member() returns trigger
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
revoke all on function identity.count_member() from public;
comment on function identity.count_member() is
'Never more active persons than the plan allows; counts them under the lock of the tenant''s usage.';
create trigger count_seats after insert or update on identity.memberships
for each row execute function identity.count_member();

create function identity.count_invitation() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_change constant integer := case tg_op when 'INSERT' then 1 else -1 end;
    v_used bigint;
    v_limit bigint;
begin
    update identity.tenant_usage set open_invitations = open_invitations + v_change
    where tenant_id = new.tenant_id
    returning active_members + open_invitations - 1 into strict v_used;
    v_limit := identity.limit_of(new.tenant_id, 'users');
    if v_change = 1 and v_used >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('the plan allows %s users, %s are in use', v_limit, v_used),
            jsonb_build_object('limit', 'users', 'value', v_limit::text, 'used', v_used::text)
        );
    end if;
    return null;
end
$$;
revoke all on function identity.count_invitation() from public;
comment on function identity.count_invitation() is
'An open invitation holds a seat until it is settled.';
create trigger count_seats after insert on identity.invitations
for each row execute function identity.count_invitation();
create trigger give_seat_back after update on identity.invitations
for each row when (old.status = 'open' and new.status <> 'open') execute function identity.count_invitation();
"""

OWNER = """
create function identity.require_owner() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- First the lock, then the look: without it two owners who demote each other both see the other.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    if not exists (
        select from identity.memberships as m
        where m.tenant_id = new.tenant_id and m.role = 5 and m.status = 'active'
    ) then
        perform app.refuse(9, 'LAST_OWNER', 'the tenant would be left without an active owner');
    end if;
    return null;
end
$$;
revoke all on function identity.require_owner() from public;
comment on function identity.require_owner() is
'At COMMIT: a tenant has at least one active owner.';
create constraint trigger need_owner after insert on identity.tenants
deferrable initially deferred for each row execute function identity.require_owner();
create constraint trigger keep_owner after update on identity.memberships
deferrable initially deferred for each row
when (old.role = 5 and old.status = 'active' and (new.role <> 5 or new.status <> 'active'))
execute function identity.require_owner();
"""

TEAMS = """
create table identity.teams (
    tenant_id uuid not null,
    team_id uuid not null,
    name text not null,
    name_key text not null generated always as (lower(name)) stored,
    description text not null default '',
    archived_at timestamptz,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint teams_pkey primary key (tenant_id, team_id),
    constraint teams_tenant_id_fkey foreign key (tenant_id) references identity.tenants (tenant_id),
    constraint teams_name_check check (length(name) between 1 and 100),
    constraint teams_description_check check (length(description) <= 2000)
);
-- An archived team gives its name free.
create unique index teams_name_key_key on identity.teams (tenant_id, name_key) where archived_at is null;
call app.protect('identity.teams');
call app.rights('identity.teams', 1::smallint, 3::smallint);
grant select, insert (tenant_id, team_id, name, description), update (name, description, archived_at)
on identity.teams to bulkhead_identity_app;
grant references (tenant_id, team_id) on identity.teams to bulkhead_issues_owner;
create trigger aa_stamp before insert or update on identity.teams for each row execute function app.stamp();
call app.capture_on('identity.teams', 'team', '{team_id}');
comment on table identity.teams is
'Groups of members. (tenant_id, team_id) is a published key: other schemas refer to it and rows are never deleted.';

create table identity.team_members (
    tenant_id uuid not null,
    team_id uuid not null,
    user_id uuid not null,
    is_lead boolean not null default false,
    removed_at timestamptz,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint team_members_pkey primary key (tenant_id, team_id, user_id),
    constraint team_members_team_id_fkey foreign key (tenant_id, team_id)
    references identity.teams (tenant_id, team_id),
    constraint team_members_user_id_fkey foreign key (tenant_id, user_id)
    references identity.memberships (tenant_id, user_id)
);
create index team_members_user_id_idx on identity.team_members (tenant_id, user_id);
call app.protect('identity.team_members');
call app.rights('identity.team_members', 1::smallint, 3::smallint);
create policy definer_read on identity.team_members for select to bulkhead_identity_definer using (true);
grant select, insert (tenant_id, team_id, user_id, is_lead), update (is_lead, removed_at)
on identity.team_members to bulkhead_identity_app;
grant select on identity.team_members to bulkhead_identity_definer;
create trigger aa_stamp before insert or update on identity.team_members
for each row execute function app.stamp();
call app.capture_on('identity.team_members', 'team_member', '{team_id,user_id}');
comment on table identity.team_members is
'Who is in which team. A member who leaves the team keeps her row, with the time.';
comment on column identity.team_members.is_lead is 'Leads the team; gives no rights.';
"""
