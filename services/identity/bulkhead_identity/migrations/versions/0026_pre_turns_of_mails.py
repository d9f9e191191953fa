"""Mails take turns by who caused them, and those an account hangs on go before invitations."""

from bulkhead_kit.migrations import run_sql

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run_sql(COLUMNS)
    run_sql(TURN)
    run_sql(WAITING)
    run_sql(CLAIM)


def downgrade() -> None:
    run_sql("""
    drop function identity.claim_mails(integer, timestamptz, bytea, bytea);
    drop trigger aa_turn on identity.mails;
    drop function identity.give_turn();
    drop index identity.mails_asleep_idx;
    drop index identity.mails_turn_idx;
    revoke select (cause, is_urgent, is_due) on identity.mails from bulkhead_identity_worker;
    alter table identity.mails drop column is_due;
    alter table identity.mails drop column is_urgent;
    alter table identity.mails drop column cause;
    -- squawk-ignore require-concurrent-index-creation
    create index mails_due_at_idx on identity.mails (due_at) where sent_at is null and failed_at is null;
    """)


# No installation has this table large: the first release is still to come.
COLUMNS = """
alter table identity.mails
add column cause bytea,
add column is_urgent boolean not null default true,
add column is_due boolean not null default false;
comment on column identity.mails.cause is
'Whose turn it is sent in: of who acted, else of the address they called from, else of the recipient, a hash. Set by '
'trigger, and null once the mail is settled.';
comment on column identity.mails.is_urgent is
'Goes before invitations: an account hangs on it. Set by trigger.';
comment on column identity.mails.is_due is
'Its time has come, as far as a worker has looked. Set by trigger.';
grant select (cause, is_urgent, is_due) on identity.mails to bulkhead_identity_worker;
"""

TURN = """
create function identity.give_turn() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ip inet;
begin
    new.is_urgent := new.kind <> 'invitation';
    if new.sent_at is not null or new.failed_at is not null then
        new.cause := null;
        new.is_due := false;
        return new;
    end if;
    new.is_due := new.due_at <= now();
    if tg_op = 'INSERT' then
        -- Callers have no say in it.
        new.cause := null;
    end if;
    if new.cause is null then
        v_ip := nullif(current_setting('app.ip', true), '')::inet;
        if v_ip is null and app.current_user_id() is null then
            -- A mail that was asked for: the worker answers, in the place of whoever asked.
            select a.ip into v_ip from identity.mail_asks as a
            where a.email_key collate "C" = lower(new.to_address collate "C") and a.answered_at = now()
            limit 1;
        end if;
        -- Whoever has one address of IPv6 has its whole /64.
        new.cause := substring(sha256(convert_to(coalesce(
            'person ' || app.current_user_id()::text,
            'address ' || network(set_masklen(v_ip, least(masklen(v_ip), 64)))::text,
            'recipient ' || lower(new.to_address collate "C")
        ), 'UTF8')) for 16);
    end if;
    return new;
end
$$;
revoke all on function identity.give_turn() from public;
comment on function identity.give_turn() is
'Notes whose turn a mail is sent in, and whether its time has come. Of a mail that is settled nothing is kept of it.';
create trigger aa_turn before insert or update on identity.mails for each row execute function identity.give_turn();
"""

WAITING = """
update identity.mails set due_at = due_at
where sent_at is null and failed_at is null;
-- squawk-ignore constraint-missing-not-valid
alter table identity.mails add constraint mails_cause_check
check ((cause is null) = (sent_at is not null or failed_at is not null) and octet_length(cause) = 16);
-- squawk-ignore constraint-missing-not-valid
alter table identity.mails add constraint mails_is_due_check check (not is_due or cause is not null);
-- squawk-ignore require-concurrent-index-creation
create index mails_turn_idx on identity.mails (is_urgent, cause, due_at) where is_due;
-- squawk-ignore require-concurrent-index-creation
create index mails_asleep_idx on identity.mails (due_at) where not is_due and cause is not null;
-- squawk-ignore require-concurrent-index-deletion
drop index identity.mails_due_at_idx;
"""

CLAIM = """
create function identity.claim_mails(
    p_rows integer, p_lease_until timestamptz, p_urgent_after bytea, p_others_after bytea
) returns table (
    mail_id uuid, kind text, to_address text, subject_id uuid, details jsonb, created_at timestamptz, attempts smallint,
    is_urgent boolean, cause bytea
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_pass integer;
    v_urgent boolean;
    v_left integer := p_rows;
    v_kept integer := p_rows / 5;
    v_cause bytea;
    v_found boolean;
begin
    -- Those that were put off, or left by a worker that died: the trigger sees that their time has come.
    update identity.mails as m set due_at = m.due_at
    where m.mail_id in (
        select s.mail_id from identity.mails as s
        where not s.is_due and s.cause is not null and s.due_at <= now()
        order by s.due_at limit 100 for update skip locked
    );
    -- Urgent ones, the others, and with what places are left urgent ones again.
    foreach v_pass in array array[1, 2, 3] loop
        v_urgent := v_pass <> 2;
        v_cause := case when v_urgent then p_urgent_after else p_others_after end;
        -- The first round begins where the last claim ended; a whole one that finds nothing is the last.
        v_found := true;
        -- A few places are kept: urgent ones without end must not stop the others.
        while v_left > case when v_pass = 1 then v_kept else 0 end loop
            select m.cause into v_cause from identity.mails as m
            where m.is_due and m.is_urgent = v_urgent and m.cause > v_cause order by m.cause limit 1;
            if not found then
                exit when not v_found;
                v_found := false;
                v_cause := '';
                continue;
            end if;
            for mail_id, kind, to_address, subject_id, details, created_at, attempts, is_urgent, cause in
                update identity.mails as m set due_at = p_lease_until, attempts = m.attempts + 1
                where m.mail_id = (
                    select f.mail_id from identity.mails as f
                    where f.is_due and f.is_urgent = v_urgent and f.cause = v_cause and f.due_at <= now()
                    order by f.due_at limit 1 for update skip locked
                )
                returning
                    m.mail_id, m.kind, m.to_address, m.subject_id, m.details, m.created_at, m.attempts, m.is_urgent,
                    m.cause
            loop
                v_found := true;
                v_left := v_left - 1;
                return next;
            end loop;
        end loop;
    end loop;
end
$$;
revoke all on function identity.claim_mails(integer, timestamptz, bytea, bytea) from public;
grant execute on function identity.claim_mails(integer, timestamptz, bytea, bytea) to bulkhead_identity_worker;
comment on function identity.claim_mails(integer, timestamptz, bytea, bytea) is
'The next mails to be sent, nobody else''s until the lease ends: of the next cause the longest due, then of the one '
'after, and round again. Urgent ones first, up to four fifths. With the rights of who calls it.';
"""
