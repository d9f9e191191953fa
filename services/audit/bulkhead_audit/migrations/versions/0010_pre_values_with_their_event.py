"""Values come with their event: nobody gives an event other values later, not even one whose values were erased."""

from bulkhead_kit.migrations import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(WITH_THEIR_EVENT)


def downgrade() -> None:
    run_sql("""
    drop trigger with_event on audit.event_values;
    drop function audit.refuse_late_values();
    """)


# The owner's right: with the service's own a policy could hide the event, and the answer would be a wrong one.
WITH_THEIR_EVENT = """
create function audit.refuse_late_values() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from added as a
        where not exists (
            select from audit.events as e
            where e.tenant_id = a.tenant_id and e.occurred_at = a.occurred_at and e.event_id = a.event_id
                and e.xmin = pg_current_xact_id()::xid
        )
    ) then
        raise exception 'values come in the transaction of their event' using errcode = 'check_violation';
    end if;
    return null;
end
$$;
revoke all on function audit.refuse_late_values() from public;
comment on function audit.refuse_late_values() is
'Refuses values of an event that another transaction appended: what was erased stays so.';
create trigger with_event after insert on audit.event_values
referencing new table as added
for each statement execute function audit.refuse_late_values();
"""
