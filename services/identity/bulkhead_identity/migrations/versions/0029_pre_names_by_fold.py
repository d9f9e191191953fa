"""Names of teams are compared by app.fold: what looks alike is one, and there is something to see in each."""

from bulkhead_kit.migrations import run_sql

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    run_sql(SHOWN)
    run_sql(APART)
    run_sql(_keyed("app.fold(name)"))
    run_sql("""
    -- squawk-ignore constraint-missing-not-valid
    alter table identity.teams add constraint teams_name_key_check check (name_key <> '');
    """)


def downgrade() -> None:
    # What was renamed stays so.
    run_sql("alter table identity.teams drop constraint teams_name_key_check;")
    run_sql(_keyed("lower(name)"))


def _keyed(expression: str) -> str:
    """A column made anew: another expression in place of one is for PostgreSQL 17 and later.

    A tenant has tens of teams, so column and keys are written in a moment. Running services know them by name.
    """
    return f"""
    -- squawk-ignore ban-drop-column
    alter table identity.teams drop column name_key;
    -- squawk-ignore adding-field-with-default
    alter table identity.teams add column name_key text not null generated always as ({expression}) stored;
    -- squawk-ignore require-concurrent-index-creation
    create unique index teams_name_key_key on identity.teams (tenant_id, name_key) where archived_at is null;
    -- squawk-ignore require-concurrent-index-creation
    create index teams_tenant_id_name_key_team_id_idx on identity.teams (tenant_id, name_key, team_id);
    """


SHOWN = """
update identity.teams set name = 'Unnamed (' || right(team_id::text, 8) || ')'
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
        update identity.teams as t
        set name = rtrim(left(t.name, 97 - v_digits)) || ' (' || right(t.team_id::text, v_digits) || ')'
        where t.archived_at is null and exists (
            select from identity.teams as o
            where o.tenant_id = t.tenant_id and o.archived_at is null and app.fold(o.name) = app.fold(t.name)
            and (o.created_at, o.team_id) < (t.created_at, t.team_id)
        );
    end loop;
end
$$;
"""
