"""A captured change names its fields as the contract does, and writes their values as the calls do."""

from importlib import import_module

from bulkhead_kit.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("""
    -- Only migrations call it.
    -- squawk-ignore ban-drop-function
    drop procedure app.capture_on(regclass, text, text[], text[], jsonb);
    """)
    run_sql(TIME_TEXT)
    run_sql(CAPTURED_FIELDS)
    run_sql(TOLD)
    run_sql(CAPTURE)
    run_sql(GRANTS)


def downgrade() -> None:
    run_sql("""
    drop procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean);
    drop function app.told(regclass, jsonb);
    drop function app.captured_fields(regclass);
    drop function app.time_text(timestamptz);
    """)
    before = import_module("bulkhead_postgres.migrations.versions.0001_pre_context_walls_capture")
    run_sql(before.CAPTURE)
    run_sql("""
    revoke all on procedure app.capture_on(regclass, text, text[], text[], jsonb) from public;
    grant execute on procedure app.capture_on(regclass, text, text[], text[], jsonb) to
        bulkhead_identity_owner, bulkhead_issues_owner, bulkhead_audit_owner;
    """)


# Protobuf's JSON of a Timestamp: 0, 3 or 6 digits of a second. Whatever the session's time zone is. Not strict, or it
# would not be inlined.
TIME_TEXT = """
create function app.time_text(p_time timestamptz) returns text
language sql stable parallel safe
return to_char(
    p_time at time zone 'UTC',
    case p_time at time zone 'UTC'
        when date_trunc('second', p_time at time zone 'UTC') then 'YYYY-MM-DD"T"HH24:MI:SS"Z"'
        when date_trunc('milliseconds', p_time at time zone 'UTC') then 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'
        else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
    end
);
comment on function app.time_text(timestamptz) is
'A time as the contract''s JSON has it: RFC 3339 in UTC, exact.';
"""

# The arguments of a trigger, each ended by a zero byte.
CAPTURED_FIELDS = r"""
create function app.captured_fields(p_table regclass) returns jsonb
language sql stable parallel safe
return (
    select nullif(split_part(encode(tgargs, 'escape'), '\000', 2), '')::jsonb from pg_catalog.pg_trigger
    where tgrelid = p_table and tgname = 'zz_capture'
);
comment on function app.captured_fields(regclass) is
'What field of the contract each captured column of a table is, and the form of its values; else null.';
"""

TOLD = """
create function app.told(p_table regclass, p_row jsonb) returns jsonb
language sql stable parallel safe
return (
    select jsonb_object_agg(
        value ->> 'field',
        case
            when p_row ->> (value ->> 'unless') is not null then null
            when value ? 'values' then
                to_jsonb(coalesce(value -> 'values' ->> (p_row ->> key), p_row ->> key))
            when value ->> 'form' = 'time' then to_jsonb(app.time_text((p_row ->> key)::timestamptz))
            when value ->> 'form' = 'text' then to_jsonb(p_row ->> key)
            else p_row -> key
        end
    )
    from jsonb_each(app.captured_fields(p_table))
);
comment on function app.told(regclass, jsonb) is
'A row, as JSON, in the fields and values that captured changes have: what its events add up to.';
"""

