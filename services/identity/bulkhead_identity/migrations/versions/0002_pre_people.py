"""People, what proves who they are, their sessions, and the mails to be sent."""

from bulkhead_kit.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(USERS)
    run_sql(CREDENTIALS)
    run_sql(SESSIONS)
    run_sql(REFRESH_TOKENS)
    run_sql(ONE_TIME_TOKENS)
    run_sql(MAILS)


def downgrade() -> None:
    run_sql("""
    drop table identity.mails;
    drop table identity.one_time_tokens;
    drop table identity.refresh_tokens;
    drop table identity.sessions;
    drop table identity.user_credentials;
    drop table identity.users;
    drop function identity.capture_one_time_tokens();
    drop function identity.capture_refresh_tokens();
    drop function identity.capture_sessions();
    drop function identity.capture_user_credentials();
    drop function identity.capture_users();
    """)


USERS = """
create table identity.users (
    user_id uuid not null,
    kind text not null,
    email text,
    email_key text generated always as (lower(email collate "C")) stored,
    email_verified_at timestamptz,
    full_name text not null,
    first_name text,
    last_name text,
    avatar_url text,
    status text not null default 'active',
    is_platform_admin boolean not null default false,
    last_login_at timestamptz,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint users_pkey primary key (user_id),
    -- The target of memberships, whose kind can so never differ from the user's.
    constraint users_user_id_kind_key unique (user_id, kind),
    -- Global on purpose: one person, one account, any number of tenants.
    constraint users_email_key_key unique (email_key),
    constraint users_kind_check check (kind in ('person', 'service', 'placeholder')),
    -- Only a person has an address, and has one until she is erased.
    constraint users_email_check check (
        (kind = 'person' and status <> 'erased') = (email is not null) and length(email) between 3 and 254
    ),
    constraint users_email_verified_at_check check (email_verified_at is null or kind = 'person'),
    constraint users_full_name_check check (length(full_name) between 1 and 200),
    constraint users_first_name_check check (length(first_name) between 1 and 100),
    constraint users_last_name_check check (length(last_name) between 1 and 100),
    constraint users_avatar_url_check check (length(avatar_url) <= 2000),
    constraint users_status_check check (status in ('active', 'disabled', 'erased')),
    constraint users_is_platform_admin_check check (not is_platform_admin or kind = 'person')
);
call app.own('identity.users');
create policy own_row on identity.users for select to bulkhead_identity_app using (user_id = app.current_user_id());
create policy definer_read on identity.users for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.users for insert to bulkhead_identity_definer with check (true);
create policy definer_update on identity.users for update to bulkhead_identity_definer using (true) with check (true);
grant select on identity.users to bulkhead_identity_app, bulkhead_identity_definer;
grant insert (user_id, kind, email, full_name, avatar_url), update (email_verified_at, full_name, last_login_at)
on identity.users to bulkhead_identity_definer;
-- Not for last_login_at: a login is no edit, and the etag of the profile is not to change by it.
create trigger aa_stamp before insert or update of
kind, email, email_verified_at, full_name, first_name, last_name, avatar_url, status, is_platform_admin
on identity.users for each row execute function app.stamp();
-- A login leaves its session as the event.
call app.capture_on('identity.users', 'user', '{user_id}', '{last_login_at}');
comment on table identity.users is
'Principals: persons, service accounts, and placeholders for imported authors. Global: what a tenant sees of one is on '
'the membership, so a row here is seen by its own person only.';
comment on column identity.users.email_verified_at is 'When she proved that the address is hers; null: not yet.';
comment on column identity.users.first_name is 'As she writes it, if she does.';
comment on column identity.users.last_name is 'As she writes it, if she does.';
comment on column identity.users.status is 'active, disabled or erased, in every tenant at once.';
comment on column identity.users.is_platform_admin is 'May use the service of platform administrators.';
comment on column identity.users.last_login_at is 'When she last began a session.';
comment on column identity.users.kind is
'person, service (an API key''s account) or placeholder (cannot log in, takes no seat).';
comment on column identity.users.email is 'As given, normalised once (NFC, domain in lower case).';
comment on column identity.users.email_key is
'What addresses are compared by: without regard to the case of a to z. Other letters have look-alikes that fall '
'together (a dotted capital I and i), and belong to other mailboxes.';
"""

