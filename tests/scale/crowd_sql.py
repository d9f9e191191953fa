"""The rows of a grown installation, as SQL: the same numbers give the same rows, apart from the hour they hang on.

42,318 people in 1,247 tenants: one tenant of 9,000, four of thousands, some of hundreds, most of five to eight. What
a row is like follows from its number alone; ids begin with the time, as ours do, so that indexes grow as ours do.
"""

PEOPLE = 42_318
TENANTS = 1_247
PERSONS = 39_800
"""The first of the people; then placeholders, then service accounts."""
PLACEHOLDERS = 2_100

# pg_temp: gone with the connection. What was made `age` ago, the number `n` of its kind.
HELPERS = """
create function pg_temp.id(kind text, n bigint, age interval) returns uuid language sql stable
return (
    lpad(to_hex((extract(epoch from now() - age) * 1000)::bigint), 12, '0') || '7'
    || substr(md5(kind || n), 1, 3) || '8' || substr(md5(kind || n), 4, 15)
)::uuid;
create function pg_temp.secret(kind text, n bigint) returns bytea language sql immutable
return sha256((kind || n)::bytea);
"""

USERS = """
create temp table people on commit drop as
select
    n, pg_temp.id('user', n, make_interval(hours => 30000 - n / 2)) as user_id,
    now() - make_interval(hours => 30000 - n / 2) as made_at,
    case when n <= 39800 then 'person' when n <= 41900 then 'placeholder' else 'service' end as kind,
    n <= 39800 and n % 97 = 0 as is_erased,
    n <= 39800 and n % 31 <> 0 as is_verified
from generate_series(1, 42318) as n;
create unique index on people (n);
insert into identity.users (user_id, kind, email, email_verified_at, full_name, status, created_at, updated_at)
select
    user_id, kind, case when kind = 'person' and not is_erased then format('person-%s@example.com', n) end,
    case when kind = 'person' and is_verified then made_at end,
    format('%s %s', initcap(kind), n),
    case when is_erased then 'erased' when n % 89 = 0 then 'disabled' else 'active' end,
    made_at, made_at
from people order by n;
insert into identity.user_credentials (user_id, password_hash, password_changed_at, created_at, updated_at)
select user_id, current_setting('crowd.password_hash'), made_at, made_at, made_at
from people where is_verified and not is_erased order by n;
"""

# Sizes first: who belongs where hangs on them.
TENANCIES = """
create temp table places on commit drop as
select
    t, pg_temp.id('tenant', t, make_interval(hours => 26000 - t * 20)) as tenant_id,
    now() - make_interval(hours => 26000 - t * 20) as made_at,
    case
        when t <= 5 then (array[9000, 5000, 3000, 2000, 1500])[t]
        when t <= 40 then 150 + t * 37 % 250
        when t <= 300 then 20 + t % 20
        else 5 + t % 4
    end as size,
    case
        when t <= 40 then 60
        when t % 4 = 0 then 1
        else 0
    end as invited
from generate_series(1, 1247) as t;
create unique index on places (t);
insert into identity.tenants (
    tenant_id, slug, name, status, status_changed_at, plan_code, deleted_at, purge_after, created_at, updated_at
)
select
    tenant_id, format('tenant-%s', t), format('Tenant %s', t),
    case when t > 40 and t % 90 = 0 then 'deleted' when t > 40 and t % 91 = 0 then 'suspended' else 'active' end,
    case when t > 40 and (t % 90 = 0 or t % 91 = 0) then now() - interval '9 days' end,
    case when size + 2 + invited <= 5 then 'free' when size + 2 + invited <= 50 then 'pro' else 'enterprise' end,
    case when t > 40 and t % 90 = 0 then now() - interval '9 days' end,
    case when t > 40 and t % 90 = 0 then now() + interval '21 days' end, made_at, made_at
from places order by t;

-- Number i of tenant t; persons are dealt out with a stride, so that neighbours in one tenant meet in no other.
create temp table seats on commit drop as
select
    p.t, i, p.tenant_id, u.user_id, u.kind,
    p.made_at + make_interval(mins => i::integer) as made_at,
    case when i = 0 then 5 when i < 4 then 4 when i % 10 = 4 then 3 when i % 10 = 5 then 1 else 2 end as role,
    i > 4 and i % 31 = 30 as is_disabled
from (select *, sum(size) over (order by t) - size as before from places) as p
cross join generate_series(0, p.size - 1) as i
inner join people as u on u.n = 1 + (p.before + i) * 7919 % 39779;
-- One who works for many: the owner of the greatest is a viewer in 150 of the small.
insert into seats
select p.t, 20000, p.tenant_id, s.user_id, s.kind, now() - interval '40 days', 1, false
from places as p inner join seats as s on s.t = 1 and s.i = 0
where p.t > 1000 and p.t <= 1150
and not exists (select from seats as o where o.t = p.t and o.user_id = s.user_id);
insert into seats
select p.t, 10000 + u.n, p.tenant_id, u.user_id, u.kind, u.made_at,
    case when u.kind = 'service' then 1 + u.n % 4 else 1 end, false
from people as u
inner join places as p on p.t = case when u.kind = 'service' then 1 + u.n % 1247 else 1 + u.n % 40 end
where u.kind <> 'person';
create unique index on seats (t, i);
insert into identity.memberships (
    tenant_id, user_id, kind, role, status, display_name, joined_at, disabled_at, disabled_by, external_source,
    external_id, created_at, updated_at
)
select
    s.tenant_id, s.user_id, s.kind, s.role, case when s.is_disabled then 'disabled' else 'active' end,
    format('Member %s', s.i), s.made_at, case when s.is_disabled then now() - interval '20 days' end,
    case when s.is_disabled then o.user_id end,
    case when s.kind = 'placeholder' then 'github' end, case when s.kind = 'placeholder' then s.i::text end,
    s.made_at, s.made_at
from seats as s inner join seats as o on o.t = s.t and o.i = 0
order by s.made_at;
"""

