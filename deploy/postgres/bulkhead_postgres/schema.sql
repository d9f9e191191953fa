-- The schema app as its migrations leave it. Written by `make schema` from a live database: read it, never edit it.
-- Months of partitioned tables, Alembic's own table and rows that migrations insert are not in it.

set check_function_bodies = off;
set search_path = pg_catalog;
set role bulkhead_app_owner;

grant usage on schema app to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_backup, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_relay, bulkhead_identity_worker,
    bulkhead_issues_app, bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_relay,
    bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;

create or replace function app.current_tenant_id()
 returns uuid
 language sql
 stable parallel safe
return (nullif(current_setting('app.tenant_id'::text, true), ''::text))::uuid;
revoke all on function app.current_tenant_id() from public;
grant execute on function app.current_tenant_id() to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops,
    bulkhead_platform_app;
comment on function app.current_tenant_id() is
'The tenant of this transaction, or null. The only reader of app.tenant_id.';

create or replace function app.current_user_id()
 returns uuid
 language sql
 stable parallel safe
return (nullif(current_setting('app.user_id'::text, true), ''::text))::uuid;
revoke all on function app.current_user_id() from public;
grant execute on function app.current_user_id() to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops,
    bulkhead_platform_app;
comment on function app.current_user_id() is
'The user of this transaction, or null.';

create or replace function app.importing()
 returns boolean
 language sql
 stable parallel safe
return (coalesce((current_setting('app.importing'::text, true) = 'on'::text), false) and (coalesce((nullif(current_setting('app.role'::text, true), ''::text))::smallint, (0)::smallint) >= 4));
revoke all on function app.importing() from public;
grant execute on function app.importing() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_owner, bulkhead_issues_search,
    bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.importing() is
'True while an import by an admin or above brings rows with times of their own.';

create or replace function app.platform_log_id()
 returns uuid
 language sql
 immutable parallel safe
return '00000000-0000-0000-0000-000000000001'::uuid;
revoke all on function app.platform_log_id() from public;
grant execute on function app.platform_log_id() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_definer, bulkhead_issues_owner,
    bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.platform_log_id() is
'The reserved tenant of the log of everything that happens outside any tenant. Nobody is a member of it.';

create or replace function app.principal()
 returns text
 language sql
 stable parallel safe
return coalesce(nullif(current_setting('app.user_id'::text, true), ''::text), nullif(current_setting('app.service'::text, true), ''::text));
revoke all on function app.principal() from public;
grant execute on function app.principal() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_owner, bulkhead_issues_search,
    bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.principal() is
'Who a call counts for: the user, else the calling service, else null.';

create or replace function app.role_level()
 returns smallint
 language sql
 stable parallel safe
return coalesce((nullif(current_setting('app.role'::text, true), ''::text))::smallint, (0)::smallint);
revoke all on function app.role_level() from public;
grant execute on function app.role_level() to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_definer, bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops,
    bulkhead_platform_app;
comment on function app.role_level() is
'0 nobody, 1 viewer, 2 member, 3 manager, 4 admin, 5 owner, 6 another service.';

create or replace function app.are_facts(p_changes jsonb, p_patterns jsonb)
 returns boolean
 language sql
 immutable parallel safe
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
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
$function$;
revoke all on function app.are_facts(jsonb, jsonb) from public;
grant execute on function app.are_facts(jsonb, jsonb) to bulkhead_identity_definer, bulkhead_issues_definer;
comment on function app.are_facts(jsonb, jsonb) is
'Whether changes are just the named facts: each [null, text or number], whose text matches the name''s pattern.';

create or replace procedure app.capture_on(in p_table regclass, in p_entity text, in p_key text[], in p_excluded text[] default '{}'::text[], in p_context jsonb default '{}'::jsonb, in p_fields jsonb default null::jsonb, in p_removals boolean default true)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
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
$procedure$;
revoke all on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) from public;
grant execute on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) to
    bulkhead_audit_owner, bulkhead_identity_owner, bulkhead_issues_owner;
comment on procedure app.capture_on(regclass, text, text[], text[], jsonb, jsonb, boolean) is
'Captures every change of a table into its service''s outbox: entity name, key columns (entity_id, sub_id), columns that never leave, SQL expressions over the row r for project_id, visibility or tenant_id, and of columns what field of the contract they are: a name, or field with values (stored -> the contract''s) or unless (a column: no value while it has one). The trigger''s arguments keep it. Without that, columns and values go as they are.';

