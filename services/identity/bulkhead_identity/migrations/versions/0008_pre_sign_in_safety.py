"""What keeps sign-in safe: mails asked for by anybody, resets, throttled guesses, mails about new devices."""

from bulkhead_kit.migrations import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(MAIL_ASKS)
    run_sql(LOGIN_THROTTLES)
    run_sql(RESETS)
    run_sql("""
    -- It would start a session without asking for the password that was checked, and nothing has been released.
    -- squawk-ignore ban-drop-function
    drop function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text);
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(ASKING)
    run_sql(REPLACING)
    run_sql(THROTTLING)
    run_sql(START_SESSION)
    run_sql(SIGN_UP)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.start_session(
        uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text, boolean, uuid
    );
    drop function identity.forget_failures(bytea);
    drop function identity.claim_attempt(bytea, text);
    drop function identity.change_password(uuid, text, text, uuid);
    drop function identity.find_own_credentials(uuid);
    drop function identity.reset_password(bytea, text, uuid, uuid);
    drop function identity.find_reset(bytea, uuid);
    drop function identity.replace_password(uuid, text, uuid, uuid);
    drop function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid);
    drop function identity.ask_for_mail(uuid, text, text, bytea);
    drop index identity.one_time_tokens_live_reset_key;
    revoke insert (attempts) on identity.one_time_tokens from bulkhead_identity_definer;
    drop table identity.login_throttles;
    drop table identity.mail_asks;
    drop function identity.capture_mail_asks();
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(OLD_START_SESSION)
    run_sql(OLD_SIGN_UP)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


MAIL_ASKS = """
create table identity.mail_asks (
    ask_id uuid not null,
    purpose text not null,
    email text not null,
    email_key text generated always as (lower(email collate "C")) stored,
    request_digest bytea,
    ip inet,
    answered_at timestamptz,
    mailed_at timestamptz,
    created_at timestamptz not null default now(),
    constraint mail_asks_pkey primary key (ask_id),
    constraint mail_asks_purpose_check check (purpose in ('verify_email', 'reset_password')),
    constraint mail_asks_email_check check (length(email) between 3 and 254),
    constraint mail_asks_request_digest_check check (octet_length(request_digest) = 32),
    constraint mail_asks_mailed_at_check check (mailed_at is null or answered_at is not null)
);
create index mail_asks_created_at_idx on identity.mail_asks (created_at);
create index mail_asks_open_idx on identity.mail_asks (created_at) where answered_at is null;
create index mail_asks_email_key_idx on identity.mail_asks (email_key, purpose, mailed_at) where mailed_at is not null;
call app.own('identity.mail_asks');
create policy definer_read on identity.mail_asks for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.mail_asks for insert to bulkhead_identity_definer with check (true);
-- Answered once.
create policy definer_answer on identity.mail_asks for update to bulkhead_identity_definer
using (answered_at is null) with check (answered_at is not null);
create policy worker_read on identity.mail_asks for select to bulkhead_identity_worker using (true);
create policy expiry_remove on identity.mail_asks for delete to bulkhead_identity_worker
using (answered_at is not null and created_at < now() - interval '24 hours');
grant select, insert (ask_id, purpose, email, request_digest, ip), update (answered_at, mailed_at)
on identity.mail_asks to bulkhead_identity_definer;
grant select (ask_id, purpose, answered_at, created_at), delete on identity.mail_asks to bulkhead_identity_worker;
call app.capture_on('identity.mail_asks', 'mail_ask', '{ask_id}', '{request_digest,ip,answered_at,mailed_at}');
-- That an answered one is forgotten after its time is nobody's act.
create or replace trigger zz_capture after insert or update on identity.mail_asks
for each row execute function identity.capture_mail_asks();
comment on table identity.mail_asks is
'Mails that anybody may ask for with an address: a row for every call, whether the address has an account or not, so '
'that neither answer nor time tells. The worker finds out what there is to send.';
comment on column identity.mail_asks.ask_id is 'The request_id of the call, if it has one: a repeat asks for nothing.';
comment on column identity.mail_asks.purpose is 'Of the token that is asked for: verify_email or reset_password.';
comment on column identity.mail_asks.email is 'The address that was given.';
comment on column identity.mail_asks.email_key is 'What addresses are compared by, as in users.';
comment on column identity.mail_asks.request_digest is 'Of the call, when it has a request_id.';
comment on column identity.mail_asks.ip is 'Where the call came from.';
comment on column identity.mail_asks.answered_at is 'When the worker settled it, with a mail or without one.';
comment on column identity.mail_asks.mailed_at is
'When there was somebody to mail to; the next mail waits a minute, the fourth for the first one''s token to end.';
"""

LOGIN_THROTTLES = """
create table identity.login_throttles (
    bucket bytea not null,
    failures integer not null default 1,
    last_at timestamptz not null default now(),
    retry_at timestamptz not null default now(),
    reported_at timestamptz,
    created_at timestamptz not null default now(),
    constraint login_throttles_pkey primary key (bucket),
    constraint login_throttles_bucket_check check (octet_length(bucket) = 32),
    constraint login_throttles_failures_check check (failures >= 0)
);
create index login_throttles_last_at_idx on identity.login_throttles (last_at);
call app.own('identity.login_throttles');
create policy definer_read on identity.login_throttles for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.login_throttles for insert to bulkhead_identity_definer with check (true);
create policy definer_update on identity.login_throttles for update to bulkhead_identity_definer using (true) with check
    (true);
create policy expiry_read on identity.login_throttles for select to bulkhead_identity_worker using (true);
create policy expiry_remove on identity.login_throttles for delete to bulkhead_identity_worker
using (last_at < now() - interval '1 day');
grant select, insert (bucket, last_at, retry_at), update (failures, last_at, retry_at, reported_at)
on identity.login_throttles to bulkhead_identity_definer;
grant select (bucket, last_at), delete on identity.login_throttles to bulkhead_identity_worker;
comment on table identity.login_throttles is
'How often a password was tried in vain since it was right last, for each account or known device. Here and not in a '
'process: all replicas count together, and a restart forgets nothing.';
comment on column identity.login_throttles.bucket is
'Keyed hash of the address, or of address and device: also for addresses that nobody has, which the table does not '
'tell.';
comment on column identity.login_throttles.failures is 'Tries since the last right one, those under way included.';
comment on column identity.login_throttles.last_at is 'When it was tried last.';
comment on column identity.login_throttles.retry_at is 'No password is looked at before.';
comment on column identity.login_throttles.reported_at is 'When a refusal left an event last; one a minute is enough.';
"""

RESETS = """
-- A reset that was asked for again makes the mail before worthless. The rows last an hour: there are few to read.
-- squawk-ignore require-concurrent-index-creation
create unique index one_time_tokens_live_reset_key on identity.one_time_tokens (user_id)
where purpose = 'reset_password' and used_at is null and revoked_at is null;
grant insert (attempts) on identity.one_time_tokens to bulkhead_identity_definer;
"""

ASKING = """
create function identity.ask_for_mail(p_ask_id uuid, p_purpose text, p_email text, p_request_digest bytea)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into identity.mail_asks (ask_id, purpose, email, request_digest, ip)
    values (p_ask_id, p_purpose, p_email, p_request_digest, nullif(current_setting('app.ip', true), '')::inet)
    on conflict (ask_id) do nothing;
    if not found and not exists (
        select from identity.mail_asks as a where a.ask_id = p_ask_id and a.request_digest = p_request_digest
    ) then
        perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
    end if;
end
$$;
revoke all on function identity.ask_for_mail(uuid, text, text, bytea) from public;
grant execute on function identity.ask_for_mail(uuid, text, text, bytea) to bulkhead_identity_app;
comment on function identity.ask_for_mail(uuid, text, text, bytea) is
'One and the same row for every address, known or not.';

create function identity.answer_mail_ask(
    p_ask_id uuid, p_token_id uuid, p_token_hash bytea, p_token_life interval, p_mail_id uuid
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_purpose text;
    v_email_key text;
    v_ip inet;
    v_mailed_at timestamptz;
    v_user_id uuid;
    v_email text;
    v_verified boolean;
    v_attempts smallint;
    v_password_hash text;
    v_full_name text;
begin
    select a.purpose, a.email_key, a.ip into v_purpose, v_email_key, v_ip
    from identity.mail_asks as a where a.ask_id = p_ask_id;
    -- Locks the person: two asks of hers make their tokens one after the other.
    select u.user_id, u.email, u.email_verified_at is not null into v_user_id, v_email, v_verified
    from identity.users as u
    where u.email_key = v_email_key and u.kind = 'person' and u.status = 'active'
    and (v_purpose = 'verify_email' or u.email_verified_at is not null) for no key update;
    update identity.mail_asks as a set answered_at = now(), mailed_at = case when v_user_id is not null and not exists (
        select from identity.mail_asks as b
        where b.email_key = v_email_key and b.purpose = v_purpose and b.mailed_at > now() - interval '1 minute'
    -- Each makes the one before worthless: who asks every minute would leave her none to use. The third one lives until
    -- there may be another.
    ) and (
        select count(*) from identity.mail_asks as b
        where b.email_key = v_email_key and b.purpose = v_purpose and b.mailed_at > now() - p_token_life
    ) < 3 then now() end
    where a.ask_id = p_ask_id and a.answered_at is null
    returning a.mailed_at into v_mailed_at;
    -- Nobody has the address, she has had a mail this minute, or another worker was first.
    if v_mailed_at is null then
        return;
    end if;
    if v_purpose = 'reset_password' then
        update identity.one_time_tokens as t set revoked_at = now()
        where t.user_id = v_user_id and t.purpose = 'reset_password' and t.used_at is null and t.revoked_at is null;
        insert into identity.one_time_tokens (token_id, purpose, user_id, token_hash, expires_at)
        values (p_token_id, 'reset_password', v_user_id, p_token_hash, now() + p_token_life);
        insert into identity.mails (mail_id, kind, to_address, subject_id, details) values (
            p_mail_id, 'reset_password', v_email, p_token_id,
            jsonb_strip_nulls(jsonb_build_object('ip', host(v_ip)))
        );
    elsif v_verified then
        insert into identity.mails (mail_id, kind, to_address, subject_id)
        values (p_mail_id, 'already_registered', v_email, v_user_id);
    else
        -- The sign-up that was made last; what was tried of it in vain counts on.
        update identity.one_time_tokens as t set revoked_at = now(), password_hash = null
        from identity.one_time_tokens as before
        where t.token_id = before.token_id and before.token_id = (
            select s.token_id from identity.one_time_tokens as s
            where s.user_id = v_user_id and s.purpose = 'verify_email' and s.used_at is null and s.revoked_at is null
            and s.attempts < 5
            order by s.created_at desc, s.token_id desc limit 1
        )
        returning before.attempts, before.password_hash, before.full_name into v_attempts, v_password_hash, v_full_name;
        if found then
            insert into identity.one_time_tokens (
                token_id, purpose, user_id, token_hash, expires_at, attempts, password_hash, full_name
            ) values (
                p_token_id, 'verify_email', v_user_id, p_token_hash, now() + p_token_life, v_attempts,
                v_password_hash, v_full_name
            );
            insert into identity.mails (mail_id, kind, to_address, subject_id)
            values (p_mail_id, 'verify_email', v_email, p_token_id);
        end if;
    end if;
end
$$;
revoke all on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) from public;
grant execute on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) to bulkhead_identity_worker;
comment on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) is
'Queues the mail that was asked for, if there is anybody to send it to and she has had none of the kind this minute '
'and less than three in the life of a token.';
"""

REPLACING = """
create function identity.replace_password(p_user_id uuid, p_password_hash text, p_kept_session uuid, p_mail_id uuid)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.user_credentials as c set password_hash = p_password_hash, password_changed_at = now()
    where c.user_id = p_user_id;
    update identity.sessions as s set revoked_at = now(), revoked_reason = 'password_changed'
    where s.user_id = p_user_id and s.revoked_at is null and s.expires_at > now()
    and s.session_id is distinct from p_kept_session;
    update identity.one_time_tokens as t set revoked_at = now()
    where t.user_id = p_user_id and t.purpose = 'reset_password' and t.used_at is null and t.revoked_at is null;
    insert into identity.mails (mail_id, kind, to_address, subject_id, details)
    select p_mail_id, 'password_changed', u.email, u.user_id, jsonb_strip_nulls(jsonb_build_object(
        'ip', nullif(current_setting('app.ip', true), ''),
        'user_agent', nullif(current_setting('app.user_agent', true), '')
    ))
    from identity.users as u where u.user_id = p_user_id;
