"""How a membership and an invitation end before their time."""

from bulkhead_kit.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(LEFT_AT)
    run_sql(STAMP)


def downgrade() -> None:
    # Who has left stays disabled; that she left by herself is then told by audit only.
    run_sql(STAMP_BEFORE)
    run_sql("""
    drop policy definer_update on identity.memberships;
    revoke update on identity.memberships from identity_definer;
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
alter table identity.memberships validate constraint memberships_left_at_check;
-- Leaving, coming back and a closed account are the person's own acts, for which she needs no admin's role. The app role
-- has no right on left_at: no admin lets somebody leave, or back in without an invitation.
create policy definer_update on identity.memberships for update to identity_definer using (true) with check (true);
grant update (role, status, left_at, display_name, avatar_url) on identity.memberships to identity_definer;
call app.capture_on('identity.memberships', 'member', '{user_id}');
comment on column identity.memberships.left_at is
'When she left the tenant or closed her account; set by trigger. She comes back by an invitation only.';
comment on column identity.memberships.version is
'Raised when role, status or left_at change, and only then: tokens carry it, and one with an older version is refused.';
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