CREDENTIALS = """
create table identity.user_credentials (
    user_id uuid not null,
    password_hash text not null,
    password_changed_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint user_credentials_pkey primary key (user_id),
    constraint user_credentials_user_id_fkey foreign key (user_id) references identity.users (user_id),
    -- A password in clear can not end up here by mistake.
    constraint user_credentials_password_hash_check check (
        password_hash like '$argon2id$%' and length(password_hash) <= 200
    )
);
call app.own('identity.user_credentials');
create policy definer_read on identity.user_credentials for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.user_credentials for insert to bulkhead_identity_definer with check (true);
create policy definer_update on identity.user_credentials for update to bulkhead_identity_definer using (true) with
    check (true);
grant select, insert (user_id, password_hash), update (password_hash, password_changed_at)
on identity.user_credentials to bulkhead_identity_definer;
create trigger aa_stamp before insert or update on identity.user_credentials
for each row execute function app.stamp();
call app.capture_on('identity.user_credentials', 'credential', '{user_id}', '{password_hash}');
comment on table identity.user_credentials is
'Password hashes (argon2id in its own notation, with parameters and salt). Of logins only bulkhead_backup reads it.';
comment on column identity.user_credentials.password_hash is 'argon2id, with its parameters and salt.';
comment on column identity.user_credentials.password_changed_at is 'Since when it has been this password.';
"""

SESSIONS = """
create table identity.sessions (
    session_id uuid not null,
    user_id uuid not null,
    expires_at timestamptz not null,
    last_seen_at timestamptz not null default now(),
    ip inet,
    user_agent text,
    revoked_at timestamptz,
    revoked_reason text,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint sessions_pkey primary key (session_id),
    constraint sessions_user_id_fkey foreign key (user_id) references identity.users (user_id),
    constraint sessions_user_agent_check check (length(user_agent) <= 512),
    constraint sessions_revoked_reason_check check (
        revoked_reason in ('logout', 'token_reused', 'revoked', 'password_changed', 'account_closed')
    ),
    constraint sessions_revoked_at_check check ((revoked_at is null) = (revoked_reason is null))
);
create index sessions_user_id_expires_at_idx on identity.sessions (user_id, expires_at);
create index sessions_expires_at_idx on identity.sessions (expires_at);
call app.own('identity.sessions');
create policy own_read on identity.sessions for select to bulkhead_identity_app using (user_id = app.current_user_id());
-- What has ended stays ended.
create policy own_end on identity.sessions for update to bulkhead_identity_app
using (user_id = app.current_user_id() and revoked_at is null)
with check (user_id = app.current_user_id() and revoked_at is not null);
create policy definer_read on identity.sessions for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.sessions for insert to bulkhead_identity_definer with check (true);
create policy definer_update on identity.sessions for update to bulkhead_identity_definer using (true) with check
    (true);
create policy expiry_read on identity.sessions for select to bulkhead_identity_worker using (true);
create policy expiry_remove on identity.sessions for delete to bulkhead_identity_worker
using (expires_at < now() - interval '30 days');
grant select, update (revoked_at, revoked_reason) on identity.sessions to bulkhead_identity_app;
grant select, insert (session_id, user_id, expires_at, ip, user_agent),
update (last_seen_at, ip, user_agent, revoked_at, revoked_reason)
on identity.sessions to bulkhead_identity_definer;
grant select (session_id, expires_at), delete on identity.sessions to bulkhead_identity_worker;
create trigger aa_stamp before insert or update on identity.sessions for each row execute function app.stamp();
call app.capture_on('identity.sessions', 'session', '{session_id}', '{last_seen_at}');
-- That an ended session is forgotten after its time is nobody's act.
create or replace trigger zz_capture after insert or update on identity.sessions
for each row execute function identity.capture_sessions();
comment on table identity.sessions is
'Logins, each the family of its refresh tokens. Ended by logout, by reuse of a token, or at expires_at.';
comment on column identity.sessions.revoked_reason is 'Why it ended before its time.';
comment on column identity.sessions.expires_at is 'The absolute end; no refresh moves it.';
comment on column identity.sessions.last_seen_at is 'Time of the login or of the last refresh.';
"""

