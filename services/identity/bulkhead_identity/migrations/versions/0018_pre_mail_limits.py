"""At most five mails of a kind to one address at once, and twenty a day, whoever causes them and from wherever."""

from bulkhead_kit.migrations import run_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_sql(MAIL_LIMITS)
    run_sql(QUEUE)
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(CLAIM)
    run_sql(SIGN_UP)
    run_sql(ANSWER)
    run_sql(INVITATION)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    """)
    run_sql(OLD_SIGN_UP)
    run_sql(OLD_ANSWER)
    run_sql("""
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    drop function identity.mail_invitation(uuid, uuid, jsonb);
    drop function identity.claim_mail(text, text, uuid);
    create policy queue on identity.mails for insert to bulkhead_identity_app with check (true);
    revoke all on identity.mails from bulkhead_identity_definer, bulkhead_identity_worker;
    grant insert (mail_id, kind, to_address, subject_id, details) on identity.mails to bulkhead_identity_app,
        bulkhead_identity_definer;
    grant insert (request_digest), select (mail_id, request_digest) on identity.mails to bulkhead_identity_definer;
    grant select (
        mail_id, kind, to_address, subject_id, details, due_at, attempts, sent_at, failed_at, last_error, created_at
    ), update (due_at, attempts, sent_at, failed_at, last_error), delete on identity.mails to bulkhead_identity_worker;
    drop table identity.mail_limits;
    """)


MAIL_LIMITS = """
create table identity.mail_limits (
    bucket bytea not null,
    free_at timestamptz not null,
    constraint mail_limits_pkey primary key (bucket),
    constraint mail_limits_bucket_check check (octet_length(bucket) = 32)
);
create index mail_limits_free_at_idx on identity.mail_limits (free_at);
call app.own('identity.mail_limits');
create policy definer_read on identity.mail_limits for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.mail_limits for insert to bulkhead_identity_definer with check (true);
create policy definer_update on identity.mail_limits for update to bulkhead_identity_definer using (true) with check
    (true);
create policy expiry_read on identity.mail_limits for select to bulkhead_identity_worker using (true);
create policy expiry_remove on identity.mail_limits for delete to bulkhead_identity_worker using (free_at < now());
grant select, insert (bucket, free_at), update (free_at) on identity.mail_limits to bulkhead_identity_definer;
grant select, delete on identity.mail_limits to bulkhead_identity_worker;
comment on table identity.mail_limits is
'How many mails an address has had that anybody can cause. A row whose time is over says nothing.';
comment on column identity.mail_limits.bucket is
'Hash of the kind of mail and the address, and of an invitation also of the tenant.';
comment on column identity.mail_limits.free_at is
'Each mail books 96 minutes, one after the other, and no more than five are booked at a time.';
"""

QUEUE = """
-- From now on only functions queue mails, which count them; and nothing has been released.
drop policy queue on identity.mails;
revoke insert (mail_id, kind, to_address, subject_id, details) on identity.mails from bulkhead_identity_app;
grant insert (failed_at, last_error) on identity.mails to bulkhead_identity_definer;
"""

CLAIM = """
create function identity.claim_mail(p_kind text, p_email text, p_tenant_id uuid) returns double precision
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_each constant interval := interval '96 minutes';
    v_bucket constant bytea := sha256(
        convert_to(concat_ws(' ', p_kind, p_tenant_id, lower(p_email collate "C")), 'UTF8')
    );
    v_next_at timestamptz;
begin
    -- By the clock, not by now(): who has waited for the row looks at it as it is then.
    insert into identity.mail_limits as l (bucket, free_at) values (v_bucket, clock_timestamp() + v_each)
    on conflict (bucket) do update set free_at = greatest(l.free_at, clock_timestamp()) + v_each
    where l.free_at <= clock_timestamp() + 4 * v_each;
    if found then
        return null;
    end if;
    select l.free_at - 4 * v_each into v_next_at from identity.mail_limits as l where l.bucket = v_bucket;
    return greatest(extract(epoch from v_next_at - clock_timestamp()), 1);
end
$$;
revoke all on function identity.claim_mail(text, text, uuid) from public;
comment on function identity.claim_mail(text, text, uuid) is
'Counts a mail of a kind to an address before it is queued. Null: it may be; else the seconds until the next one may. '
'Five at once, then one every 96 minutes: twenty in any day. With the rights of who calls it, and nobody else may.';
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
    v_kind text;
    v_goes boolean;
