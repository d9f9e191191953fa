"""What one person may cause over all tenants: how many they make, what a new name writes, whom they invite."""

from bulkhead_kit.migrations import run_sql

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run_sql(ALLOWANCES)
    run_sql(FACES)
    run_sql(SHOW_FACE)
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(TENANTS_OF)
    run_sql(CREATE_TENANT)
    run_sql(SET_LIMIT)
    run_sql(SPREAD_FACE)
    run_sql(CLAIM_ROOM)
    run_sql(INVITATION)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql(OLD_SHOW_FACE)
    run_sql("""
    drop function identity.spread_face(uuid, integer);
    drop function identity.set_tenant_limit(uuid, integer);
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(OLD_CREATE_TENANT)
    run_sql(OLD_INVITATION)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    drop function identity.claim_room(bytea, interval, integer);
    drop function identity.tenants_of(uuid);
    drop table identity.face_changes;
    drop table identity.tenant_allowances;
    drop function identity.capture_tenant_allowances();
    drop index identity.tenants_created_by_idx;
    """)


ALLOWANCES = """
create table identity.tenant_allowances (
    user_id uuid not null,
    max_tenants integer not null,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint tenant_allowances_pkey primary key (user_id),
    constraint tenant_allowances_user_id_fkey foreign key (user_id) references identity.users (user_id),
    constraint tenant_allowances_max_tenants_check check (max_tenants between 0 and 100000)
);
call app.own('identity.tenant_allowances');
create policy definer_read on identity.tenant_allowances for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.tenant_allowances for insert to bulkhead_identity_definer with check (true);
create policy definer_update on identity.tenant_allowances for update to bulkhead_identity_definer
using (true) with check (true);
grant select, insert (user_id, max_tenants), update (max_tenants) on identity.tenant_allowances to
    bulkhead_identity_definer;
create trigger aa_stamp before insert or update on identity.tenant_allowances
for each row execute function app.stamp();
call app.capture_on('identity.tenant_allowances', 'tenant_allowance', '{user_id}');
comment on table identity.tenant_allowances is
'How many tenants a person may have made, where the platform has agreed on another number with them than everybody''s.';
comment on column identity.tenant_allowances.max_tenants is
'Of those they made, the ones that are not deleted for good.';
-- A table of tenants is indexed in milliseconds, and CREATE INDEX CONCURRENTLY knows no transaction.
-- squawk-ignore require-concurrent-index-creation
create index tenants_created_by_idx on identity.tenants (created_by, created_at);
"""

FACES = """
create table identity.face_changes (
    user_id uuid not null,
    due_at timestamptz,
    done_at timestamptz,
    after_tenant_id uuid,
    rpc text,
    request_id text,
    constraint face_changes_pkey primary key (user_id),
    constraint face_changes_user_id_fkey foreign key (user_id) references identity.users (user_id)
);
create index face_changes_due_at_idx on identity.face_changes (due_at) where due_at is not null;
call app.own('identity.face_changes');
create policy definer_read on identity.face_changes for select to bulkhead_identity_definer using (true);
create policy definer_update on identity.face_changes for update to bulkhead_identity_definer using (true) with check
    (true);
create policy due_read on identity.face_changes for select to bulkhead_identity_worker using (due_at is not null);
grant select, update (due_at, done_at, after_tenant_id) on identity.face_changes to bulkhead_identity_definer;
grant select on identity.face_changes to bulkhead_identity_worker;
comment on table identity.face_changes is
'New names and pictures on their way to the many tenants of a person. One row a person, however many changes.';
comment on column identity.face_changes.due_at is
'When the worker goes on; null: every tenant shows the latest.';
comment on column identity.face_changes.done_at is
'When every tenant last showed the latest.';
comment on column identity.face_changes.after_tenant_id is
'The last tenant of those that show the latest, in the order of their ids; null: none yet.';
comment on column identity.face_changes.rpc is
'The method of the change, for the events.';
comment on column identity.face_changes.request_id is
'The call of the change, for the events.';
"""