create or replace function app.captured_fields(p_table regclass)
 returns jsonb
 language sql
 stable parallel safe
return (select (nullif(split_part(encode(g.tgargs, 'escape'::text), '\000'::text, 2), ''::text))::jsonb as "nullif" from pg_trigger g where ((g.tgrelid = (captured_fields.p_table)::oid) and (g.tgname = 'zz_capture'::name)));
revoke all on function app.captured_fields(regclass) from public;
grant execute on function app.captured_fields(regclass) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on function app.captured_fields(regclass) is
'Of each captured column of a table what field of the contract it is, and the form of its values; of no captured table null.';

create or replace function app.is_refused_call(p_schema text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb)
 returns boolean
 language sql
 stable parallel safe
return coalesce(((p_outcome = 'denied'::text) and (p_entity_type = case when (app.current_user_id() is null) then 'service'::text else 'user'::text end) and (p_entity_id = coalesce(app.current_user_id(), '00000000-0000-0000-0000-000000000000'::uuid)) and starts_with(current_setting('app.rpc'::text, true), (('bulkhead.'::text || p_schema) || '.'::text)) and app.are_facts(p_changes, '{"calls": "^[1-9][0-9]{0,17}$", "reason": "^[A-Z][A-Z0-9_]{0,99}$"}'::jsonb)), false);
revoke all on function app.is_refused_call(text, text, uuid, text, jsonb) from public;
grant execute on function app.is_refused_call(text, text, uuid, text, jsonb) to bulkhead_identity_definer,
    bulkhead_issues_definer;
comment on function app.is_refused_call(text, text, uuid, text, jsonb) is
'Whether it is the event of a call that the service refused to whoever the context names.';

