"""Tries of a password: which one was counted, so that one that nobody looked at is given back; repeats say whose."""

from bulkhead_kit.migrations import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql(DROP_OLD)
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(CLAIM)
    run_sql(GIVE_BACK)
    run_sql(TRY_VERIFICATION)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function identity.give_back_verification(bytea);
    drop function identity.try_verification(bytea, uuid);
    drop function identity.give_back_attempt(bytea, timestamptz);
    drop function identity.claim_attempt(bytea, text);
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(OLD_CLAIM)
    run_sql(OLD_TRY_VERIFICATION)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


DROP_OLD = """
-- They come back below with more to tell, and nothing has been released.
-- squawk-ignore ban-drop-function
drop function identity.claim_attempt(bytea, text);
-- squawk-ignore ban-drop-function
drop function identity.try_verification(bytea, uuid);
"""

CLAIM = """
create function identity.claim_attempt(p_bucket bytea, p_email text)
returns table (wait double precision, claimed_at timestamptz)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
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
    where t.retry_at <= clock_timestamp()
    returning t.last_at into claim_attempt.claimed_at;
    if found then
        return next;
        return;
    end if;
    select greatest(extract(epoch from t.retry_at - clock_timestamp()), 0.001) into claim_attempt.wait
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
    return next;
end
$$;
revoke all on function identity.claim_attempt(bytea, text) from public;
grant execute on function identity.claim_attempt(bytea, text) to bulkhead_identity_app;
comment on function identity.claim_attempt(bytea, text) is
'Counts one try of a password before it is looked at, so that many at once count one by one, and tells when; or the '
'seconds to wait. The first five are free, then 1 s, 2 s, 4 s ... 15 min.';
"""

GIVE_BACK = """
create function identity.give_back_attempt(p_bucket bytea, p_claimed_at timestamptz) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    -- Only the try that was claimed last: another one since may have been looked at, and its pause stays. And once.
    update identity.login_throttles as t
    set failures = greatest(t.failures - 1, 0), last_at = t.last_at - interval '1 microsecond', retry_at = t.last_at
    where t.bucket = p_bucket and t.last_at = p_claimed_at;
$$;
revoke all on function identity.give_back_attempt(bytea, timestamptz) from public;
grant execute on function identity.give_back_attempt(bytea, timestamptz) to bulkhead_identity_app;
comment on function identity.give_back_attempt(bytea, timestamptz) is
'The password of the try that was claimed then was not looked at: it does not count, unless another one was claimed '
'since.';
"""

TRY_VERIFICATION = """
create function identity.try_verification(p_token_hash bytea, p_request_id uuid)
returns table (password_hash text, used_by text)
language plpgsql volatile security definer rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
    update identity.one_time_tokens as t set attempts = t.attempts + 1
    where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_at is null and t.revoked_at is null
    and t.expires_at > now() and t.attempts < 5
    returning t.password_hash into try_verification.password_hash;
    if not found then
        -- Her own second try: the password has gone to the account.
        select c.password_hash, u.email into try_verification.password_hash, try_verification.used_by
        from identity.one_time_tokens as t
        inner join identity.users as u on u.user_id = t.user_id
        inner join identity.user_credentials as c on c.user_id = t.user_id
        where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_by_request = p_request_id
        and u.status = 'active';
    end if;
    return next;
end
$$;
revoke all on function identity.try_verification(bytea, uuid) from public;
grant execute on function identity.try_verification(bytea, uuid) to bulkhead_identity_app;
comment on function identity.try_verification(bytea, uuid) is
'For VerifyEmail: the hash to check the given password against, of one token at a time and five times at most; '
'null for a token that is worth nothing. The try counts whatever comes of it. Of a token that this request_id has used '
'the hash of the account, with its address, under which the caller counts the try.';

create function identity.give_back_verification(p_token_hash bytea) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    update identity.one_time_tokens as t set attempts = t.attempts - 1
    where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_at is null and t.revoked_at is null
    and t.attempts > 0;
$$;
revoke all on function identity.give_back_verification(bytea) from public;
grant execute on function identity.give_back_verification(bytea) to bulkhead_identity_app;
comment on function identity.give_back_verification(bytea) is
'Of one try that try_verification has counted nobody looked at the password: it does not count.';
"""

OLD_CLAIM = """
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
"""

OLD_TRY_VERIFICATION = """
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
"""