SHOW_FACE = """
create or replace function identity.show_face() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now constant integer := 10;
    v_pause constant interval := interval '10 seconds';
    v_tenants uuid[];
begin
    -- Those they joined last. Memberships are counted here without a lock: one that comes takes the new name itself.
    select array_agg(l.tenant_id order by l.joined_at desc, l.tenant_id desc) into v_tenants from (
        select m.tenant_id, m.joined_at from identity.memberships as m
        where m.user_id = new.user_id order by m.joined_at desc, m.tenant_id desc limit v_now + 1
    ) as l;
    if cardinality(v_tenants) > v_now then
        insert into identity.face_changes as f (user_id, due_at, rpc, request_id) values (
            new.user_id, now(), nullif(current_setting('app.rpc', true), ''),
            nullif(current_setting('app.request_id', true), '')
        )
        -- Who changes it again and again is shown everywhere every ten seconds at most.
        on conflict (user_id) do update set
            due_at = case
                when f.due_at is not null and f.after_tenant_id is null then f.due_at
                else greatest(now(), f.done_at + v_pause, f.due_at + v_pause)
            end,
            after_tenant_id = null, rpc = excluded.rpc, request_id = excluded.request_id;
    end if;
    -- In one order for everybody, also those they have left: they may be coming back just now.
    perform 1 from identity.memberships as m
    where m.user_id = new.user_id and m.tenant_id = any (v_tenants[:v_now]) order by m.tenant_id for no key update;
    update identity.memberships as m set display_name = new.full_name, avatar_url = new.avatar_url
    where m.user_id = new.user_id and m.tenant_id = any (v_tenants[:v_now]) and m.left_at is null;
    return null;
end
$$;
comment on function identity.show_face() is
'Fellow members of the ten tenants joined last see a new name and picture with the change itself, of the others soon '
'after, by the worker; tenants the person has left do not.';
"""

TENANTS_OF = """
create function identity.tenants_of(p_user uuid) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select count(*) from identity.tenants as t
    where t.created_by = p_user and not (t.status = 'deleted' and t.purge_after <= now());
$$;
revoke all on function identity.tenants_of(uuid) from public;
comment on function identity.tenants_of(uuid) is
'How many tenants a person has made. Deleted ones count while they can come back: else who makes and deletes has no '
'limit, and what comes back might be above it.';
"""

CREATE_TENANT = """
create or replace function identity.create_tenant(p_tenant_id uuid, p_slug text, p_name text)
returns setof identity.tenants
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id constant uuid := app.current_user_id();
    v_an_hour integer;
    v_full_name text;
    v_avatar_url text;
    v_limit integer;
    v_used bigint;
    v_oldest timestamptz;
begin
    -- First the person, as UpdateMe and CloseAccount take them: of many calls at once each counts what the others made.
    select u.full_name, u.avatar_url into v_full_name, v_avatar_url from identity.users as u
    where u.user_id = v_user_id and u.kind = 'person' and u.status = 'active' and u.email_verified_at is not null
    for no key update;
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the account is closed, log in again');
    end if;
    select a.max_tenants into v_limit from identity.tenant_allowances as a where a.user_id = v_user_id;
    v_limit := coalesce(v_limit, 10);
    v_an_hour := greatest(20, v_limit / 10);
    v_used := identity.tenants_of(v_user_id);
    if v_used >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('a person may have made %s tenants, %s are in use', v_limit, v_used),
            jsonb_build_object('limit', 'tenants', 'value', v_limit::text, 'used', v_used::text)
        );
    end if;
    select t.created_at into v_oldest from identity.tenants as t
    where t.created_by = v_user_id and t.created_at > now() - interval '1 hour'
    order by t.created_at desc offset v_an_hour - 1 limit 1;
    if found then
        perform app.refuse(
            8, 'RATE_LIMITED', format('a person makes %s tenants an hour, wait before the next', v_an_hour),
            jsonb_build_object(
                'limit', 'tenants', 'rate', v_an_hour || '/3600s',
                'retry_after', extract(epoch from v_oldest + interval '1 hour' - now())::text
            )
        );
    end if;
    return query
    insert into identity.tenants as t (tenant_id, slug, name) values (p_tenant_id, p_slug, p_name)
    returning t.*;
    insert into identity.tenant_usage (tenant_id) values (p_tenant_id);
    insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
    values (p_tenant_id, v_user_id, 'person', 5, v_full_name, v_avatar_url);
end
$$;
comment on function identity.create_tenant(uuid, text, text) is
'A tenant with the person in context as its owner, if they have made fewer than they may.';
"""

