"""Names are compared by app.fold: what looks alike is one, and there is something to see in each."""

from bulkhead_kit.migrations import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    for table, key, length in TABLES:
        run_sql(SHOWN.format(table=table, key=key))
        run_sql(APART.format(table=table, key=key, length=length))
        run_sql(_keyed(table, "app.fold(name)"))
        run_sql(f"""
        -- squawk-ignore constraint-missing-not-valid
        alter table issues.{table} add constraint {table}_name_key_check check (name_key <> '');
        """)
    run_sql(GRANT)


def downgrade() -> None:
    # What was renamed stays so.
    for table, *_ in TABLES:
        run_sql("alter table issues.TABLE drop constraint TABLE_name_key_check;".replace("TABLE", table))
        run_sql(_keyed(table, "lower(normalize(name, nfkc))"))
    run_sql(GRANT)


TABLES = (("labels", "label_id", 100), ("statuses", "status_id", 50), ("workspaces", "workspace_id", 100))


def _keyed(table: str, expression: str) -> str:
    """A column made anew: another expression in place of one is for PostgreSQL 17 and later.

    A tenant has tens of each, so columns and keys are written in a moment. Running services know them by name.
    """
    return f"""
    -- squawk-ignore ban-drop-column
    alter table issues.{table} drop column name_key;
    -- squawk-ignore adding-field-with-default
    alter table issues.{table} add column name_key text not null generated always as ({expression}) stored;
    -- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
    alter table issues.{table} add constraint {table}_tenant_id_name_key_key unique (tenant_id, name_key);
    """


# A column takes the rights to it with it.
GRANT = "grant select (name_key) on issues.labels to bulkhead_issues_app;"

SHOWN = """
update issues.{table} set name = 'Unnamed (' || right({key}::text, 8) || ')'
where app.fold(name) = '';
"""

# Of names that are one from now on the oldest stays, and the others get the end of their ids: the shortest end that
# keeps them apart. Each change is an event like any other, so the tenant's log says what was renamed.
APART = """
do $$
declare
    v_digits integer;
begin
    foreach v_digits in array array[8, 12, 36] loop
        update issues.{table} as t
        set name = rtrim(left(t.name, {length} - 3 - v_digits)) || ' (' || right(t.{key}::text, v_digits) || ')'
        where exists (
            select from issues.{table} as o
            where o.tenant_id = t.tenant_id and app.fold(o.name) = app.fold(t.name)
            and (o.created_at, o.{key}) < (t.created_at, t.{key})
        );
    end loop;
end
$$;
"""
