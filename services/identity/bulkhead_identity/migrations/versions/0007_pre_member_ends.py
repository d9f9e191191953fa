"""How a membership and an invitation end before their time."""

from bulkhead_kit.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(LEFT_AT)
    run_sql(STAMP)
    run_sql(REVOKING)
    run_sql(SETTLE)
    run_sql(AS_DEFINER)
    run_sql(INVITATIONS)
    run_sql(LEAVING)
    run_sql(AS_OWNER)


def downgrade() -> None:
    # Who has left stays disabled; that she left by herself is then told by audit only.
    run_sql(AS_DEFINER)
    run_sql("drop function identity.leave_tenant(uuid);")
    run_sql(INVITATIONS_BEFORE)
    run_sql(AS_OWNER)
    run_sql(SETTLE_BEFORE)
    run_sql(REVOKING_BEFORE)
    run_sql(STAMP_BEFORE)
    run_sql("""
    drop policy definer_update on identity.memberships;
    revoke update on identity.memberships from bulkhead_identity_definer;
    alter table identity.memberships drop column left_at;
    comment on column identity.memberships.version is
    'Raised when role or status change, and only then: tokens carry it, and one with an older version is refused.';
    call app.capture_on('identity.memberships', 'member', '{user_id}');
    """)


LEFT_AT = """
alter table identity.memberships add column left_at timestamptz;
-- Who has left has no rights, and who has rights has not left.
alter table identity.memberships add constraint memberships_left_at_check
check (left_at is null or status = 'disabled') not valid;
-- The column is a statement old and null in every row.
-- squawk-ignore constraint-missing-not-valid
alter table identity.memberships validate constraint memberships_left_at_check;
-- Leaving, coming back and a closed account are the person's own acts, for which she needs no admin's role. The app
-- role has no right on left_at: no admin lets somebody leave, or back in without an invitation.
create policy definer_update on identity.memberships for update to bulkhead_identity_definer using (true) with check
    (true);
grant update (role, status, left_at, display_name, avatar_url) on identity.memberships to bulkhead_identity_definer;
call app.capture_on('identity.memberships', 'member', '{user_id}');
comment on column identity.memberships.left_at is
'When she left the tenant or closed her account; set by trigger. She comes back by an invitation only.';
comment on column identity.memberships.version is
'Raised when role, status or left_at change, and only then: tokens carry it, and one with an older version is '
'refused.';
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
"""

REVOKING = """
-- Nobody takes back what she could not have given.
alter policy update_right on identity.invitations
using (app.role_level() >= 4 and role <= app.role_level())
with check (app.role_level() >= 4 and role <= app.role_level());
"""

REVOKING_BEFORE = """
alter policy update_right on identity.invitations
using (app.role_level() >= 4) with check (app.role_level() >= 4);
"""

SETTLE = """
create or replace function identity.settle_invitation() returns trigger
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
        if new.status = 'expired' and new.expires_at > now() then
            perform app.refuse(9, 'STATE_NOT_ALLOWED', 'the invitation can still be accepted', '{"state": "open"}');
        end if;
        if new.status = 'revoked' then
            new.revoked_at := now();
            new.revoked_by := app.current_user_id();
        end if;
    end if;
    return new;
end
$$;
"""

SETTLE_BEFORE = """
create or replace function identity.settle_invitation() returns trigger
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
"""

AS_DEFINER = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
"""

AS_OWNER = """
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""

INVITATIONS = """
create or replace function identity.has_member(p_email text) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from identity.users as u
        inner join identity.memberships as m on m.user_id = u.user_id
        where
            u.email_key = lower(p_email collate "C") and m.tenant_id = app.current_tenant_id() and m.left_at is null
    );
$$;

create or replace function identity.accept_invitation(p_token_hash bytea)
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
    v_left boolean;
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
    select m.status, m.left_at is not null into v_member_status, v_left from identity.memberships as m
    where m.tenant_id = v_tenant_id and m.user_id = v_user_id;
    accept_invitation.tenant_id := v_tenant_id;
    accept_invitation.role := v_role;
    if v_user_id is null or v_tenant_status is null
        or v_member_status = 'disabled' and not (v_left and v_status = 'open')
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
    if v_left then
        -- The invitation first: the seat it gives up is hers.
        update identity.invitations as i set status = 'accepted', accepted_at = now(), accepted_by = v_user_id
        where i.tenant_id = v_tenant_id and i.invitation_id = v_invitation_id;
        update identity.memberships as m
        set role = v_role, status = 'active', left_at = null, display_name = v_full_name, avatar_url = v_avatar_url
        where m.tenant_id = v_tenant_id and m.user_id = v_user_id;
        return next;
        return;
    elsif v_member_status is null then
        insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
        values (v_tenant_id, v_user_id, 'person', v_role, v_full_name, v_avatar_url);
    end if;
    update identity.invitations as i set status = 'accepted', accepted_at = now(), accepted_by = v_user_id
    where i.tenant_id = v_tenant_id and i.invitation_id = v_invitation_id;
    return next;
end
$$;
"""

INVITATIONS_BEFORE = """
create or replace function identity.has_member(p_email text) returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from identity.users as u
        inner join identity.memberships as m on m.user_id = u.user_id
        where u.email_key = lower(p_email collate "C") and m.tenant_id = app.current_tenant_id()
    );
$$;

create or replace function identity.accept_invitation(p_token_hash bytea)
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
"""

LEAVING = """
create function identity.leave_tenant(p_tenant_id uuid) returns void
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
revoke all on function identity.leave_tenant(uuid) from public;
grant execute on function identity.leave_tenant(uuid) to bulkhead_identity_app;
comment on function identity.leave_tenant(uuid) is
'Ends the membership of the person in context in a tenant; again changes nothing.';
"""