API_KEYS = """
insert into identity.api_keys (
    tenant_id, api_key_id, user_id, display_name, prefix, secret_hash, last_used_at, revoked_at, revoked_by, created_at,
    created_by, updated_at
)
select
    s.tenant_id, pg_temp.id('key', s.i * 10 + k, make_interval(days => 90 - k)), s.user_id, format('Key %s', k),
    'bh_' || translate(substr(md5('key' || s.i || k), 1, 8), '0189', 'wxyz'), pg_temp.secret('key', s.i * 10 + k),
    now() - interval '1 hour', case when k = 2 then now() - interval '30 days' end,
    case when k = 2 then o.user_id end, now() - make_interval(days => 90 - k), o.user_id, now()
from seats as s
cross join generate_series(0, 2) as k
inner join seats as o on o.t = s.t and o.i = 0
where s.kind = 'service';
"""

TEAMS = """
create temp table groups on commit drop as
select t, g, tenant_id, greatest(1, size / 12) as many,
    pg_temp.id('team', t * 1000 + g, make_interval(hours => 25000 - t * 20)) as team_id, made_at
from places cross join generate_series(0, greatest(1, size / 12) - 1) as g;
insert into identity.teams (tenant_id, team_id, name, archived_at, created_at, updated_at)
select
    tenant_id, team_id, format('Team %s', g), case when g % 17 = 16 then now() - interval '5 days' end, made_at,
    made_at
from groups;
create unique index on groups (t, g);
insert into identity.team_members (tenant_id, team_id, user_id, is_lead, removed_at, created_at, updated_at)
select
    s.tenant_id, g.team_id, s.user_id, s.i % 12 = 0 and (s.i + k) % 29 <> 28,
    case when (s.i + k) % 29 = 28 then now() - interval '3 days' end,
    s.made_at, s.made_at
from seats as s
inner join places as p on p.t = s.t
cross join generate_series(0, case when s.i % 3 = 0 then 1 else 0 end) as k
inner join groups as g on g.t = s.t and g.g = (s.i + k * 5) % greatest(1, p.size / 12)
where s.kind = 'person' and s.i < 10000
on conflict do nothing;
"""

# Of those that were made: two thirds were accepted, some revoked or expired; 40 have had their time since a minute.
INVITATIONS = """
insert into identity.invitations (
    tenant_id, invitation_id, email, role, token_hash, status, expires_at, accepted_at, accepted_by, revoked_at,
    revoked_by, created_at, created_by, updated_at
)
select
    p.tenant_id, pg_temp.id('invitation', p.t * 20000 + k, make_interval(hours => 9000 - k::integer)),
    format('guest-%s-%s@example.com', p.t, k), 2,
    pg_temp.secret('invitation', p.t * 20000 + k), what.status,
    case when p.t <= 40 and k = 0 then now() - interval '1 minute'
        when what.status = 'open' then now() + interval '5 days' else now() - interval '90 days' end,
    case when what.status = 'accepted' then s.made_at end, case when what.status = 'accepted' then s.user_id end,
    case when what.status = 'revoked' then now() - interval '80 days' end,
    case when what.status = 'revoked' then o.user_id end,
    now() - make_interval(hours => 9000 - k::integer), o.user_id, now()
from places as p
inner join seats as o on o.t = p.t and o.i = 0
cross join generate_series(0, p.invited + p.size * 2 / 3 - 1) as k
left join seats as s on s.t = p.t and s.i = k - p.invited + 1
cross join lateral (
    select case when k < p.invited then 'open' when k % 11 = 0 then 'revoked' when k % 13 = 0 or s.user_id is null
        then 'expired' else 'accepted' end as status
) as what;
"""