SET_LIMIT = """
create function identity.set_tenant_limit(p_user uuid, p_max_tenants integer)
returns table (max_tenants integer, tenants bigint)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity.check_platform_admin();
    -- The person: whoever makes a tenant just now has counted, or waits for the new number.
    perform 1 from identity.users as u
    where u.user_id = p_user and u.kind = 'person' and u.status = 'active' for no key update;
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such person', '{"resource": "user"}');
    end if;
    insert into identity.tenant_allowances as a (user_id, max_tenants) values (p_user, p_max_tenants)
    on conflict (user_id) do update set max_tenants = excluded.max_tenants
    where a.max_tenants <> excluded.max_tenants;
    return query select p_max_tenants, identity.tenants_of(p_user);
end
$$;
revoke all on function identity.set_tenant_limit(uuid, integer) from public;
grant execute on function identity.set_tenant_limit(uuid, integer) to bulkhead_platform_app;
comment on function identity.set_tenant_limit(uuid, integer) is
'How many tenants a person may have made, by an administrator of the platform; and how many there are.';
"""

SPREAD_FACE = """
create function identity.spread_face(p_user uuid, p_rows integer) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_after uuid;
    v_name text;
    v_avatar_url text;
    v_tenants uuid[];
begin
    -- In the order in which UpdateMe takes locks, which waits for this batch, as CloseAccount does: what is read here
    -- is the latest until the end of it.
    perform pg_advisory_xact_lock_shared(identity.person_key(p_user));
    select f.after_tenant_id into v_after from identity.face_changes as f
    where f.user_id = p_user and f.due_at <= now() for no key update skip locked;
    if not found then
        return 0;
    end if;
    select u.full_name, u.avatar_url into v_name, v_avatar_url from identity.users as u
    where u.user_id = p_user and u.status = 'active';
    if found then
        -- Also those they have left: they may be coming back just now, with the name from before.
        select array_agg(l.tenant_id order by l.tenant_id) into v_tenants from (
            select m.tenant_id from identity.memberships as m
            where m.user_id = p_user and (v_after is null or m.tenant_id > v_after)
            order by m.tenant_id limit p_rows for no key update
        ) as l;
        update identity.memberships as m set display_name = v_name, avatar_url = v_avatar_url
        where m.user_id = p_user and m.tenant_id = any (v_tenants) and m.left_at is null
        and (m.display_name <> v_name or m.avatar_url is distinct from v_avatar_url);
    end if;
    if coalesce(cardinality(v_tenants), 0) < p_rows then
        update identity.face_changes as f set due_at = null, done_at = now(), after_tenant_id = null
        where f.user_id = p_user;
    else
        update identity.face_changes as f set after_tenant_id = v_tenants[p_rows] where f.user_id = p_user;
    end if;
    return coalesce(cardinality(v_tenants), 0);
end
$$;
revoke all on function identity.spread_face(uuid, integer) from public;
grant execute on function identity.spread_face(uuid, integer) to bulkhead_identity_worker;
comment on function identity.spread_face(uuid, integer) is
'Shows the name and picture that a person has now in the next so many of their tenants; how many these were. Whatever '
'ends it in between, the next call goes on behind the last batch that was committed.';
"""

CLAIM_ROOM = """
create function identity.claim_room(p_bucket bytea, p_each interval, p_at_once integer) returns double precision
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_next_at timestamptz;
begin
    -- By the clock, not by now(): who has waited for the row looks at it as it is then.
    insert into identity.mail_limits as l (bucket, free_at) values (p_bucket, clock_timestamp() + p_each)
    on conflict (bucket) do update set free_at = greatest(l.free_at, clock_timestamp()) + p_each
    where l.free_at <= clock_timestamp() + (p_at_once - 1) * p_each;
    if found then
        return null;
    end if;
    select l.free_at - (p_at_once - 1) * p_each into v_next_at
    from identity.mail_limits as l where l.bucket = p_bucket;
    return greatest(extract(epoch from v_next_at - clock_timestamp()), 1);
end
$$;
revoke all on function identity.claim_room(bytea, interval, integer) from public;
comment on function identity.claim_room(bytea, interval, integer) is
'Counts a mail in one bucket before it is queued: so many at once, then one after each interval. Null: it may be; else '
'the seconds until it may. With the rights of who calls it, and nobody else may.';
"""

