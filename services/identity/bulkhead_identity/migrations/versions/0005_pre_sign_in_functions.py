"""What happens before a tenant is known: one narrow function each, and the only way to the secrets."""

from bulkhead_kit.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("""
    create policy definer_write on identity.outbox for insert to bulkhead_identity_definer with check (true);
    grant insert (tenant_id, action, entity_type, entity_id, outcome, changes) on identity.outbox to
        bulkhead_identity_definer;
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(RECORD_EVENT)
    run_sql(SIGN_UP)
    run_sql(VERIFY_EMAIL)
    run_sql(LOGIN)
    run_sql(REFRESH)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text);
    drop function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text);
    drop function identity.find_credentials(text);
    drop function identity.verify_email(bytea, uuid);
    drop function identity.try_verification(bytea, uuid);
    drop function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea);
    drop function identity.record_event(text, text, uuid, text, jsonb);
    drop policy definer_write on identity.outbox;
    revoke insert (tenant_id, action, entity_type, entity_id, outcome, changes) on identity.outbox from
        bulkhead_identity_definer;
    """)


RECORD_EVENT = """
create function identity.record_event(
    p_action text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What succeeded leaves a row and is captured from it; this can not pretend that it did.
    if p_outcome not in ('denied', 'failed') then
        raise exception 'identity.record_event: an event without a row is one that was denied or failed';
    end if;
    insert into identity.outbox (tenant_id, action, entity_type, entity_id, outcome, changes)
    values (
        coalesce(app.current_tenant_id(), app.platform_log_id()), p_action, p_entity_type, p_entity_id, p_outcome,
        p_changes
    );
end
$$;
revoke all on function identity.record_event(text, text, uuid, text, jsonb) from public;
grant execute on function identity.record_event(text, text, uuid, text, jsonb) to bulkhead_identity_app;
comment on function identity.record_event(text, text, uuid, text, jsonb) is
'An audit event of something that left no row, such as a failed login.';
"""

SIGN_UP = """
create function identity.sign_up(
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
revoke all on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) from public;
grant execute on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) to
    bulkhead_identity_app;
comment on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) is
'A person and the mail that lets her prove her address; for an address that is proved already, a mail that says so. '
'Which of the two is not told.';
"""

VERIFY_EMAIL = """
create function identity.try_verification(p_token_hash bytea, p_request_id uuid) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_password_hash text;
begin
    update identity.one_time_tokens as t set attempts = t.attempts + 1
    where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_at is null and t.revoked_at is null
    and t.expires_at > now() and t.attempts < 5
    returning t.password_hash into v_password_hash;
    if not found then
        -- Her own second try: the password has gone to the account.
        select c.password_hash into v_password_hash from identity.one_time_tokens as t
        inner join identity.user_credentials as c on c.user_id = t.user_id
        where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_by_request = p_request_id;
    end if;
    return v_password_hash;
end
$$;
revoke all on function identity.try_verification(bytea, uuid) from public;
grant execute on function identity.try_verification(bytea, uuid) to bulkhead_identity_app;
comment on function identity.try_verification(bytea, uuid) is
'For VerifyEmail: the hash to check the given password against, of one token at a time and five times at most; '
'null for a token that is worth nothing. The try counts whatever comes of it.';

create function identity.verify_email(p_token_hash bytea, p_request_id uuid) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_token_id uuid;
    v_user_id uuid;
    v_password_hash text;
    v_full_name text;
    v_used_by_request uuid;
    v_verified_at timestamptz;
begin
    select t.user_id into v_user_id from identity.one_time_tokens as t
    where t.token_hash = p_token_hash and t.purpose = 'verify_email';
    -- One at a time for a person, or two tokens would both be the first.
    select u.email_verified_at into v_verified_at from identity.users as u
    where u.user_id = v_user_id for no key update;
    select t.token_id, t.password_hash, t.full_name, t.used_by_request
    into v_token_id, v_password_hash, v_full_name, v_used_by_request
    from identity.one_time_tokens as t where t.token_hash = p_token_hash and t.purpose = 'verify_email';
    if v_used_by_request = p_request_id then
        return v_user_id;
    end if;
    update identity.one_time_tokens as t
    set used_at = now(), used_by_request = p_request_id, password_hash = null
    where t.token_id = v_token_id and t.used_at is null and t.revoked_at is null and t.expires_at > now();
    if not found or v_verified_at is not null then
        perform app.refuse(9, 'ONE_TIME_TOKEN_INVALID', 'the token is unknown, used, expired, replaced or tried too '
            'often, or the password is not the sign-up''s');
    end if;
    update identity.users as u set email_verified_at = now(), full_name = v_full_name where u.user_id = v_user_id;
    -- Not before: an address that nobody has proved has no password, and logs nobody in.
    insert into identity.user_credentials (user_id, password_hash) values (v_user_id, v_password_hash);
    update identity.one_time_tokens as t set revoked_at = now(), password_hash = null
    where t.user_id = v_user_id and t.purpose = 'verify_email' and t.used_at is null and t.revoked_at is null;
    return v_user_id;
end
$$;
revoke all on function identity.verify_email(bytea, uuid) from public;
grant execute on function identity.verify_email(bytea, uuid) to bulkhead_identity_app;
comment on function identity.verify_email(bytea, uuid) is
'Uses a token from a mail: the address is proved, and name and password are those of the sign-up that sent this mail. '
'The caller has proved that she knows this password.';
"""

