"""The wall takes rows only in a transaction that was entered for writing."""

from bulkhead_kit.migrations import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(WALLS)


def downgrade() -> None:
    """The wall's text is that of app.protect."""


# Tables that were made before app.protect asked for it.
WALLS = """
do $$
declare
    v_table text;
begin
    for v_table in
        select p.polrelid::regclass::text from pg_policy as p
        inner join pg_class as c on c.oid = p.polrelid
        where p.polname = 'tenant_wall' and c.relnamespace = 'audit'::regnamespace
    loop
        execute format(
            'alter policy tenant_wall on %s with check (tenant_id = app.current_tenant_id() and app.is_writing())',
            v_table
        );
    end loop;
end
$$;
"""