create or replace procedure app.outbox_in(in p_schema text)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
begin
    execute format($sql$
        create table %1$I.outbox (
            outbox_id bigint generated always as identity,
            tenant_id uuid not null,
            event_id uuid not null default gen_random_uuid(),
            occurred_at timestamptz not null default clock_timestamp(),
            action text not null,
            entity_type text not null,
            entity_id uuid not null,
            sub_id uuid,
            project_id uuid,
            visibility smallint not null default 1,
            outcome text not null default 'ok',
            changes jsonb not null default '{}',
            actor_id uuid default app.current_user_id(),
            actor_type text not null
                default coalesce(nullif(current_setting('app.actor_type', true), ''), 'database'),
            on_behalf_of uuid default nullif(current_setting('app.on_behalf_of', true), '')::uuid,
            service text default nullif(current_setting('app.service', true), ''),
            rpc text default nullif(current_setting('app.rpc', true), ''),
            request_id text default nullif(current_setting('app.request_id', true), ''),
            ip text default nullif(current_setting('app.ip', true), ''),
            user_agent text default nullif(current_setting('app.user_agent', true), ''),
            -- By tenant first: the relay reads each tenant's rows apart, and one with many does not hide the others.
            constraint outbox_pkey primary key (tenant_id, outbox_id),
            constraint outbox_outcome_check check (outcome in ('ok', 'denied', 'failed')),
            constraint outbox_visibility_check check (visibility in (1, 2)),
            constraint outbox_changes_check check (jsonb_typeof(changes) = 'object')
        ) with (
            -- The table is small and every row dies young: without these it grows to fourteen times its size.
            autovacuum_vacuum_scale_factor = 0,
            autovacuum_vacuum_threshold = 5000,
            autovacuum_vacuum_cost_delay = 0
        );
        comment on table %1$I.outbox is
        'Changes not yet acknowledged by audit. Written by capture triggers, removed by the relay, read by nobody else.';
        call app.own('%1$I.outbox');

        create table %1$I.outbox_parked (
            tenant_id uuid not null,
            parked_at timestamptz not null default now(),
            attempts integer not null default 1,
            retry_at timestamptz not null,
            last_error text not null,
            constraint outbox_parked_pkey primary key (tenant_id),
            constraint outbox_parked_attempts_check check (attempts > 0),
            constraint outbox_parked_last_error_check check (length(last_error) <= 2000)
        );
        comment on table %1$I.outbox_parked is
        'Tenants whose events audit refuses: the relay passes them over until retry_at, others go on.';
        call app.own('%1$I.outbox_parked');
    $sql$, p_schema);
    execute format(
        'create policy relay_read on %1$I.outbox for select to %2$I using (true)',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format(
        'create policy relay_remove on %1$I.outbox for delete to %2$I using (true)',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format(
        'create policy relay_park on %1$I.outbox_parked to %2$I using (true) with check (true)',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format('grant select, delete on %1$I.outbox to %2$I', p_schema, 'bulkhead_' || p_schema || '_relay');
    execute format(
        'grant select, insert, update, delete on %1$I.outbox_parked to %2$I',
        p_schema, 'bulkhead_' || p_schema || '_relay'
    );
    execute format('grant usage on schema %1$I to %2$I', p_schema, 'bulkhead_' || p_schema || '_relay');
end
$procedure$;
revoke all on procedure app.outbox_in(text) from public;
grant execute on procedure app.outbox_in(text) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.outbox_in(text) is
'The outbox of a service and its parking place, alike in every service.';

create or replace procedure app.own(in p_table regclass)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
declare
    v_schema text;
begin
    select n.nspname into strict v_schema
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    execute format('alter table %s enable row level security', p_table::text);
    execute format('alter table %s force row level security', p_table::text);
    -- Without it a backfill under FORCE touches no row and a constraint is validated over rows nobody looked at.
    execute format(
        'create policy owner_right on %s to %I using (true) with check (true)',
        p_table::text, 'bulkhead_' || v_schema || '_owner'
    );
end
$procedure$;
revoke all on procedure app.own(regclass) from public;
grant execute on procedure app.own(regclass) to bulkhead_audit_owner, bulkhead_identity_owner, bulkhead_issues_owner;
comment on procedure app.own(regclass) is
'Row-level security, forced, with the owner''s explicit right and nobody else''s.';

create or replace procedure app.protect(in p_table regclass)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
declare
    v_schema text;
begin
    call app.own(p_table);
    select n.nspname into strict v_schema
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    execute format(
        'create policy tenant_wall on %s as restrictive for all to %I '
        'using (tenant_id = app.current_tenant_id()) with check (tenant_id = app.current_tenant_id())',
        p_table::text, 'bulkhead_' || v_schema || '_app'
    );
end
$procedure$;
revoke all on procedure app.protect(regclass) from public;
grant execute on procedure app.protect(regclass) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.protect(regclass) is
'app.own, and the wall between tenants for the service''s app role: one text on every tenant table.';

create or replace function app.refuse(p_code integer, p_reason text, p_message text, p_metadata jsonb default '{}'::jsonb)
 returns void
 language plpgsql
 stable
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    raise exception using
        errcode = 'BH0' || lpad(p_code::text, 2, '0'),
        message = p_reason,
        detail = p_message,
        hint = p_metadata::text;
end
$function$;
revoke all on function app.refuse(integer, text, text, jsonb) from public;
grant execute on function app.refuse(integer, text, text, jsonb) to bulkhead_audit_app, bulkhead_audit_owner,
    bulkhead_audit_partition, bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app,
    bulkhead_identity_definer, bulkhead_identity_owner, bulkhead_identity_worker, bulkhead_issues_app,
    bulkhead_issues_owner, bulkhead_issues_search, bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.refuse(integer, text, text, jsonb) is
'Ends the statement with a refusal of the contract: gRPC code, ErrorReason, text, metadata.';

create or replace procedure app.request_ids_in(in p_schema text)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
begin
    execute format($sql$
        create table %1$I.request_ids (
            tenant_id uuid not null,
            principal text not null,
            request_id uuid not null,
            rpc text not null,
            request_digest bytea not null,
            reply bytea,
            created_at timestamptz not null default now(),
            -- By principal too, or one member could fetch the answer to another's call.
            constraint request_ids_pkey primary key (tenant_id, principal, request_id),
            constraint request_ids_principal_check check (length(principal) between 1 and 100),
            constraint request_ids_request_digest_check check (octet_length(request_digest) = 32)
        );
        create index request_ids_created_at_idx on %1$I.request_ids (created_at);
        comment on table %1$I.request_ids is
        'Calls that named a request_id, with their answers, for 24 hours: a repeat gets the same answer and has no effect.';
        call app.protect('%1$I.request_ids');
        create policy own_calls on %1$I.request_ids to %2$I
        using (principal = app.principal()) with check (principal = app.principal());
        grant select, insert (tenant_id, principal, request_id, rpc, request_digest), update (reply)
        on %1$I.request_ids to %2$I;
        create policy expiry_read on %1$I.request_ids for select to %3$I using (true);
        create policy expiry_remove on %1$I.request_ids for delete to %3$I
        using (created_at < now() - interval '24 hours');
        grant select (tenant_id, principal, request_id, created_at), delete on %1$I.request_ids to %3$I;
        grant usage on schema %1$I to %2$I, %3$I;
    $sql$, p_schema, 'bulkhead_' || p_schema || '_app', 'bulkhead_' || p_schema || '_worker');
end
$procedure$;
revoke all on procedure app.request_ids_in(text) from public;
grant execute on procedure app.request_ids_in(text) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.request_ids_in(text) is
'The store of answered calls of a service, alike in every service.';

create or replace procedure app.rights(in p_table regclass, in p_read smallint, in p_write smallint)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $procedure$
declare
    v_app text;
begin
    select 'bulkhead_' || n.nspname || '_app' into strict v_app
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table;
    execute format(
        'create policy read_right on %s for select to %I using (app.role_level() >= %s)',
        p_table::text, v_app, p_read
    );
    execute format(
        'create policy insert_right on %s for insert to %I with check (app.role_level() >= %s)',
        p_table::text, v_app, p_write
    );
    execute format(
        'create policy update_right on %s for update to %I using (app.role_level() >= %s) '
        'with check (app.role_level() >= %s)',
        p_table::text, v_app, p_write, p_write
    );
end
$procedure$;
revoke all on procedure app.rights(regclass, smallint, smallint) from public;
grant execute on procedure app.rights(regclass, smallint, smallint) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on procedure app.rights(regclass, smallint, smallint) is
'The usual rights behind the wall: the least role that reads and the least role that writes.';

create or replace function app.stamp()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
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
$function$;
revoke all on function app.stamp() from public;
grant execute on function app.stamp() to bulkhead_audit_app, bulkhead_audit_owner, bulkhead_audit_partition,
    bulkhead_audit_worker, bulkhead_eraser, bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_owner,
    bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_owner, bulkhead_issues_search,
    bulkhead_issues_worker, bulkhead_ops, bulkhead_platform_app;
comment on function app.stamp() is
'BEFORE INSERT OR UPDATE: created_at, created_by, updated_at and version, which nobody sets by hand.';

create or replace function app.time_text(p_time timestamp with time zone)
 returns text
 language sql
 stable parallel safe
return to_char((p_time at time zone 'UTC'::text), case (p_time at time zone 'UTC'::text) when date_trunc('second'::text, (p_time at time zone 'UTC'::text)) then 'YYYY-MM-DD"T"HH24:MI:SS"Z"'::text when date_trunc('milliseconds'::text, (p_time at time zone 'UTC'::text)) then 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'::text else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text end);
revoke all on function app.time_text(timestamp with time zone) from public;
grant execute on function app.time_text(timestamp with time zone) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on function app.time_text(timestamp with time zone) is
'A time as the contract''s JSON has it: RFC 3339 in UTC, exact.';

create or replace function app.told(p_table regclass, p_row jsonb)
 returns jsonb
 language sql
 stable parallel safe
return (select jsonb_object_agg((c.spec ->> 'field'::text), case when ((told.p_row ->> (c.spec ->> 'unless'::text)) is not null) then null::jsonb when (c.spec ? 'values'::text) then to_jsonb(coalesce(((c.spec -> 'values'::text) ->> (told.p_row ->> c.name)), (told.p_row ->> c.name))) when ((c.spec ->> 'form'::text) = 'time'::text) then to_jsonb(app.time_text(((told.p_row ->> c.name))::timestamp with time zone)) when ((c.spec ->> 'form'::text) = 'text'::text) then to_jsonb((told.p_row ->> c.name)) else (told.p_row -> c.name) end) as jsonb_object_agg from jsonb_each(app.captured_fields(told.p_table)) c(name, spec));
revoke all on function app.told(regclass, jsonb) from public;
grant execute on function app.told(regclass, jsonb) to bulkhead_audit_owner, bulkhead_identity_owner,
    bulkhead_issues_owner;
comment on function app.told(regclass, jsonb) is
'A row, as JSON, in the fields and values that captured changes have: what its events add up to.';

reset role;
