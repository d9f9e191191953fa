"""Nobody removes values until there is a command that leaves an event: `bulkhead_eraser` did so without a trace."""

from bulkhead_kit.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("""
    revoke all on audit.event_values from bulkhead_eraser;
    revoke select (tenant_id, event_id, occurred_at) on audit.event_values from bulkhead_eraser;
    revoke usage on schema audit from bulkhead_eraser;
    drop policy eraser_read on audit.event_values;
    drop policy eraser_remove on audit.event_values;
    drop trigger only_erase on audit.event_values;
    create trigger no_delete before delete on audit.event_values
    for each row execute function audit.refuse_change();
    -- Nobody calls a trigger's function but its trigger.
    -- squawk-ignore ban-drop-function
    drop function audit.only_erase();
    """)


def downgrade() -> None:
    run_sql("""
    create function audit.only_erase() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $$
    begin
        if current_user <> 'bulkhead_eraser' then
            raise exception 'delete from %.% refused: only an erasure removes values', tg_table_schema, tg_table_name
                using errcode = 'insufficient_privilege';
        end if;
        return old;
    end
    $$;
    comment on function audit.only_erase() is
    'Lets the role bulkhead_eraser delete, and nobody else.';
    revoke all on function audit.only_erase() from public;
    drop trigger no_delete on audit.event_values;
    create trigger only_erase before delete on audit.event_values
    for each row execute function audit.only_erase();
    create policy eraser_read on audit.event_values for select to bulkhead_eraser using (true);
    create policy eraser_remove on audit.event_values for delete to bulkhead_eraser using (true);
    grant usage on schema audit to bulkhead_eraser;
    grant select (tenant_id, event_id, occurred_at), delete on audit.event_values to bulkhead_eraser;
    """)