end
$$;
revoke all on function identity.replace_password(uuid, text, uuid, uuid) from public;
comment on function identity.replace_password(uuid, text, uuid, uuid) is
'The half that reset_password and change_password share; with the rights of who calls it, and nobody else may.';

create function identity.find_reset(p_token_hash bytea, p_request_id uuid)
returns table (email text, full_name text, password_hash text)
language sql stable security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
    -- The password only for who has used the token already, with this very request.
    select u.email, u.full_name, case when t.used_at is not null then c.password_hash end
    from identity.one_time_tokens as t
    inner join identity.users as u on u.user_id = t.user_id
    inner join identity.user_credentials as c on c.user_id = t.user_id
    where t.token_hash = p_token_hash and t.purpose = 'reset_password' and u.status = 'active' and (
        t.used_at is null and t.revoked_at is null and t.expires_at > now() or t.used_by_request = p_request_id
    );
$$;
revoke all on function identity.find_reset(bytea, uuid) from public;
grant execute on function identity.find_reset(bytea, uuid) to bulkhead_identity_app;
comment on function identity.find_reset(bytea, uuid) is
'For ResetPassword: what a new password must not resemble. Of a token that this request_id has used, also the hash '
'that it brought: a repeat with the same password gets the same answer.';

create function identity.reset_password(
    p_token_hash bytea, p_password_hash text, p_request_id uuid, p_mail_id uuid
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid;
begin
    select t.user_id into v_user_id from identity.one_time_tokens as t
    where t.token_hash = p_token_hash and t.purpose = 'reset_password';
    -- Before the sessions are ended: a login that is under way waits here and finds another password.
    perform from identity.users as u where u.user_id = v_user_id and u.status = 'active' for no key update;
    if found then
        update identity.one_time_tokens as t set used_at = now(), used_by_request = p_request_id
        where t.token_hash = p_token_hash and t.purpose = 'reset_password' and t.used_at is null
        and t.revoked_at is null and t.expires_at > now();
    end if;
    if not found then
        perform app.refuse(9, 'ONE_TIME_TOKEN_INVALID', 'the token is unknown, used, expired or replaced');
    end if;
    perform identity.replace_password(v_user_id, p_password_hash, null, p_mail_id);
end
$$;
revoke all on function identity.reset_password(bytea, text, uuid, uuid) from public;
grant execute on function identity.reset_password(bytea, text, uuid, uuid) to bulkhead_identity_app;
comment on function identity.reset_password(bytea, text, uuid, uuid) is
'Uses a token from a mail: another password, every session ended.';

create function identity.find_own_credentials(p_session_id uuid)
returns table (email text, full_name text, password_hash text)
language plpgsql stable security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
    return query select u.email, u.full_name, c.password_hash
    from identity.sessions as s
    inner join identity.users as u on u.user_id = s.user_id
    inner join identity.user_credentials as c on c.user_id = s.user_id
    where s.session_id = p_session_id and s.user_id = app.current_user_id()
    and s.revoked_at is null and s.expires_at > now() and u.status = 'active';
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
end
$$;
revoke all on function identity.find_own_credentials(uuid) from public;
grant execute on function identity.find_own_credentials(uuid) to bulkhead_identity_app;
comment on function identity.find_own_credentials(uuid) is
'For ChangePassword: the hash to check the password against, of the person in context, whose session lasts.';

create function identity.change_password(
    p_session_id uuid, p_checked_hash text, p_password_hash text, p_mail_id uuid
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from identity.users as u where u.user_id = app.current_user_id() and u.status = 'active' for no key update;
    if not found or not exists (
        select from identity.sessions as s
        where s.session_id = p_session_id and s.user_id = app.current_user_id()
        and s.revoked_at is null and s.expires_at > now()
    ) then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    if not exists (
        select from identity.user_credentials as c
        where c.user_id = app.current_user_id() and c.password_hash = p_checked_hash
    ) then
        perform app.refuse(10, 'CONFLICT', 'the password was changed by another call meanwhile, try again');
    end if;
    perform identity.replace_password(app.current_user_id(), p_password_hash, p_session_id, p_mail_id);
end
$$;
revoke all on function identity.change_password(uuid, text, text, uuid) from public;
grant execute on function identity.change_password(uuid, text, text, uuid) to bulkhead_identity_app;
comment on function identity.change_password(uuid, text, text, uuid) is
'Another password for the person in context, who has proved that she knows the one that p_checked_hash is of. Her '
'other sessions are ended.';
"""

THROTTLING = """
create function identity.claim_attempt(p_bucket bytea, p_email text) returns double precision
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_wait double precision;
begin
    -- By the clock, not by now(): who has waited for the row looks at it as it is then.
    insert into identity.login_throttles as t (bucket, last_at, retry_at)
    values (p_bucket, clock_timestamp(), clock_timestamp())
    on conflict (bucket) do update set
        failures = case when t.last_at < clock_timestamp() - interval '1 day' then 1 else t.failures + 1 end,
        last_at = clock_timestamp(),
        retry_at = clock_timestamp() + case
            when t.failures + 1 < 5 or t.last_at < clock_timestamp() - interval '1 day' then interval '0'
            else make_interval(secs => least(900, power(2, least(t.failures - 4, 10))))
        end
    where t.retry_at <= clock_timestamp();
    if found then
        return null;
    end if;
    select extract(epoch from t.retry_at - clock_timestamp()) into v_wait
    from identity.login_throttles as t where t.bucket = p_bucket;
    update identity.login_throttles as t set reported_at = clock_timestamp()
    where t.bucket = p_bucket
    and (t.reported_at is null or t.reported_at < clock_timestamp() - interval '1 minute');
    if found then
        perform identity.record_event(
            'session.login_throttled', 'user', coalesce(app.current_user_id(), '00000000-0000-0000-0000-000000000000'),
            'denied', jsonb_build_object('email', jsonb_build_array(null, p_email))
        );
    end if;
    return greatest(v_wait, 0.001);
end
$$;
revoke all on function identity.claim_attempt(bytea, text) from public;
grant execute on function identity.claim_attempt(bytea, text) to bulkhead_identity_app;
comment on function identity.claim_attempt(bytea, text) is
'Counts one try of a password before it is looked at, so that many at once count one by one. Null: go on; else the '
'seconds to wait. The first five are free, then 1 s, 2 s, 4 s ... 15 min.';

create function identity.forget_failures(p_bucket bytea) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    update identity.login_throttles as t set failures = 0, retry_at = now() where t.bucket = p_bucket;
$$;
revoke all on function identity.forget_failures(bytea) from public;
grant execute on function identity.forget_failures(bytea) to bulkhead_identity_app;
comment on function identity.forget_failures(bytea) is
'The password was right.';
"""

START_SESSION = """
create function identity.start_session(
    p_session_id uuid, p_user_id uuid, p_life interval, p_token_id uuid, p_token_hash bytea, p_token_life interval,
    p_ip inet, p_user_agent text, p_checked_hash text, p_rehashed text, p_device_is_known boolean, p_mail_id uuid
) returns timestamptz
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_expires_at timestamptz := now() + least(p_life, p_token_life);
    v_is_first boolean;
begin
    -- Locks the person, so that a session can not slip past the end of her account or of her password.
    select u.last_login_at is null into v_is_first from identity.users as u
    where u.user_id = p_user_id and u.kind = 'person' and u.status = 'active' and u.email_verified_at is not null
    for no key update;
    if not found or not exists (
        select from identity.user_credentials as c where c.user_id = p_user_id and c.password_hash = p_checked_hash
    ) then
        perform app.refuse(16, 'CREDENTIALS_INVALID', 'unknown e-mail or wrong password');
    end if;
    -- By address and program too: one who keeps no token is not to get a mail at each login.
    if not p_device_is_known and not v_is_first and not exists (
        select from identity.sessions as s
        where s.user_id = p_user_id and s.ip is not distinct from p_ip
        and s.user_agent is not distinct from p_user_agent
    ) then
        insert into identity.mails (mail_id, kind, to_address, subject_id, details)
        select p_mail_id, 'new_device', u.email, u.user_id,
            jsonb_strip_nulls(jsonb_build_object('ip', host(p_ip), 'user_agent', p_user_agent))
        from identity.users as u where u.user_id = p_user_id;
    end if;
    insert into identity.sessions (session_id, user_id, expires_at, ip, user_agent)
    values (p_session_id, p_user_id, now() + p_life, p_ip, p_user_agent)
    on conflict (session_id) do nothing;
    if not found then
        -- The request_id is the session's id: this call has been made before, or somebody else's has.
        if exists (select from identity.sessions as s where s.session_id = p_session_id and s.user_id = p_user_id) then
            perform app.refuse(9, 'SECRET_ALREADY_SHOWN', 'this login has been made, its tokens are not kept');
        end if;
        perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
    end if;
    update identity.users as u set last_login_at = now() where u.user_id = p_user_id;
    if p_rehashed is not null then
        update identity.user_credentials as c set password_hash = p_rehashed where c.user_id = p_user_id;
    end if;
    insert into identity.refresh_tokens (refresh_token_id, session_id, parent_id, token_hash, expires_at)
    values (p_token_id, p_session_id, null, p_token_hash, v_expires_at);
    return v_expires_at;
end
$$;
revoke all on function identity.start_session(
    uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text, boolean, uuid
) from public;
grant execute on function identity.start_session(
    uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text, boolean, uuid
) to bulkhead_identity_app;
comment on function identity.start_session(
    uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text, boolean, uuid
) is
'A session of a person who has proved that she knows the password that p_checked_hash is of, with its first refresh '
'token; tells when that expires. The same password hashed anew replaces the hash. A device that was not seen before '
'leaves a mail.';
"""

OLD_START_SESSION = """
create function identity.start_session(
    p_session_id uuid, p_user_id uuid, p_life interval, p_token_id uuid, p_token_hash bytea, p_token_life interval,
    p_ip inet, p_user_agent text
) returns timestamptz
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_expires_at timestamptz := now() + least(p_life, p_token_life);
begin
    -- Locks the person, so that a session can not slip past the end of her account.
    update identity.users as u set last_login_at = now()
    where u.user_id = p_user_id and u.kind = 'person' and u.status = 'active' and u.email_verified_at is not null;
    if not found then
        perform app.refuse(16, 'CREDENTIALS_INVALID', 'unknown e-mail or wrong password');
    end if;
    insert into identity.sessions (session_id, user_id, expires_at, ip, user_agent)
    values (p_session_id, p_user_id, now() + p_life, p_ip, p_user_agent)
    on conflict (session_id) do nothing;
    if not found then
        -- The request_id is the session's id: this call has been made before, or somebody else's has.
        if exists (select from identity.sessions as s where s.session_id = p_session_id and s.user_id = p_user_id) then
            perform app.refuse(9, 'SECRET_ALREADY_SHOWN', 'this login has been made, its tokens are not kept');
        end if;
        perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
    end if;
    insert into identity.refresh_tokens (refresh_token_id, session_id, parent_id, token_hash, expires_at)
    values (p_token_id, p_session_id, null, p_token_hash, v_expires_at);
    return v_expires_at;
end
$$;
revoke all on function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text) from public;
grant execute on function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text)
to bulkhead_identity_app;
comment on function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text) is
'A session of a person who has proved who she is, with its first refresh token; tells when that expires.';
"""

SIGN_UP = """
create or replace function identity.sign_up(
    p_user_id uuid, p_email text, p_full_name text, p_password_hash text,
    p_token_id uuid, p_token_hash bytea, p_token_life interval, p_mail_id uuid, p_request_digest bytea
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid;
    v_verified boolean := false;
begin
    insert into identity.users (user_id, kind, email, full_name) values (p_user_id, 'person', p_email, p_full_name)
    on conflict (email_key) do nothing
    returning user_id into v_user_id;
    if not found then
        select u.user_id, u.email_verified_at is not null into strict v_user_id, v_verified
        from identity.users as u where u.email_key = lower(p_email collate "C");
    end if;
    insert into identity.mails (mail_id, kind, to_address, subject_id, request_digest) values (
        p_mail_id, case when v_verified then 'already_registered' else 'verify_email' end, p_email,
        case when v_verified then v_user_id else p_token_id end, p_request_digest
    ) on conflict (mail_id) do nothing;
    if not found then
        -- The request_id is the mail's id: this call has been made before.
        if not exists (
            select from identity.mails as m where m.mail_id = p_mail_id and m.request_digest = p_request_digest
        ) then
            perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
        end if;
    elsif v_verified then
        -- Of no use to anybody: the writes that an unknown address takes, or the time would tell the two apart.
        insert into identity.one_time_tokens (token_id, purpose, user_id, token_hash, expires_at)
        values (p_token_id, 'verify_email', v_user_id, p_token_hash, now() + p_token_life);
        update identity.one_time_tokens as t set revoked_at = now() where t.token_id = p_token_id;
    else
        insert into identity.one_time_tokens (
            token_id, purpose, user_id, token_hash, expires_at, password_hash, full_name
        ) values (
            p_token_id, 'verify_email', v_user_id, p_token_hash, now() + p_token_life, p_password_hash, p_full_name
        );
    end if;
end
$$;
"""

OLD_SIGN_UP = """
create or replace function identity.sign_up(
    p_user_id uuid, p_email text, p_full_name text, p_password_hash text,
    p_token_id uuid, p_token_hash bytea, p_token_life interval, p_mail_id uuid, p_request_digest bytea
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid;
    v_verified boolean := false;
begin
    insert into identity.users (user_id, kind, email, full_name) values (p_user_id, 'person', p_email, p_full_name)
    on conflict (email_key) do nothing
    returning user_id into v_user_id;
    if not found then
        select u.user_id, u.email_verified_at is not null into strict v_user_id, v_verified
        from identity.users as u where u.email_key = lower(p_email collate "C");
    end if;
    insert into identity.mails (mail_id, kind, to_address, subject_id, request_digest) values (
        p_mail_id, case when v_verified then 'already_registered' else 'verify_email' end, p_email,
        case when v_verified then v_user_id else p_token_id end, p_request_digest
    ) on conflict (mail_id) do nothing;
    if not found then
        -- The request_id is the mail's id: this call has been made before.
        if not exists (
            select from identity.mails as m where m.mail_id = p_mail_id and m.request_digest = p_request_digest
        ) then
            perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
        end if;
    elsif not v_verified then
        insert into identity.one_time_tokens (
            token_id, purpose, user_id, token_hash, expires_at, password_hash, full_name
        ) values (
            p_token_id, 'verify_email', v_user_id, p_token_hash, now() + p_token_life, p_password_hash, p_full_name
        );
    end if;
end
$$;
"""
