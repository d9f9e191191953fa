"""A log's head moves by appending and by nothing else: no number is skipped, chosen or given twice."""

from bulkhead_kit.migrations import run_sql

revision = "0004"
down_revision = "0003"


# No release runs yet: one that moved the head itself would find it moved.
def upgrade() -> None:
    run_sql(MOVE_HEAD)
    run_sql(ONLY_BY_APPENDING)


def downgrade() -> None:
    run_sql("""
    drop trigger move_head on audit.events;
    drop function audit.move_head();
    """)
    run_sql(ONLY_UP)


# The owner's right, because the service's role moves no head by itself: it may only take one, to be the next to append.
MOVE_HEAD = """
create function audit.move_head() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_log record;
begin
    for v_log in
        select a.tenant_id, min(a.seq) as first_seq, max(a.seq) as last_seq, count(distinct a.seq) as numbers,
            count(*) as events
        from appended as a group by a.tenant_id
    loop
        if v_log.numbers = v_log.events and v_log.last_seq - v_log.first_seq + 1 = v_log.events then
            update audit.logs as l set size = v_log.last_seq
            where l.tenant_id = v_log.tenant_id and l.size = v_log.first_seq - 1;
            continue when found;
        end if;
        raise exception 'events have the numbers that follow the last one''s'
            using errcode = 'check_violation', constraint = 'events_seq_follows';
    end loop;
    return null;
end
$$;
revoke all on function audit.move_head() from public;
comment on function audit.move_head() is
'Moves a log''s head by the events appended: they have the numbers that follow, or the statement fails.';
create trigger move_head after insert on audit.events
referencing new table as appended
for each statement execute function audit.move_head();
"""

ONLY_BY_APPENDING = """
create or replace function audit.only_grow() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A head that ran ahead would leave numbers without events, and one at the largest number would end the log.
    if pg_trigger_depth() < 2 or new.tenant_id <> old.tenant_id or new.size <= old.size then
        raise exception 'a log only grows, by what is appended' using errcode = 'check_violation';
    end if;
    return new;
end
$$;
comment on function audit.only_grow() is
'Keeps a log''s head where its last event is: only the trigger of an append moves it.';
"""

ONLY_UP = """
create or replace function audit.only_grow() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.tenant_id <> old.tenant_id or new.size < old.size then
        raise exception 'a log only grows' using errcode = 'check_violation';
    end if;
    return new;
end
$$;
comment on function audit.only_grow() is
'Keeps a log''s head from going back: a number would be given twice.';
"""