begin
    insert into identity.users (user_id, kind, email, full_name) values (p_user_id, 'person', p_email, p_full_name)
    on conflict (email_key) do nothing
    returning user_id into v_user_id;
    if not found then
        select u.user_id, u.email_verified_at is not null into strict v_user_id, v_verified
        from identity.users as u where u.email_key = lower(p_email collate "C");
    end if;
    v_kind := case when v_verified then 'already_registered' else 'verify_email' end;
    -- A repeat sends nothing and costs nothing.
    v_goes := exists (select from identity.mails as m where m.mail_id = p_mail_id)
        or identity.claim_mail(v_kind, p_email, null) is null;
    -- One too many is given up at once. But for that all is as ever: the answer, the work, and what a repeat is told.
    insert into identity.mails (mail_id, kind, to_address, subject_id, request_digest, failed_at, last_error) values (
        p_mail_id, v_kind, p_email, case when v_verified then v_user_id else p_token_id end, p_request_digest,
        case when not v_goes then now() end, case when not v_goes then 'too many of this kind to this address' end
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
comment on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) is
'A person and the mail that lets her prove her address; for an address that is proved already, a mail that says so. '
'Which of the two is not told, nor whether the address has had too many.';
"""

ANSWER = """
create or replace function identity.answer_mail_ask(
    p_ask_id uuid, p_token_id uuid, p_token_hash bytea, p_token_life interval, p_mail_id uuid
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_purpose text;
    v_email_key text;
    v_ip inet;
    v_mails boolean;
    v_user_id uuid;
    v_email text;
    v_verified boolean;
    v_before uuid;
    v_attempts smallint;
    v_password_hash text;
    v_full_name text;
begin
    select a.purpose, a.email_key, a.ip into v_purpose, v_email_key, v_ip
    from identity.mail_asks as a where a.ask_id = p_ask_id and a.answered_at is null for no key update;
    -- Another worker was first.
    if not found then
        return;
    end if;
    -- Locks the person: two asks of hers make their tokens one after the other.
    select u.user_id, u.email, u.email_verified_at is not null into v_user_id, v_email, v_verified
    from identity.users as u
    where u.email_key = v_email_key and u.kind = 'person' and u.status = 'active'
    and (v_purpose = 'verify_email' or u.email_verified_at is not null) for no key update;
    if v_purpose = 'verify_email' and not v_verified then
        -- The sign-up that was made last.
        select s.token_id into v_before from identity.one_time_tokens as s
        where s.user_id = v_user_id and s.purpose = 'verify_email' and s.used_at is null and s.revoked_at is null
        and s.attempts < 5
        order by s.created_at desc, s.token_id desc limit 1;
    end if;
    v_mails := v_user_id is not null and (v_purpose = 'reset_password' or v_verified or v_before is not null)
    and not exists (
        select from identity.mail_asks as b
        where b.email_key = v_email_key and b.purpose = v_purpose and b.mailed_at > now() - interval '1 minute'
    -- Each makes the one before worthless: who asks every minute would leave her none to use. The third one lives until
    -- there may be another.
    ) and (
        select count(*) from identity.mail_asks as b
        where b.email_key = v_email_key and b.purpose = v_purpose and b.mailed_at > now() - p_token_life
    ) < 3;
    if v_mails then
        -- One too many leaves the mail before as good as it was.
        v_mails := identity.claim_mail(
            case when v_purpose = 'verify_email' and v_verified then 'already_registered' else v_purpose end,
            v_email_key, null
        ) is null;
    end if;
    update identity.mail_asks as a set answered_at = now(), mailed_at = case when v_mails then now() end
    where a.ask_id = p_ask_id;
    if not v_mails then
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
        -- What was tried of it in vain counts on.
        update identity.one_time_tokens as t set revoked_at = now(), password_hash = null
        from identity.one_time_tokens as before
        where t.token_id = before.token_id and before.token_id = v_before
        returning before.attempts, before.password_hash, before.full_name into v_attempts, v_password_hash, v_full_name;
        -- Unless it has been removed as expired in this moment.
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
comment on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) is
'Queues the mail that was asked for, if there is anybody to send it to and she has had none of the kind this minute, '
'less than three in the life of a token, and not too many today.';
"""

INVITATION = """
create function identity.mail_invitation(p_mail_id uuid, p_invitation_id uuid, p_details jsonb)
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
revoke all on function identity.mail_invitation(uuid, uuid, jsonb) from public;
grant execute on function identity.mail_invitation(uuid, uuid, jsonb) to bulkhead_identity_app;
comment on function identity.mail_invitation(uuid, uuid, jsonb) is
'Queues the mail of an open invitation of the context''s tenant. Null: it is queued; else the seconds until the tenant '
'may send another one to this address.';
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
comment on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) is
'A person and the mail that lets her prove her address; for an address that is proved already, a mail that says so. '
'Which of the two is not told.';
"""

OLD_ANSWER = """
create or replace function identity.answer_mail_ask(
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
comment on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) is
'Queues the mail that was asked for, if there is anybody to send it to and she has had none of the kind this minute '
'and less than three in the life of a token.';
"""
