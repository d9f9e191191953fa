"""Events without a row are the few that identity has, as the context has them and in the form that audit takes."""

from bulkhead_kit.migrations import run_sql

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run_sql(RECORD_EVENT.replace("    -- demand", AFTER.strip("\n")))


def downgrade() -> None:
    run_sql(RECORD_EVENT.replace("    -- demand", BEFORE.strip("\n")))


BEFORE = """
    -- What succeeded leaves a row and is captured from it; this can not pretend that it did.
    if p_outcome not in ('denied', 'failed') then
        raise exception 'identity.record_event: an event without a row is one that was denied or failed';
    end if;
"""
# Audit would refuse others, and the tenant's whole log would wait behind it.
AFTER = """
    -- What succeeded leaves a row and is captured from it; this can not pretend that it did.
    if not coalesce(
        case
            when p_action = 'call.denied'
            then app.is_refused_call('identity', p_entity_type, p_entity_id, p_outcome, p_changes)
            when p_action in ('password.change_failed', 'user.close_failed')
            then
                (p_entity_type, p_outcome) = ('user', 'failed') and p_entity_id = app.current_user_id()
                and p_changes = '{}'
            when p_action = 'session.login_failed'
            then
                (p_entity_type, p_outcome) = ('user', 'failed') and app.current_tenant_id() is null
                and (
                    p_entity_id = '00000000-0000-0000-0000-000000000000'
                    or exists (select from identity.users as u where u.user_id = p_entity_id)
                )
                and app.are_facts(p_changes, '{"email": "^.{3,254}$"}')
            when p_action = 'session.login_throttled'
            then
                (p_entity_type, p_outcome) = ('user', 'denied')
                and p_entity_id = coalesce(app.current_user_id(), '00000000-0000-0000-0000-000000000000')
                and app.are_facts(p_changes, '{"email": "^.{3,254}$"}')
            when p_action = 'refresh_token.reused'
            then
                (p_entity_type, p_outcome) = ('session', 'denied')
                and app.are_facts(p_changes, '{"user_id": "^[0-9a-f-]{36}$"}')
                and exists (
                    select from identity.sessions as s
                    where s.session_id = p_entity_id and s.revoked_reason = 'token_reused'
                    and s.user_id::text = p_changes -> 'user_id' ->> 1
                )
        end,
        false
    ) then
        raise exception 'identity.record_event: no event of identity''s without a row';
    end if;
"""
RECORD_EVENT = """
grant create on schema identity to bulkhead_identity_definer;
set local role bulkhead_identity_definer;
create or replace function identity.record_event(
    p_action text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- demand
    insert into identity.outbox (tenant_id, action, entity_type, entity_id, outcome, changes)
    values (
        coalesce(app.current_tenant_id(), app.platform_log_id()), p_action, p_entity_type, p_entity_id, p_outcome,
        p_changes
    );
end
$$;
set local role bulkhead_identity_owner;
revoke create on schema identity from bulkhead_identity_definer;
"""
