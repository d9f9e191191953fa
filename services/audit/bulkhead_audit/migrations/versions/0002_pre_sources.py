"""A service appends events of its own things only."""

from bulkhead_kit.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(KINDS)
    run_sql(SOURCE)


def downgrade() -> None:
    run_sql("""
    drop trigger check_source on audit.events;
    drop function audit.check_source();
    drop function audit.kind_owner(text);
    """)


# A kind that nobody has named here is anybody's: a service may be deployed before audit knows its new kinds.
KINDS = """
create function audit.kind_owner(p_kind text) returns text
language sql immutable parallel safe
return case
    when p_kind in (
        'api_key', 'credential', 'invitation', 'mail_ask', 'member', 'one_time_token', 'plan', 'refresh_token',
        'session', 'support_entry', 'support_grant', 'team', 'team_member', 'tenant', 'user', 'user_profile'
    ) then 'identity'
    when p_kind in (
        'comment', 'issue', 'issue_label', 'label', 'project', 'status', 'status_transition', 'workspace'
    ) then 'issues'
end;
revoke all on function audit.kind_owner(text) from public;
grant execute on function audit.kind_owner(text) to bulkhead_audit_app;
comment on function audit.kind_owner(text) is
'The service whose kind of entity it is, or null.';
"""

SOURCE = """
create function audit.check_source() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_service text := coalesce(current_setting('app.service', true), '');
begin
    -- Who was refused is a user everywhere; where it was is the service's own method.
    if new.action = 'call.denied' and starts_with(coalesce(new.rpc, ''), 'bulkhead.' || v_service || '.') then
        return new;
    end if;
    if
        new.action = 'call.denied'
        or coalesce(audit.kind_owner(new.entity_type), v_service) <> v_service
        or coalesce(audit.kind_owner(split_part(new.action, '.', 1)), v_service) <> v_service
    then
        raise exception 'an event of another service''s things' using errcode = 'insufficient_privilege';
    end if;
    return new;
end
$$;
revoke all on function audit.check_source() from public;
comment on function audit.check_source() is
'Keeps a service from saying anything about another service''s things, or of a call refused elsewhere.';
create trigger check_source before insert on audit.events
for each row execute function audit.check_source();
"""