REFRESH_TOKENS = """
create table identity.refresh_tokens (
    refresh_token_id uuid not null,
    session_id uuid not null,
    parent_id uuid,
    token_hash bytea not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    constraint refresh_tokens_pkey primary key (refresh_token_id),
    constraint refresh_tokens_session_id_fkey foreign key (session_id) references identity.sessions (session_id),
    -- Looked up before anything else is known.
    constraint refresh_tokens_token_hash_key unique (token_hash),
    -- A token is used by having a child: it has one, or none. No foreign key: parents expire first.
    constraint refresh_tokens_parent_id_key unique (parent_id),
    constraint refresh_tokens_parent_id_check check (parent_id <> refresh_token_id),
    constraint refresh_tokens_token_hash_check check (octet_length(token_hash) = 32)
);
create index refresh_tokens_session_id_idx on identity.refresh_tokens (session_id);
create index refresh_tokens_expires_at_idx on identity.refresh_tokens (expires_at);
create unique index refresh_tokens_first_key on identity.refresh_tokens (session_id) where parent_id is null;
call app.own('identity.refresh_tokens');
create policy definer_read on identity.refresh_tokens for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.refresh_tokens for insert to bulkhead_identity_definer with check (true);
create policy expiry_read on identity.refresh_tokens for select to bulkhead_identity_worker using (true);
create policy expiry_remove on identity.refresh_tokens for delete to bulkhead_identity_worker
using (expires_at < now() - interval '1 day');
grant select, insert (refresh_token_id, session_id, parent_id, token_hash, expires_at)
on identity.refresh_tokens to bulkhead_identity_definer;
grant select (refresh_token_id, session_id, expires_at), delete on identity.refresh_tokens to bulkhead_identity_worker;
call app.capture_on('identity.refresh_tokens', 'refresh_token', '{refresh_token_id}', '{token_hash}');
create or replace trigger zz_capture after insert or update on identity.refresh_tokens
for each row execute function identity.capture_refresh_tokens();
comment on table identity.refresh_tokens is
'SHA-256 of each refresh token. Rows never change: a token has been used when another row names it as its parent.';
comment on column identity.refresh_tokens.parent_id is
'The token that was given in for this one; null for the first of a session.';
"""

ONE_TIME_TOKENS = """
create table identity.one_time_tokens (
    token_id uuid not null,
    purpose text not null,
    user_id uuid not null,
    token_hash bytea not null,
    expires_at timestamptz not null,
    attempts smallint not null default 0,
    used_at timestamptz,
    used_by_request uuid,
    revoked_at timestamptz,
    password_hash text,
    full_name text,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint one_time_tokens_pkey primary key (token_id),
    constraint one_time_tokens_user_id_fkey foreign key (user_id) references identity.users (user_id),
    constraint one_time_tokens_token_hash_key unique (token_hash),
    constraint one_time_tokens_purpose_check check (purpose in ('verify_email', 'reset_password')),
    constraint one_time_tokens_token_hash_check check (octet_length(token_hash) = 32),
    -- Who can open the mail, and did not sign up, is not to guess the password of who did.
    constraint one_time_tokens_attempts_check check (attempts between 0 and 5),
    constraint one_time_tokens_used_at_check check (used_at is null or revoked_at is null),
    constraint one_time_tokens_used_by_request_check check (used_by_request is null or used_at is not null),
    -- What was asked for with the token waits with it, and only while it can be used.
    constraint one_time_tokens_password_hash_check check (
        password_hash is null
        or purpose = 'verify_email' and used_at is null and revoked_at is null and password_hash like '$argon2id$%'
    ),
    constraint one_time_tokens_full_name_check check (
        full_name is null or purpose = 'verify_email' and length(full_name) between 1 and 200
    )
);
create index one_time_tokens_user_id_purpose_idx on identity.one_time_tokens (user_id, purpose);
create index one_time_tokens_expires_at_idx on identity.one_time_tokens (expires_at);
call app.own('identity.one_time_tokens');
create policy definer_read on identity.one_time_tokens for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.one_time_tokens for insert to bulkhead_identity_definer with check (true);
-- Used once, revoked once: a row that is either is never changed again.
create policy definer_update on identity.one_time_tokens for update to bulkhead_identity_definer
using (used_at is null and revoked_at is null) with check (true);
create policy expiry_read on identity.one_time_tokens for select to bulkhead_identity_worker using (true);
create policy expiry_remove on identity.one_time_tokens for delete to bulkhead_identity_worker
using (expires_at < now() - interval '1 day');
grant select, insert (token_id, purpose, user_id, token_hash, expires_at, password_hash, full_name),
update (attempts, used_at, used_by_request, revoked_at, password_hash)
on identity.one_time_tokens to bulkhead_identity_definer;
grant select (token_id, expires_at), delete on identity.one_time_tokens to bulkhead_identity_worker;
create trigger aa_stamp before insert or update on identity.one_time_tokens
for each row execute function app.stamp();
call app.capture_on(
    'identity.one_time_tokens', 'one_time_token', '{token_id}', '{token_hash,used_by_request,password_hash,full_name}'
);
create or replace trigger zz_capture after insert or update on identity.one_time_tokens
for each row execute function identity.capture_one_time_tokens();
comment on table identity.one_time_tokens is
'SHA-256 of the tokens in mails: single use, expiring, each for one purpose.';
comment on column identity.one_time_tokens.purpose is 'What it can be used for: verify_email or reset_password.';
comment on column identity.one_time_tokens.attempts is
'How often it was tried, with whatever password; after the fifth time it is worth nothing.';
comment on column identity.one_time_tokens.used_at is 'When it was used; it cannot be used again.';
comment on column identity.one_time_tokens.used_by_request is
'The request_id of the call that used it: a repeat gets its answer.';
comment on column identity.one_time_tokens.password_hash is
'The password of the sign-up that asked for the token: it becomes the account''s when the address is proved with this '
'very token, so that a stranger''s sign-up with the same address cannot slip in another.';
"""