# 30 days long and kept for 30 more; 300 are to be removed. A session in use is refreshed every five minutes, and what
# is two days old is gone.
SESSIONS = """
create temp table logins on commit drop as
select
    row_number() over (order by u.n, k) as s, u.user_id,
    now() - interval '60 days 2 hours' + make_interval(secs => (u.n * 130 + k * 1001003) % 5190000) as made_at
from people as u cross join generate_series(0, u.n % 5) as k
where u.is_verified and not u.is_erased;
alter table logins add column session_id uuid;
update logins set session_id = pg_temp.id('session', s, now() - made_at);
insert into identity.sessions (
    session_id, user_id, expires_at, last_seen_at, ip, user_agent, revoked_at, revoked_reason, created_at, updated_at
)
select
    session_id, user_id, made_at + interval '30 days', made_at, '192.0.2.7', 'Mozilla/5.0 (X11; Linux x86_64)',
    case when s % 5 = 4 then made_at + interval '1 hour' end, case when s % 5 = 4 then 'logout' end, made_at, made_at
from logins order by made_at;
create temp table uses on commit drop as
select
    l.s, l.session_id, k, now() - interval '2 days 2 minutes'
    + make_interval(mins => (l.s * 7 % 2600 + k * 5)::integer) as made_at
from logins as l cross join generate_series(0, (l.s % 29)::integer) as k
where l.made_at > now() - interval '29 days' and l.s % 6 = 0;
delete from uses where made_at >= now();
insert into identity.refresh_tokens (refresh_token_id, session_id, parent_id, token_hash, expires_at, created_at)
select
    pg_temp.id('refresh', s * 100 + k, now() - made_at), session_id,
    case when k > 0 then pg_temp.id('refresh', s * 100 + k - 1, now() - made_at + interval '5 minutes') end,
    pg_temp.secret('refresh', s * 100 + k), made_at + interval '1 day', made_at
from uses order by made_at;
"""

ONE_TIME_TOKENS = """
insert into identity.one_time_tokens (
    token_id, purpose, user_id, token_hash, expires_at, used_at, password_hash, full_name, created_at, updated_at
)
select
    pg_temp.id('token', n, made.age), made.purpose, user_id, pg_temp.secret('token', n),
    now() - made.age + interval '1 hour',
    case when n % 2 = 0 then now() - made.age + interval '10 minutes' end,
    case when n % 2 = 1 and made.purpose = 'verify_email' then current_setting('crowd.password_hash') end,
    case when made.purpose = 'verify_email' then 'Somebody' end, now() - made.age, now() - made.age
from people
cross join lateral (
    select make_interval(secs => n * 17 % 90300) as age,
    case when is_verified then 'reset_password' else 'verify_email' end as purpose
) as made
where kind = 'person' and not is_erased and (n % 9 = 0 or not is_verified);
"""

# Seven days; 400 to be sent, 300 to be removed, some given up.
MAILS = """
insert into identity.mails (
    mail_id, kind, to_address, subject_id, due_at, attempts, sent_at, failed_at, created_at, cause, is_urgent, is_due
)
select
    pg_temp.id('mail', n, age), case when n % 3 = 0 or n <= 400 then 'verify_email' else 'invitation' end,
    format('person-%s@example.com', n), pg_temp.id('token', n, age), now() - age,
    case when n > 400 then 1 else 0 end,
    case when n > 400 and n % 100 <> 0 then now() - age end,
    case when n > 400 and n % 100 = 0 then now() - age end,
    now() - age,
    -- Of those still to be sent, four for each cause.
    case when n <= 400 then substring(sha256(convert_to((n / 4)::text, 'UTF8')) from 1 for 16) end,
    n % 3 = 0 or n <= 400,
    n <= 400
from (
    select n, make_interval(secs => case when n <= 400 then n else n * 10.1 end) as age
    from generate_series(1, 60000) as n
)
order by age desc;
"""

# A day of calls with a request_id, and what has come to be removed since a few minutes.
ANSWERS = """
insert into identity.request_ids (tenant_id, principal, request_id, rpc, request_digest, reply, created_at)
select
    s.tenant_id, s.user_id::text, pg_temp.id('request', s.t * 100000 + s.i, at.age),
    'bulkhead.identity.v1.MembershipService/InviteMember', pg_temp.secret('request', s.t * 100000 + s.i),
    '\\x0a', now() - at.age
from seats as s cross join lateral (select make_interval(secs => (s.t * 331 + s.i * 11) % 86700) as age) as at
where s.kind = 'person';
insert into identity.user_request_ids (user_id, request_id, rpc, request_digest, reply, created_at)
select
    user_id, pg_temp.id('own', n, at.age), 'bulkhead.identity.v1.TenantService/CreateTenant',
    pg_temp.secret('own', n), '\\x0a', now() - at.age
from people cross join lateral (select make_interval(secs => n * 3 % 86700) as age) as at
where n % 4 = 0 and kind = 'person';
"""

USAGE = """
insert into identity.tenant_usage (tenant_id, active_members, open_invitations, projects)
select
    p.tenant_id,
    (select count(*) from identity.memberships as m
    where m.tenant_id = p.tenant_id and m.kind = 'person' and m.status = 'active'),
    (select count(*) from identity.invitations as i where i.tenant_id = p.tenant_id and i.status = 'open'), 0
from places as p;
"""

# Those who have an owner's, a viewer's, ... view of the greatest tenant are looked up, not known by number.
FILLING = (
    HELPERS,
    USERS,
    TENANCIES,
    API_KEYS,
    TEAMS,
    INVITATIONS,
    SESSIONS,
    ONE_TIME_TOKENS,
    MAILS,
    ANSWERS,
    USAGE,
)
