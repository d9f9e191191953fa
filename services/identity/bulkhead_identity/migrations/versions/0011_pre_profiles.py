"""What a person says of herself, and how fellow members get to see it."""

from bulkhead_kit.migrations import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql(PROFILES)
    run_sql(OWN_NAME)
    run_sql(NAMES)
    run_sql(JOINING)
    run_sql(ERASING)
    run_sql(OWNERS)
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(CLOSING)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.close_account(uuid, text, text, uuid);
    """)
    run_sql(OWNERS_BEFORE)
    run_sql("""
    drop policy definer_update on identity.team_members;
    revoke update (is_lead, removed_at) on identity.team_members from bulkhead_identity_definer;
    revoke update (email, first_name, last_name, avatar_url, status, is_platform_admin) on identity.users
    from bulkhead_identity_definer;
    drop trigger ac_face_of_returning on identity.memberships;
    drop trigger ac_face_of_new on identity.memberships;
    drop function identity.give_face();
    drop trigger show_face on identity.users;
    drop function identity.show_face();
    drop trigger ab_fence_own on identity.users;
    drop function identity.fence_own_person();
    drop trigger ab_fence on identity.users;
    drop function identity.fence_person();
    drop function identity.person_key(uuid);
    revoke update (full_name, first_name, last_name, avatar_url) on identity.users from bulkhead_identity_app;
    drop policy own_change on identity.users;
    drop table identity.user_profiles;
    drop function identity.capture_user_profiles();
    """)


PROFILES = """
create table identity.user_profiles (
    user_id uuid not null,
    bio text,
    phone text,
    company text,
    department text,
    job_title text,
    time_zone text,
    locale text,
    preferences jsonb not null default '{}',
    is_onboarded boolean not null default false,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint user_profiles_pkey primary key (user_id),
    constraint user_profiles_user_id_fkey foreign key (user_id) references identity.users (user_id),
    constraint user_profiles_bio_check check (length(bio) between 1 and 2000),
    constraint user_profiles_phone_check check (phone ~ '^[+]?[0-9(][0-9 ()./-]{2,38}$'),
    constraint user_profiles_company_check check (length(company) between 1 and 200),
    constraint user_profiles_department_check check (length(department) between 1 and 200),
    constraint user_profiles_job_title_check check (length(job_title) between 1 and 200),
    -- Which zones there are is known to the service, and changes several times a year.
    constraint user_profiles_time_zone_check check (time_zone ~ '^[A-Za-z][A-Za-z0-9_+/-]{0,63}$'),
    constraint user_profiles_locale_check check (length(locale) <= 35 and locale ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    -- PostgreSQL writes a number such as 1e300 with all its digits: more room than the contract's 8,192 bytes.
    constraint user_profiles_preferences_check check (
        jsonb_typeof(preferences) = 'object' and octet_length(preferences::text) <= 16384
    )
);
call app.own('identity.user_profiles');
create policy own_read on identity.user_profiles for select to bulkhead_identity_app
using (user_id = app.current_user_id());
create policy own_write on identity.user_profiles for insert to bulkhead_identity_app
with check (user_id = app.current_user_id());
create policy own_change on identity.user_profiles for update to bulkhead_identity_app
using (user_id = app.current_user_id()) with check (user_id = app.current_user_id());
grant
select,
insert (user_id, bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded),
update (bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded)
on identity.user_profiles to bulkhead_identity_app;
create trigger aa_stamp before insert or update on identity.user_profiles
for each row execute function app.stamp();
call app.capture_on('identity.user_profiles', 'user_profile', '{user_id}');
comment on table identity.user_profiles is
'What a person says of herself, made when she first does; seen by her alone. What fellow members see of her is on the '
'membership.';
comment on column identity.user_profiles.bio is 'About her, in her words.';
comment on column identity.user_profiles.phone is 'Digits and what people write between them.';
comment on column identity.user_profiles.company is 'Where she works, as she says it.';
comment on column identity.user_profiles.department is 'In which part of it.';
comment on column identity.user_profiles.job_title is 'As what.';
comment on column identity.user_profiles.time_zone is 'Name in the IANA database, such as Europe/Berlin.';
comment on column identity.user_profiles.locale is 'Language tag of the form of BCP 47, such as de-AT.';
comment on column identity.user_profiles.preferences is 'What clients remember for her.';
comment on column identity.user_profiles.is_onboarded is 'Whether she is done with what clients show to newcomers.';
"""

OWN_NAME = """
create policy own_change on identity.users for update to bulkhead_identity_app
using (user_id = app.current_user_id() and kind = 'person' and status = 'active')
with check (user_id = app.current_user_id() and kind = 'person' and status = 'active');
grant update (full_name, first_name, last_name, avatar_url) on identity.users to bulkhead_identity_app;
"""

NAMES = """
create function identity.person_key(p_user uuid) returns bigint
language sql immutable parallel safe
return uuid_hash_extended(p_user, 3);
revoke all on function identity.person_key(uuid) from public;
grant execute on function identity.person_key(uuid) to bulkhead_identity_definer;
comment on function identity.person_key(uuid) is
'Advisory lock of a person: shared by what makes her a member, taken alone when name, picture or status change.';

create function identity.fence_person() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Waits for memberships that are being made with what is known of her now.
    perform pg_advisory_xact_lock(identity.person_key(new.user_id));
    return new;
end
$$;
revoke all on function identity.fence_person() from public;
comment on function identity.fence_person() is
'No membership is made with a name, picture or status that is being changed.';
create trigger ab_fence before update on identity.users
for each row when (
    old.full_name is distinct from new.full_name or old.avatar_url is distinct from new.avatar_url
    or old.status is distinct from new.status
) execute function identity.fence_person();

create function identity.fence_own_person() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Before the row: an update locks it so hard, for its generated column, that a membership's foreign key would wait
    -- for it, with the person's lock in hand.
    if app.current_user_id() is not null then
        perform pg_advisory_xact_lock(identity.person_key(app.current_user_id()));
    end if;
    return null;
end
$$;
revoke all on function identity.fence_own_person() from public;
comment on function identity.fence_own_person() is
'As fence_person, in time for nobody to deadlock, where it is the person in context who changes.';
create trigger ab_fence_own before update of full_name, avatar_url, status on identity.users
for each statement execute function identity.fence_own_person();

create function identity.show_face() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- All of them, in one order for everybody, also those she has left: she may be coming back just now.
    perform 1 from identity.memberships as m where m.user_id = new.user_id order by m.tenant_id for no key update;
    update identity.memberships as m set display_name = new.full_name, avatar_url = new.avatar_url
    where m.user_id = new.user_id and m.left_at is null;
    return null;
end
$$;
revoke all on function identity.show_face() from public;
comment on function identity.show_face() is
'Fellow members of every tenant see a new name and picture with the change itself; tenants she has left do not.';
create trigger show_face after update on identity.users
for each row when (
    new.kind = 'person' and new.status <> 'erased'
    and (old.full_name is distinct from new.full_name or old.avatar_url is distinct from new.avatar_url)
) execute function identity.show_face();
"""

JOINING = """
create function identity.give_face() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text;
    v_avatar_url text;
    v_status text;
begin
    if tg_op = 'INSERT' then
        perform pg_advisory_xact_lock_shared(identity.person_key(new.user_id));
    end if;
    -- After the lock, or in an update after that of the row: what whoever made the statement has read may be old.
    select u.full_name, u.avatar_url, u.status into v_name, v_avatar_url, v_status
    from identity.users as u where u.user_id = new.user_id;
    if found then
        if v_status <> 'active' then
            perform app.refuse(16, 'SESSION_ENDED', 'the account is closed, log in again');
        end if;
        new.display_name := v_name;
        new.avatar_url := v_avatar_url;
    end if;
    return new;
end
$$;
revoke all on function identity.give_face() from public;
comment on function identity.give_face() is
'Who joins or comes back is seen as she is now, and nobody joins whose account is closed.';
create trigger ac_face_of_new before insert on identity.memberships
for each row when (new.kind = 'person') execute function identity.give_face();
create trigger ac_face_of_returning before update on identity.memberships
for each row when (new.kind = 'person' and old.left_at is not null and new.left_at is null)
execute function identity.give_face();
"""

ERASING = """
create policy definer_read on identity.user_profiles for select to bulkhead_identity_definer using (true);
create policy definer_update on identity.user_profiles for update to bulkhead_identity_definer using (true) with check
    (true);
grant
select (user_id), update (bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded)
on identity.user_profiles to bulkhead_identity_definer;
grant update (email, first_name, last_name, avatar_url, status, is_platform_admin) on identity.users
to bulkhead_identity_definer;
create policy definer_update on identity.team_members for update to bulkhead_identity_definer using (true) with check
    (true);
grant update (is_lead, removed_at) on identity.team_members to bulkhead_identity_definer;
"""

OWNERS = """
create or replace function identity.require_owner() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- First the lock, then the look: without it two owners who demote each other both see the other.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    if not exists (
        select from identity.memberships as m
        where m.tenant_id = new.tenant_id and m.role = 5 and m.status = 'active'
    ) and not exists (
        select from identity.tenants as t
        where t.tenant_id = new.tenant_id and t.status = 'deleted' and t.purge_after <= now()
    ) then
        perform app.refuse(9, 'LAST_OWNER', 'the tenant would be left without an active owner');
    end if;
    return null;
end
$$;
comment on function identity.require_owner() is
'At COMMIT: a tenant has at least one active owner, as long as there is a tenant or one can come back.';
"""

# As migration 0003 made it.
OWNERS_BEFORE = """
create or replace function identity.require_owner() returns trigger
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
comment on function identity.require_owner() is
'At COMMIT: a tenant has at least one active owner.';
"""

CLOSING = """
create function identity.close_account(p_session_id uuid, p_checked_hash text, p_unknown_hash text, p_mail_id uuid)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id constant uuid := app.current_user_id();
    v_tenant_id uuid;
begin
    -- First the person, as UpdateMe takes her; then the limits of her tenants in the order of their ids, then the rest.
    perform 1 from identity.users as u
    where u.user_id = v_user_id and u.kind = 'person' and u.status = 'active' for no key update;
    if not found or not exists (
        select from identity.sessions as s
        where s.session_id = p_session_id and s.user_id = v_user_id and s.revoked_at is null and s.expires_at > now()
    ) then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    if not exists (
        select from identity.user_credentials as c where c.user_id = v_user_id and c.password_hash = p_checked_hash
    ) then
        perform app.refuse(10, 'CONFLICT', 'the password was changed by another call meanwhile, try again');
    end if;
    perform pg_advisory_xact_lock(identity.person_key(v_user_id));
    perform 1 from identity.tenant_usage as t
    where t.tenant_id in (select m.tenant_id from identity.memberships as m where m.user_id = v_user_id)
    order by t.tenant_id for no key update;
    select m.tenant_id into v_tenant_id from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where m.user_id = v_user_id and m.role = 5 and m.status = 'active' and not exists (
        select from identity.memberships as o
        where o.tenant_id = m.tenant_id and o.user_id <> v_user_id and o.role = 5 and o.status = 'active'
    )
    -- Who comes back to nothing answers for nothing.
    and not (t.status = 'deleted' and t.purge_after <= now())
    order by m.tenant_id limit 1;
    if found then
        perform app.refuse(
            9, 'LAST_OWNER', 'a tenant would be left without an active owner',
            jsonb_build_object('tenant_id', v_tenant_id)
        );
    end if;
    update identity.memberships as m
    set status = 'disabled', left_at = now(), display_name = 'Deleted user', avatar_url = null
    where m.user_id = v_user_id;
    update identity.team_members as t set is_lead = false, removed_at = now()
    where t.user_id = v_user_id and t.removed_at is null;
    update identity.sessions as s set revoked_at = now(), revoked_reason = 'account_closed'
    where s.user_id = v_user_id and s.revoked_at is null;
    update identity.one_time_tokens as t set revoked_at = now(), password_hash = null
    where t.user_id = v_user_id and t.used_at is null and t.revoked_at is null;
    -- Nobody knows the password of this one, and nobody finds it: the address is gone.
    update identity.user_credentials as c set password_hash = p_unknown_hash, password_changed_at = now()
    where c.user_id = v_user_id;
    update identity.user_profiles as p
    set bio = null, phone = null, company = null, department = null, job_title = null, time_zone = null, locale = null,
        preferences = '{}', is_onboarded = false
    where p.user_id = v_user_id;
    insert into identity.mails (mail_id, kind, to_address, subject_id)
    select p_mail_id, 'account_closed', u.email, u.user_id from identity.users as u where u.user_id = v_user_id;
    update identity.users as u
    set status = 'erased', email = null, email_verified_at = null, full_name = 'Deleted user', first_name = null,
        last_name = null, avatar_url = null, is_platform_admin = false
    where u.user_id = v_user_id;
end
$$;
revoke all on function identity.close_account(uuid, text, text, uuid) from public;
grant execute on function identity.close_account(uuid, text, text, uuid) to bulkhead_identity_app;
comment on function identity.close_account(uuid, text, text, uuid) is
'Ends the account of the person in context, who has proved that she knows the password that p_checked_hash is of: '
'nothing of her is left but a member without a name, to whom references lead.';
"""