INVITATION = """
create or replace function identity.mail_invitation(p_mail_id uuid, p_invitation_id uuid, p_details jsonb)
returns double precision
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_email text;
    v_email_key text;
    v_person constant uuid := app.current_user_id();
    v_wait double precision;
begin
    select i.email into v_email from identity.invitations as i
    where i.tenant_id = app.current_tenant_id() and i.invitation_id = p_invitation_id and i.status = 'open'
    and app.role_level() >= 4;
    if not found then
        raise exception 'identity.mail_invitation: there is no such open invitation in this tenant';
    end if;
    v_email_key := lower(v_email collate "C");
    -- Always in this order: the rows are locked until the end of the transaction. A refusal ends it, with all claims.
    v_wait := coalesce(
        identity.claim_mail('invitation', v_email, app.current_tenant_id()),
        identity.claim_room(
            sha256(convert_to(concat_ws(' ', 'invitation', 'by', v_person, v_email_key), 'UTF8')),
            interval '96 minutes', 5
        ),
        identity.claim_room(
            sha256(convert_to(concat_ws(' ', 'invitations', 'by', v_person), 'UTF8')), interval '7.2 seconds', 500
        ),
        identity.claim_room(
            sha256(convert_to(concat_ws(' ', 'invitations', 'to', v_email_key), 'UTF8')), interval '72 minutes', 20
        )
    );
    if v_wait is null then
        insert into identity.mails (mail_id, kind, to_address, subject_id, details)
        values (p_mail_id, 'invitation', v_email, p_invitation_id, p_details);
    end if;
    return v_wait;
end
$$;
comment on function identity.mail_invitation(uuid, uuid, jsonb) is
'Queues the mail of an open invitation of the context''s tenant. Null: it is queued; else the seconds until it may be: '
'a tenant, and a person over all tenants, may send five to an address at once and twenty a day, a person 500 an hour '
'to whomever, and an address gets at most twenty at once and twenty a day, whoever causes them.';
"""

OLD_SHOW_FACE = """
create or replace function identity.show_face() returns trigger
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
comment on function identity.show_face() is
'Fellow members of every tenant see a new name and picture with the change itself; tenants she has left do not.';
"""

OLD_CREATE_TENANT = """
create or replace function identity.create_tenant(p_tenant_id uuid, p_slug text, p_name text)
returns setof identity.tenants
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
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
    returning t.*;
    insert into identity.tenant_usage (tenant_id) values (p_tenant_id);
    insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
    values (p_tenant_id, app.current_user_id(), 'person', 5, v_full_name, v_avatar_url);
end
$$;
comment on function identity.create_tenant(uuid, text, text) is
'A tenant with the person in context as its owner.';
"""

OLD_INVITATION = """
create or replace function identity.mail_invitation(p_mail_id uuid, p_invitation_id uuid, p_details jsonb)
returns double precision
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_email text;
    v_wait double precision;
begin
    select i.email into v_email from identity.invitations as i
    where i.tenant_id = app.current_tenant_id() and i.invitation_id = p_invitation_id and i.status = 'open'
    and app.role_level() >= 4;
    if not found then
        raise exception 'identity.mail_invitation: there is no such open invitation in this tenant';
    end if;
    v_wait := identity.claim_mail('invitation', v_email, app.current_tenant_id());
    if v_wait is null then
        insert into identity.mails (mail_id, kind, to_address, subject_id, details)
        values (p_mail_id, 'invitation', v_email, p_invitation_id, p_details);
    end if;
    return v_wait;
end
$$;
comment on function identity.mail_invitation(uuid, uuid, jsonb) is
'Queues the mail of an open invitation of the context''s tenant. Null: it is queued; else the seconds until the tenant '
'may send another one to this address.';
"""
