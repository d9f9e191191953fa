"""What a person says of herself, and how fellow members get to see it."""

from bulkhead_kit.migrations import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql(PROFILES)
    run_sql(OWN_NAME)
    run_sql(NAMES)
    run_sql(JOINING)


def downgrade() -> None:
    run_sql("""
    drop trigger ac_face_of_returning on identity.memberships;
    drop trigger ac_face_of_new on identity.memberships;
    drop function identity.give_face();
    drop trigger show_face on identity.users;
    drop function identity.show_face();
    drop trigger ab_fence on identity.users;
    drop function identity.fence_person();
    drop function identity.person_key(uuid);
    revoke update (full_name, first_name, last_name, avatar_url) on identity.users from identity_app;
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
create policy own_read on identity.user_profiles for select to identity_app using (user_id = app.current_user_id());
create policy own_write on identity.user_profiles for insert to identity_app
with check (user_id = app.current_user_id());
create policy own_change on identity.user_profiles for update to identity_app
using (user_id = app.current_user_id()) with check (user_id = app.current_user_id());
grant
select,
insert (user_id, bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded),
update (bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded)
on identity.user_profiles to identity_app;
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
create policy own_change on identity.users for update to identity_app
using (user_id = app.current_user_id() and kind = 'person' and status = 'active')
with check (user_id = app.current_user_id() and kind = 'person' and status = 'active');
grant update (full_name, first_name, last_name, avatar_url) on identity.users to identity_app;
"""

NAMES = """
create function identity.person_key(p_user uuid) returns bigint
language sql immutable parallel safe
return uuid_hash_extended(p_user, 3);
revoke all on function identity.person_key(uuid) from public;
grant execute on function identity.person_key(uuid) to identity_definer;
comment on function identity.person_key(uuid) is
'Advisory lock of a person: shared by whatever makes her a member, taken alone when her name, picture or status change.';

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
