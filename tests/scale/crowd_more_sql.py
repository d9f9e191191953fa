"""Further rows of the grown installation: profiles, throttled sign-ins, mails asked for, support access."""

from __future__ import annotations

PROFILES = """
insert into identity.user_profiles (
    user_id, bio, company, job_title, time_zone, locale, preferences, is_onboarded, created_at, updated_at
)
select
    user_id, 'About ' || n, 'Company ' || n % 900, 'Engineer', 'Europe/Berlin', 'de-AT', '{"theme": "dark"}', true,
    made_at, made_at
from people where kind = 'person' and not is_erased and n % 3 <> 0 order by n;
"""

# A day of sign-ins, right ones too, and what has come to be removed since a few minutes.
LOGIN_THROTTLES = """
insert into identity.login_throttles (bucket, failures, last_at, retry_at, created_at)
select pg_temp.secret('bucket', n), n % 5, now() - age, now() - age, now() - age
from (select n, make_interval(secs => n * 2.9) as age from generate_series(1, 30000) as n) as tried;
"""

# Mails to as many addresses, and what has come to be removed since a few minutes.
MAIL_LIMITS = """
insert into identity.mail_limits (bucket, free_at)
select pg_temp.secret('mail', n), now() + make_interval(secs => n * 0.5 - 300) from generate_series(1, 11000) as n;
"""

# A day of them; 300 wait for the worker, some hundreds have come to be removed.
MAIL_ASKS = """
insert into identity.mail_asks (ask_id, purpose, email, ip, answered_at, mailed_at, created_at)
select
    pg_temp.id('ask', n, age), case when n % 4 = 0 then 'verify_email' else 'reset_password' end,
    format('person-%s@example.com', n * 3), '192.0.2.7', case when n > 300 then now() - age end,
    case when n > 300 and n % 5 <> 0 then now() - age end, now() - age
from (
    select n, make_interval(secs => case when n <= 300 then n / 60.0 else n * 4.4 end) as age
    from generate_series(1, 20000) as n
) as asked
order by age desc;
"""

# Five who help. Each large tenant has let one of them in ten times, some of those three times each; all of it is over.
SUPPORT = """
create temp table helpers on commit drop as
select row_number() over (order by p.n) - 1 as h, p.user_id
from people as p inner join identity.users as u on u.user_id = p.user_id
where p.is_verified and u.status = 'active' and p.n < 300 and not exists (
    select from identity.memberships as m
    inner join places as l on l.tenant_id = m.tenant_id where m.user_id = p.user_id and l.t <= 400
)
order by p.n limit 5;
update identity.users as u set is_platform_admin = true from helpers as h where h.user_id = u.user_id;
insert into identity.memberships (
    tenant_id, user_id, kind, role, status, display_name, joined_at, disabled_at, disabled_by, support_until,
    created_at, updated_at
)
select
    p.tenant_id, h.user_id, 'person', 3, 'disabled', 'Helper (Bulkhead support)', now() - interval '90 days',
    now() - interval '80 days', o.user_id, now() - interval '80 days', now() - interval '90 days', now()
from places as p
inner join helpers as h on h.h = p.t % 5
inner join seats as o on o.t = p.t and o.i = 0
where p.t between 2 and 400;
insert into identity.support_grants (
    tenant_id, grant_id, role, reason, expires_at, revoked_at, revoked_by, created_at, created_by, updated_at
)
select
    p.tenant_id, pg_temp.id('grant', p.t * 10 + k, make_interval(days => 90 - k)), 3, 'The import hangs.',
    now() - make_interval(days => 88 - k), case when k % 2 = 0 then now() - make_interval(days => 89 - k) end,
    case when k % 2 = 0 then o.user_id end, now() - make_interval(days => 90 - k), o.user_id, now()
from places as p cross join generate_series(0, 9) as k inner join seats as o on o.t = p.t and o.i = 0
where p.t <= 400;
insert into identity.support_entries (tenant_id, entry_id, grant_id, user_id, created_at)
select
    g.tenant_id, pg_temp.id('entry', p.t * 100 + k, interval '85 days'), g.grant_id, h.user_id, g.created_at
from identity.support_grants as g
inner join places as p on p.tenant_id = g.tenant_id and p.t > 1
inner join helpers as h on h.h = p.t % 5
cross join generate_series(0, 2) as k
where g.grant_id = (
    select min(o.grant_id::text)::uuid from identity.support_grants as o where o.tenant_id = g.tenant_id
);
"""

FILLING = (PROFILES, LOGIN_THROTTLES, MAIL_LIMITS, MAIL_ASKS, SUPPORT)
