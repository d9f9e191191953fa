"""A context says whether it was entered for writing, and the wall of each tenant table asks."""

from bulkhead_kit.migrations import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(IS_WRITING)
    run_sql(PROTECT.replace("check_of_wall", "tenant_id = app.current_tenant_id() and app.is_writing()"))


def downgrade() -> None:
    run_sql(PROTECT.replace("check_of_wall", "tenant_id = app.current_tenant_id()"))
    run_sql("drop function app.is_writing();")


IS_WRITING = """
create function app.is_writing() returns boolean
language sql stable
return coalesce(current_setting('app.writing', true), '') = 'true';
comment on function app.is_writing() is
'Whether this transaction was entered for writing: only then has it waited for the fence of its tenant and member.';
revoke all on function app.is_writing() from public;
grant execute on function app.is_writing() to
    bulkhead_identity_app, bulkhead_issues_app, bulkhead_audit_app, bulkhead_identity_owner, bulkhead_issues_owner,
    bulkhead_audit_owner;
"""
PROTECT = """
create or replace procedure app.protect(p_table regclass)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_schema text;
begin
    call app.own(p_table);
    select n.nspname into strict v_schema
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    execute format(
        'create policy tenant_wall on %s as restrictive for all to %I '
        'using (tenant_id = app.current_tenant_id()) with check (check_of_wall)',
        p_table::text, 'bulkhead_' || v_schema || '_app'
    );
end
$$;
"""
