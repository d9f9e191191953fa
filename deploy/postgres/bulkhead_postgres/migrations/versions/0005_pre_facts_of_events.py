"""What is recorded as an event without a row is what audit takes, and says no more than the context does."""

from bulkhead_kit.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(ARE_FACTS)
    run_sql(IS_REFUSED_CALL)


def downgrade() -> None:
    run_sql("""
    drop function app.is_refused_call(text, text, uuid, text, jsonb);
    drop function app.are_facts(jsonb, jsonb);
    """)


ARE_FACTS = """
create function app.are_facts(p_changes jsonb, p_patterns jsonb) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
select coalesce(
    case jsonb_typeof(p_changes) when 'object' then p_changes - array(select jsonb_object_keys(p_patterns)) = '{}' end,
    false
) and not exists (
    select from jsonb_each_text(p_patterns) as p
    -- An array with anything else in it, or no array, is not its own second element behind a null.
    where not coalesce(
        p_changes -> p.key = jsonb_build_array(null, p_changes -> p.key -> 1)
        and jsonb_typeof(p_changes -> p.key -> 1) in ('string', 'number')
        and p_changes -> p.key ->> 1 ~ p.value,
        false
    )
)
$$;
revoke all on function app.are_facts(jsonb, jsonb) from public;
grant execute on function app.are_facts(jsonb, jsonb) to bulkhead_identity_definer, bulkhead_issues_definer;
comment on function app.are_facts(jsonb, jsonb) is
'Whether changes are just the named facts: each [null, text or number], whose text matches the name''s pattern.';
"""

IS_REFUSED_CALL = """
create function app.is_refused_call(
    p_schema text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb
) returns boolean
language sql stable parallel safe
return coalesce(
    p_outcome = 'denied'
    and p_entity_type = case when app.current_user_id() is null then 'service' else 'user' end
    and p_entity_id = coalesce(app.current_user_id(), '00000000-0000-0000-0000-000000000000')
    and starts_with(current_setting('app.rpc', true), 'bulkhead.' || p_schema || '.')
    and app.are_facts(p_changes, '{"reason": "^[A-Z][A-Z0-9_]{0,99}$", "calls": "^[1-9][0-9]{0,17}$"}'),
    false
);
revoke all on function app.is_refused_call(text, text, uuid, text, jsonb) from public;
grant execute on function app.is_refused_call(text, text, uuid, text, jsonb) to
    bulkhead_identity_definer, bulkhead_issues_definer;
comment on function app.is_refused_call(text, text, uuid, text, jsonb) is
'Whether it is the event of a call that the service refused to whoever the context names.';
"""