# What is never null is put together in one call for a new row: that pays for the values' forms.
CAPTURE = """
create procedure app.capture_on(
    p_table regclass,
    p_entity text,
    p_key text[],
    p_excluded text[] default '{}',
    p_context jsonb default '{}',
    p_fields jsonb default null,
    p_removals boolean default true
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_schema text;
    v_name text;
    v_function text;
    v_columns text[];
    v_noise constant text[] := array['tenant_id', 'created_at', 'created_by', 'updated_at', 'version'];
    v_tenant text;
    v_column text;
    v_field record;
    v_spec jsonb;
    v_fields jsonb := '{}';
    v_value text;
    v_always text[] := '{}';
    v_inserted text := '';
    v_updated text := '';
    v_verb text := '''updated''';
    v_context jsonb;
begin
    select n.nspname, c.relname into strict v_schema, v_name
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    v_function := format('%I.%I', v_schema, 'capture_' || v_name);

    select array_agg(a.attname::text order by a.attnum) into strict v_columns
    from pg_attribute as a
    where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped and a.attgenerated = '';
    if
        not p_excluded <@ v_columns or not p_key <@ v_columns
        or not array(select jsonb_object_keys(coalesce(p_fields, '{}'))) <@ v_columns
    then
        raise exception 'app.capture_on(%): a named column does not exist', p_table;
    end if;

    v_tenant := case when 'tenant_id' = any(v_columns) then 'r.tenant_id' else 'app.platform_log_id()' end;
    v_context := jsonb_build_object('tenant_id', v_tenant, 'project_id', 'null::uuid', 'visibility', '1::smallint')
        || p_context;

    for v_field in
        select a.attname::text as name, a.attnotnull as always, f.spec, coalesce(
            f.spec ->> 'form',
            case
                when p_fields is null then null
                when a.atttypid = 'timestamptz'::regtype then 'time'
                when a.atttypid = 'numeric'::regtype then 'text'
            end
        ) as form
        from pg_attribute as a
        cross join lateral (
            select case jsonb_typeof(p_fields -> a.attname::text)
                when 'string' then jsonb_build_object('field', p_fields -> a.attname::text)
                when 'object' then p_fields -> a.attname::text
                else jsonb_build_object('field', a.attname)
            end as spec
        ) as f
        where a.attrelid = p_table and a.attname = any(v_columns)
            and (
                coalesce(p_fields ? a.attname::text, false)
                or not (a.attname = any(v_noise) or a.attname = any(p_excluded) or a.attname = any(p_key))
            )
        order by a.attnum
    loop
        v_spec := jsonb_strip_nulls(v_field.spec || jsonb_build_object('form', v_field.form));
        v_fields := v_fields || jsonb_build_object(v_field.name, v_spec);
        -- Of the row %1$s.
        v_value := format('%%1$s.%I', v_field.name);
        if v_spec ? 'values' then
            select format('case %s %s else %1$s::text end', v_value, string_agg(
                format('when %L then %L', v.key, v.value), ' ' order by length(v.key), v.key
            ))
            into strict v_value from jsonb_each_text(v_spec -> 'values') as v;
        elsif v_spec ->> 'form' = 'time' then
            v_value := format('app.time_text(%s)', v_value);
        elsif v_spec ->> 'form' = 'text' then
            v_value := v_value || '::text';
        end if;
        if v_spec ? 'unless' then
            v_value := format('(case when %%1$s.%I is null then %s end)', v_spec ->> 'unless', v_value);
        end if;
        if p_fields is not null and v_field.always and not v_spec ? 'unless' then
            v_always := v_always
                || format('%L, jsonb_build_array(null, %s)', v_spec ->> 'field', format(v_value, 'r'));
        else
            v_inserted := v_inserted || format(
                'if %1$s is not null then '
                'v_changes := v_changes || jsonb_build_object(%2$L, jsonb_build_array(null, %3$s)); end if; ',
                case when v_spec ? 'unless' then format(v_value, 'r') else format('r.%I', v_field.name) end,
                v_spec ->> 'field', format(v_value, 'r')
            );
        end if;
        v_updated := v_updated || format(
            'if %1$s is distinct from %2$s then v_changes := v_changes || '
            'jsonb_build_object(%3$L, jsonb_build_array(%4$s, %5$s)); end if; ',
            case when v_spec ? 'unless' then format(v_value, 'r') else format('r.%I', v_field.name) end,
            case when v_spec ? 'unless' then format(v_value, 'old') else format('old.%I', v_field.name) end,
            v_spec ->> 'field', format(v_value, 'old'), format(v_value, 'r')
        );
    end loop;
    if cardinality(v_always) > 0 then
        v_inserted := format('v_changes := jsonb_build_object(%s); ', array_to_string(v_always, ', ')) || v_inserted;
    end if;
    if (select count(distinct f.value ->> 'field') < count(*) from jsonb_each(v_fields) as f) then
        raise exception 'app.capture_on(%): two columns are one field', p_table;
    end if;
    -- What people call the change, where a column says so.
    foreach v_column in array array['deleted_at', 'archived_at', 'removed_at', 'revoked_at']
    loop
        continue when not v_column = any(v_columns);
        v_verb := format(
            'case when r.%1$I is not null and old.%1$I is null then %2$L '
            'when r.%1$I is null and old.%1$I is not null then %3$L else %4$s end',
            v_column, split_part(v_column, '_', 1),
            case v_column
                when 'deleted_at' then 'undeleted' when 'archived_at' then 'unarchived'
                when 'removed_at' then 'added' else 'granted'
            end,
            v_verb
        );
    end loop;

    execute format($sql$
        create or replace function %1$s() returns trigger
        language plpgsql security definer
        set search_path = pg_catalog, pg_temp
        as $body$
        declare
            r %2$s;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                %3$s
            else
                r := new;
                %4$s
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := %5$s;
            end if;
            insert into %6$I.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                %7$s, %8$L || '.' || v_verb, %8$L, r.%9$I, %10$s, %11$s, %12$s, v_changes
            );
            return null;
        end
        $body$
    $sql$,
        v_function, p_table::text, v_inserted, v_updated, v_verb, v_schema, v_context ->> 'tenant_id', p_entity,
        p_key[1], coalesce('r.' || quote_ident(p_key[2]), 'null::uuid'), v_context ->> 'project_id',
        v_context ->> 'visibility'
    );
    execute format('revoke all on function %s() from public', v_function);
    execute format('comment on function %s() is %L', v_function, 'Capture: leaves an outbox row for every change of ' || p_table::text || '.');
    execute format(
        'create or replace trigger zz_capture after insert or update %s on %s for each row execute function %s(%s)',
        case when p_removals then 'or delete' end, p_table::text, v_function,
        case when p_fields is not null then format('%L, %L', p_entity, v_fields) end
    );
end
$$;
comment on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) is
'Captures every change of a table into its service''s outbox: entity name, key columns (entity_id, sub_id), columns '
'that never leave, SQL expressions over the row r for project_id, visibility or tenant_id, and of columns what field '
'of the contract they are: a name, or field with values (stored -> the contract''s) or unless (a column: no value '
'while it has one). The trigger''s arguments keep it. Without that, columns and values go as they are.';
"""

GRANTS = """
revoke all on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) from public;
revoke all on function app.time_text(timestamptz), app.captured_fields(regclass), app.told(regclass, jsonb) from public;
grant execute on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) to
    bulkhead_identity_owner, bulkhead_issues_owner, bulkhead_audit_owner;
grant execute on function app.time_text(timestamptz), app.captured_fields(regclass), app.told(regclass, jsonb) to
    bulkhead_identity_owner, bulkhead_issues_owner, bulkhead_audit_owner;
"""
