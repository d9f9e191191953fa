"""Only who may import brings times of her own, and none that have not come yet."""

from bulkhead_kit.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(IMPORTING)
    run_sql(STAMP)


def downgrade() -> None:
    run_sql(STAMP_BEFORE)
    run_sql(IMPORTING_BEFORE)


# The role is read as app.role_level() reads it: a function that calls another could not stand before it in schema.sql.
IMPORTING = """
create or replace function app.importing() returns boolean
language sql stable parallel safe
return coalesce(current_setting('app.importing', true) = 'on', false)
and coalesce(nullif(current_setting('app.role', true), '')::smallint, 0::smallint) >= 4;
comment on function app.importing() is
'True while an import by an admin or above brings rows with times of their own.';
"""

IMPORTING_BEFORE = """
create or replace function app.importing() returns boolean
language sql stable parallel safe
return coalesce(current_setting('app.importing', true) = 'on', false);
comment on function app.importing() is
'True while an import brings rows with times of their own.';
"""

STAMP = """
create or replace function app.stamp() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        if not app.importing() then
            new.created_at := now();
            new.updated_at := new.created_at;
        end if;
        new.created_by := app.current_user_id();
        new.version := 1;
    else
        new.created_at := old.created_at;
        new.created_by := old.created_by;
        new.version := old.version + 1;
        if not app.importing() then
            -- Never backwards, or a keyset page by time would skip the row.
            new.updated_at := greatest(now(), old.updated_at);
        end if;
    end if;
    -- For that reason a time far ahead would stay for good. Another tracker's clock may be a little fast.
    if app.importing() and greatest(new.created_at, new.updated_at) > now() + interval '1 hour' then
        perform app.refuse(
            3, 'INVALID_FIELD', 'update_time: must not be in the future', '{"field": "update_time"}'
        );
    end if;
    return new;
end
$$;
"""

STAMP_BEFORE = """
create or replace function app.stamp() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        if not app.importing() then
            new.created_at := now();
            new.updated_at := new.created_at;
        end if;
        new.created_by := app.current_user_id();
        new.version := 1;
        return new;
    end if;
    new.created_at := old.created_at;
    new.created_by := old.created_by;
    new.version := old.version + 1;
    if not app.importing() then
        -- Never backwards, or a keyset page by time would skip the row.
        new.updated_at := greatest(now(), old.updated_at);
    end if;
    return new;
end
$$;
"""
