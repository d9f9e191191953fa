"""Of a closed account nothing is kept that says whose it was."""

from bulkhead_kit.migrations import run_sql

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run_sql(ADDRESSES)
    run_sql(FORGET)
    run_sql(MAIL)
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(CLOSE)
    run_sql(LEAVE_THE_DEFINERS_PLACE)


def downgrade() -> None:
    run_sql(TAKE_THE_DEFINERS_PLACE)
    run_sql(CLOSE_BEFORE)
    run_sql(LEAVE_THE_DEFINERS_PLACE)
    # The older release knows no row without an address; what was forgotten stays so.
    run_sql("""
    drop trigger forget_the_last on identity.mails;
    drop function identity.forget_the_last_mail();
    drop trigger forget on identity.users;
    drop function identity.forget_person();
    drop index identity.mail_asks_of_address_idx;
    drop index identity.mails_subject_id_idx;
    drop index identity.mails_of_address_idx;
    drop index identity.invitations_of_address_idx;
    alter table identity.mails drop constraint mails_to_whom_check;
    update identity.mails set to_address = 'deleted@invalid' where to_address is null;
    alter table identity.mails alter column to_address set not null;
    alter table identity.invitations drop constraint invitations_to_whom_check;
    update identity.invitations set email = 'deleted@invalid' where email is null;
    alter table identity.invitations alter column email set not null;
    alter table identity.invitations alter column email_key set not null;
    comment on column identity.invitations.email is 'Who is invited, as the inviter wrote it.';
    comment on column identity.mails.to_address is 'Where it is sent.';
    """)


TAKE_THE_DEFINERS_PLACE = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
"""

LEAVE_THE_DEFINERS_PLACE = """
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""

# No installation has these tables large: the first release is still to come.
ADDRESSES = """
-- A row without an address is new; code of before writes one always.
-- squawk-ignore ban-drop-not-null
alter table identity.invitations alter column email drop not null;
-- A row without an address is new; code of before writes one always.
-- squawk-ignore ban-drop-not-null
alter table identity.invitations alter column email_key drop not null;
-- squawk-ignore constraint-missing-not-valid
alter table identity.invitations add constraint invitations_to_whom_check check (email is not null or status <> 'open');
comment on column identity.invitations.email is
'Who is invited, as the inviter wrote it; null: whoever had the address has closed their account.';
-- A row without an address is new; code of before writes one always.
-- squawk-ignore ban-drop-not-null
alter table identity.mails alter column to_address drop not null;
-- squawk-ignore constraint-missing-not-valid
alter table identity.mails add constraint mails_to_whom_check
check (to_address is not null or sent_at is not null or failed_at is not null);
comment on column identity.mails.to_address is
'Where it is sent; null once whoever had the address has closed their account.';
-- squawk-ignore require-concurrent-index-creation
create index invitations_of_address_idx on identity.invitations (email_key);
-- squawk-ignore require-concurrent-index-creation
create index mails_of_address_idx on identity.mails (lower(to_address collate "C"));
-- squawk-ignore require-concurrent-index-creation
create index mails_subject_id_idx on identity.mails (subject_id);
-- squawk-ignore require-concurrent-index-creation
create index mail_asks_of_address_idx on identity.mail_asks (email_key collate "C");
"""

FORGET = """
create function identity.forget_person() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_address constant bytea := convert_to(old.email, 'UTF8');
    v_name constant bytea := convert_to(old.full_name, 'UTF8');
    v_tenants uuid[];
begin
    v_tenants := array(
        select m.tenant_id from identity.memberships as m where m.user_id = new.user_id
        union
        select i.tenant_id from identity.invitations as i where i.email_key = old.email_key
    );
    -- The open ones end: whoever has the address one day is somebody else.
    update identity.invitations as i set status = 'revoked' where i.email_key = old.email_key and i.status = 'open';
    update identity.invitations as i set email = null where i.email_key = old.email_key;
    -- Those that she accepted under an older address.
    update identity.invitations as i set email = null
    where i.tenant_id = any(v_tenants) and i.accepted_by = new.user_id and i.email is not null;
    -- But for the one that tells of this, which forgets the address when it is sent.
    update identity.mails as m
    set
        to_address = null, details = '{}', last_error = 'the account was closed',
        failed_at = case when m.sent_at is null then coalesce(m.failed_at, now()) end
    where lower(m.to_address collate "C") = old.email_key
    and not (m.kind = 'account_closed' and m.sent_at is null and m.failed_at is null);
    -- Those she has caused to others name her, and nobody joins by her invitations any more.
    update identity.mails as m
    set
        details = '{}', failed_at = case when m.sent_at is null then coalesce(m.failed_at, now()) end,
        last_error = case when m.sent_at is null then coalesce(m.last_error, 'who invited has closed the account') end
    where
        m.kind = 'invitation' and m.details <> '{}'
        and m.subject_id in (
            select i.invitation_id from identity.invitations as i
            where i.tenant_id = any(v_tenants) and i.created_by = new.user_id
        );
    delete from identity.mail_asks as a where a.email_key collate "C" = old.email_key;
    update identity.one_time_tokens as t set full_name = null
    where t.user_id = new.user_id and t.full_name is not null;
    -- Answers that are kept for repeats: her own, and those that show her to others.
    update identity.user_request_ids as r set reply = null where r.user_id = new.user_id and r.reply is not null;
    update identity.request_ids as r set reply = null
    where
        r.tenant_id = any(v_tenants)
        and (
            r.principal = new.user_id::text
            or position(v_address in r.reply) > 0 or position(v_name in r.reply) > 0
        );
    return null;
end
$$;
revoke all on function identity.forget_person() from public;
comment on function identity.forget_person() is
'Clears what says elsewhere whose an erased account was: the address in invitations and mails, the name in mails and '
'tokens, both in answers that are kept for repeats.';
create trigger forget after update on identity.users for each row
when (old.kind = 'person' and old.status <> 'erased' and new.status = 'erased')
execute function identity.forget_person();
"""

MAIL = """
create function identity.forget_the_last_mail() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.to_address := null;
    -- The words of a mail server like to name the address.
    new.last_error := case when new.last_error is not null then 'not sent' end;
    return new;
end
$$;
revoke all on function identity.forget_the_last_mail() from public;
comment on function identity.forget_the_last_mail() is
'The mail that tells of a closed account is the last that needs its address.';
create trigger forget_the_last before update on identity.mails for each row
when (new.kind = 'account_closed' and (new.sent_at is not null or new.failed_at is not null))
execute function identity.forget_the_last_mail();
"""

CLOSE = """
create or replace function identity.close_account(
    p_session_id uuid, p_checked_hash text, p_unknown_hash text, p_mail_id uuid
) returns void
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
    -- Those that have invited her too: her invitations are taken back below.
    perform 1 from identity.tenant_usage as t
    where t.tenant_id in (
        select m.tenant_id from identity.memberships as m where m.user_id = v_user_id
        union all
        select i.tenant_id from identity.invitations as i
        inner join identity.users as u on u.email_key = i.email_key
        where u.user_id = v_user_id and i.status = 'open'
    )
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
"""

CLOSE_BEFORE = """
create or replace function identity.close_account(
    p_session_id uuid, p_checked_hash text, p_unknown_hash text, p_mail_id uuid
) returns void
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
"""