MAILS = """
create table identity.mails (
    mail_id uuid not null,
    kind text not null,
    to_address text not null,
    subject_id uuid not null,
    details jsonb not null default '{}',
    request_digest bytea,
    due_at timestamptz not null default now(),
    attempts smallint not null default 0,
    sent_at timestamptz,
    failed_at timestamptz,
    last_error text,
    created_at timestamptz not null default now(),
    constraint mails_pkey primary key (mail_id),
    constraint mails_kind_check check (kind in ('verify_email', 'already_registered', 'invitation')),
    constraint mails_to_address_check check (length(to_address) between 3 and 254),
    constraint mails_details_check check (jsonb_typeof(details) = 'object' and pg_column_size(details) <= 4096),
    constraint mails_request_digest_check check (octet_length(request_digest) = 32),
    constraint mails_attempts_check check (attempts >= 0),
    constraint mails_sent_at_check check (sent_at is null or failed_at is null),
    constraint mails_last_error_check check (length(last_error) <= 500)
);
create index mails_due_at_idx on identity.mails (due_at) where sent_at is null and failed_at is null;
create index mails_created_at_idx on identity.mails (created_at);
call app.own('identity.mails');
create policy queue on identity.mails for insert to bulkhead_identity_app with check (true);
create policy definer_queue on identity.mails for insert to bulkhead_identity_definer with check (true);
create policy definer_read on identity.mails for select to bulkhead_identity_definer using (true);
create policy worker_read on identity.mails for select to bulkhead_identity_worker using (true);
create policy worker_send on identity.mails for update to bulkhead_identity_worker
using (sent_at is null and failed_at is null) with check (true);
create policy expiry_remove on identity.mails for delete to bulkhead_identity_worker
using (created_at < now() - interval '7 days' and (sent_at is not null or failed_at is not null));
grant insert (mail_id, kind, to_address, subject_id, details) on identity.mails to bulkhead_identity_app,
    bulkhead_identity_definer;
grant insert (request_digest), select (mail_id, request_digest) on identity.mails to bulkhead_identity_definer;
grant select (
    mail_id, kind, to_address, subject_id, details, due_at, attempts, sent_at, failed_at, last_error, created_at
), update (due_at, attempts, sent_at, failed_at, last_error), delete on identity.mails to bulkhead_identity_worker;
comment on table identity.mails is
'Mails to be sent, queued in the transaction that gives the reason. Holds no token: the worker derives it from '
'subject_id.';
comment on column identity.mails.kind is 'Which text is sent.';
comment on column identity.mails.to_address is 'Where it is sent.';
comment on column identity.mails.details is 'What the text says of this one case.';
comment on column identity.mails.sent_at is 'When the mail server took it.';
comment on column identity.mails.failed_at is 'When it was given up.';
comment on column identity.mails.subject_id is 'The one-time token, the invitation or the user the mail is about.';
comment on column identity.mails.request_digest is
'Of a SignUp, whose request_id is the mail_id: a repeat sends nothing.';
comment on column identity.mails.due_at is 'Not sent before; moved on at each attempt.';
"""