LOGIN = """
create function identity.find_credentials(p_email text)
returns table (user_id uuid, password_hash text, is_active boolean, is_platform_admin boolean)
language sql stable security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
    select u.user_id, c.password_hash, u.status = 'active', u.is_platform_admin
    from identity.users as u
    inner join identity.user_credentials as c on c.user_id = u.user_id
    where u.email_key = lower(p_email collate "C") and u.email_verified_at is not null;
$$;
revoke all on function identity.find_credentials(text) from public;
grant execute on function identity.find_credentials(text) to bulkhead_identity_app;
comment on function identity.find_credentials(text) is
'For Login: the hash to check the given password against, of one address at a time. An address that is not proved is '
'as unknown as one that nobody gave.';

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

REFRESH = """
create function identity.rotate_refresh_token(
    p_token_hash bytea, p_child_id uuid, p_child_hash bytea, p_token_life interval, p_grace interval,
    p_ip inet, p_user_agent text
) returns table (
    outcome text, user_id uuid, session_id uuid, is_platform_admin boolean, expires_at timestamptz
)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_token_id uuid;
    v_session_id uuid;
    v_user_id uuid;
    v_ends_at timestamptz;
    v_child_id uuid;
    v_child_hash bytea;
    v_child_expires_at timestamptz;
    v_child_is_fresh boolean;
begin
    rotate_refresh_token.outcome := 'invalid';
    select t.refresh_token_id, t.session_id into v_token_id, v_session_id
    from identity.refresh_tokens as t where t.token_hash = p_token_hash and t.expires_at > now();
    -- The session is the family: one use of its tokens at a time.
    select s.user_id, s.expires_at into v_user_id, v_ends_at from identity.sessions as s
    where s.session_id = v_session_id and s.revoked_at is null and s.expires_at > now() for no key update;
    select u.user_id, u.is_platform_admin into rotate_refresh_token.user_id, rotate_refresh_token.is_platform_admin
    from identity.users as u where u.user_id = v_user_id and u.status = 'active';
    if not found then
        return next;
        return;
    end if;
    rotate_refresh_token.session_id := v_session_id;
    select t.refresh_token_id, t.token_hash, t.expires_at, t.created_at > now() - p_grace
    into v_child_id, v_child_hash, v_child_expires_at, v_child_is_fresh
    from identity.refresh_tokens as t where t.parent_id = v_token_id;
    if v_child_id is null then
        rotate_refresh_token.outcome := 'rotated';
        rotate_refresh_token.expires_at := least(now() + p_token_life, v_ends_at);
        insert into identity.refresh_tokens (refresh_token_id, session_id, parent_id, token_hash, expires_at)
        values (p_child_id, v_session_id, v_token_id, p_child_hash, rotate_refresh_token.expires_at);
        update identity.sessions as s set last_seen_at = now(), ip = p_ip, user_agent = p_user_agent
        where s.session_id = v_session_id;
    elsif v_child_is_fresh and not exists (select from identity.refresh_tokens as t where t.parent_id = v_child_id) then
        -- The direct predecessor of the token in use: its reply was lost, and the caller gets the same one again. With
        -- another hash the child was derived by another key, and can not be given again.
        if v_child_hash = p_child_hash then
            rotate_refresh_token.outcome := 'repeated';
            rotate_refresh_token.expires_at := v_child_expires_at;
        end if;
    else
        -- Two hold the same token, and nothing says which of them is the thief.
        rotate_refresh_token.outcome := 'reused';
        update identity.sessions as s set revoked_at = now(), revoked_reason = 'token_reused'
        where s.session_id = v_session_id;
        perform identity.record_event(
            'refresh_token.reused', 'session', v_session_id, 'denied',
            jsonb_build_object('user_id', jsonb_build_array(null, v_user_id))
        );
    end if;
    return next;
end
$$;
revoke all on function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text) from public;
grant execute on function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text)
to bulkhead_identity_app;
comment on function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text) is
'Uses a refresh token. Outcome: rotated (a child was made), repeated (its reply is given again), reused (the family is '
'dead) or invalid.';
"""
