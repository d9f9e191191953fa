-- The schema audit as its migrations leave it. Written by `make schema` from a live database: read it, never edit it.
-- Months of partitioned tables, Alembic's own table and rows that migrations insert are not in it.

set check_function_bodies = off;
set search_path = pg_catalog;
set role bulkhead_audit_owner;

grant usage on schema audit to bulkhead_audit_app, bulkhead_audit_definer, bulkhead_audit_worker;

-- audit.event_values

create table audit.event_values (
    tenant_id uuid not null,
    event_id uuid not null,
    occurred_at timestamptz not null,
    salt bytea not null,
    changes jsonb not null,
    ip text,
    user_agent text,
    constraint event_values_pkey primary key (tenant_id, occurred_at, event_id),
    constraint event_values_changes_check check (jsonb_typeof(changes) = 'object'),
    constraint event_values_ip_check check (length(ip) <= 64),
    constraint event_values_salt_check check (octet_length(salt) = 32),
    constraint event_values_user_agent_check check (length(user_agent) <= 512)
) partition by range (occurred_at);
comment on table audit.event_values is
'What is personal in an event: values, address, user agent. An erasure removes the row; the event in the log stays.';
comment on column audit.event_values.salt is
'Random; gone with the row, so that nobody can guess erased values and check them by the digest.';
comment on column audit.event_values.changes is
'Field name -> [old, new], or [old, new, cuts] where a value was too large for an event.';
alter table audit.event_values enable row level security;
alter table audit.event_values force row level security;
create policy tenant_wall on audit.event_values as restrictive for all to bulkhead_audit_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_read on audit.event_values for select to bulkhead_audit_definer
using (tenant_id = app.current_tenant_id() and app.role_level() >= 1 and app.role_level() <= 5);
create policy insert_right on audit.event_values for insert to bulkhead_audit_app
with check (app.role_level() = 6);
create policy owner_right on audit.event_values for all to bulkhead_audit_owner
using (true)
with check (true);
create policy read_right on audit.event_values for select to bulkhead_audit_app
using (app.role_level() >= 4 and (app.role_level() = 6 or tenant_id <> app.platform_log_id()));
grant select, insert on audit.event_values to bulkhead_audit_app;
grant select (tenant_id, event_id, occurred_at, changes) on audit.event_values to bulkhead_audit_definer;

-- audit.events

create table audit.events (
    tenant_id uuid not null,
    seq bigint not null,
    event_id uuid not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null,
    actor_type text not null,
    actor_id uuid,
    on_behalf_of uuid,
    request_id text,
    service text,
    rpc text,
    action text not null,
    entity_type text not null,
    entity_id uuid not null,
    sub_id uuid,
    project_id uuid,
    visibility smallint not null,
    outcome text not null,
    fields text[] not null,
    encoding smallint not null,
    values_digest bytea not null,
    leaf_hash bytea not null,
    constraint events_pkey primary key (tenant_id, occurred_at, event_id),
    constraint events_action_check check (length(action) <= 100),
    constraint events_actor_type_check
    check (actor_type in ('person', 'service_account', 'service', 'anonymous', 'system', 'database')),
    constraint events_encoding_check check (encoding > 0),
    constraint events_entity_type_check check (length(entity_type) <= 50),
    constraint events_leaf_hash_check check (octet_length(leaf_hash) = 32),
    constraint events_outcome_check check (outcome in ('ok', 'denied', 'failed')),
    constraint events_request_id_check check (length(request_id) <= 128),
    constraint events_rpc_check check (length(rpc) <= 200),
    constraint events_seq_check check (seq > 0),
    constraint events_service_check check (length(service) <= 64),
    constraint events_values_digest_check check (octet_length(values_digest) = 32),
    constraint events_visibility_check check (visibility in (1, 2))
) partition by range (occurred_at);
comment on table audit.events is
'Who did what to which entity, and when: one row an event, a partition a month, never changed and never removed.';
comment on column audit.events.seq is
'Place in the tenant''s log, from 1 without gaps, in the order of appending.';
comment on column audit.events.occurred_at is
'Copied from the outbox: when the change was made. Part of the key and of the partition.';
comment on column audit.events.recorded_at is
'When the log took it in.';
comment on column audit.events.sub_id is
'The other end of an entity that ties two together, such as a label on an issue.';
comment on column audit.events.visibility is
'1: every member. 2: internal, no viewers.';
comment on column audit.events.fields is
'Names of the fields that changed; not personal, so they outlive an erasure.';
comment on column audit.events.encoding is
'Version of the encoding of both hashes.';
comment on column audit.events.values_digest is
'SHA-256 of the salt and the canonical values in event_values.';
comment on column audit.events.leaf_hash is
'SHA-256 of a zero byte and this row''s canonical envelope, values_digest included.';
create index events_not_ok_idx on only audit.events (tenant_id, occurred_at desc, seq desc) where outcome <> 'ok'::text;
create index events_tenant_id_action_idx on only audit.events (tenant_id, action text_pattern_ops, occurred_at desc, seq desc);
create index events_tenant_id_actor_id_idx on only audit.events (tenant_id, actor_id, occurred_at desc, seq desc);
create index events_tenant_id_entity_id_idx on only audit.events (tenant_id, entity_id, occurred_at desc, seq desc);
create index events_tenant_id_event_id_idx on only audit.events (tenant_id, event_id);
create index events_tenant_id_on_behalf_of_idx on only audit.events (tenant_id, on_behalf_of, occurred_at desc, seq desc) where on_behalf_of is not null;
create index events_tenant_id_project_id_idx on only audit.events (tenant_id, project_id, occurred_at desc, seq desc) where project_id is not null;
create index events_tenant_id_request_id_idx on only audit.events (tenant_id, request_id);
alter table audit.events enable row level security;
alter table audit.events force row level security;
create policy tenant_wall on audit.events as restrictive for all to bulkhead_audit_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on audit.events for insert to bulkhead_audit_app
with check (app.role_level() = 6);
create policy own_acts on audit.events for select to bulkhead_audit_definer
using (tenant_id = app.current_tenant_id() and actor_id = app.current_user_id() and app.role_level() >= 1 and app.role_level() <= 5 and (visibility = 1 or app.role_level() >= 2));
create policy owner_right on audit.events for all to bulkhead_audit_owner
using (true)
with check (true);
create policy read_right on audit.events for select to bulkhead_audit_app
using (app.role_level() >= 4 and (app.role_level() = 6 or tenant_id <> app.platform_log_id()));
grant select, insert on audit.events to bulkhead_audit_app;
grant select on audit.events to bulkhead_audit_definer;

-- audit.logs

create table audit.logs (
    tenant_id uuid not null,
    size bigint default 0 not null,
    constraint logs_pkey primary key (tenant_id),
    constraint logs_size_check check (size >= 0)
);
comment on table audit.logs is
'The head of each tenant''s log. Locked once a batch, it gives out the numbers without gaps.';
comment on column audit.logs.size is
'Number of events in the log: the seq of the last one.';
alter table audit.logs enable row level security;
alter table audit.logs force row level security;
create policy tenant_wall on audit.logs as restrictive for all to bulkhead_audit_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on audit.logs for insert to bulkhead_audit_app
with check (app.role_level() >= 6);
create policy owner_right on audit.logs for all to bulkhead_audit_owner
using (true)
with check (true);
create policy read_right on audit.logs for select to bulkhead_audit_app
using (app.role_level() >= 6);
create policy update_right on audit.logs for update to bulkhead_audit_app
using (app.role_level() >= 6)
with check (app.role_level() >= 6);
grant select, insert (tenant_id), update (size) on audit.logs to bulkhead_audit_app;

create or replace function audit.check_source()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
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
$function$;
revoke all on function audit.check_source() from public;
comment on function audit.check_source() is
'Keeps a service from saying anything about another service''s things, or of a call refused elsewhere.';

create or replace function audit.kind_owner(p_kind text)
 returns text
 language sql
 immutable parallel safe
return case when (p_kind = any (array['api_key'::text, 'credential'::text, 'invitation'::text, 'mail_ask'::text, 'member'::text, 'one_time_token'::text, 'plan'::text, 'refresh_token'::text, 'session'::text, 'support_entry'::text, 'support_grant'::text, 'team'::text, 'team_member'::text, 'tenant'::text, 'tenant_allowance'::text, 'user'::text, 'user_profile'::text])) then 'identity'::text when (p_kind = any (array['comment'::text, 'issue'::text, 'issue_label'::text, 'label'::text, 'project'::text, 'status'::text, 'status_transition'::text, 'workspace'::text])) then 'issues'::text else null::text end;
revoke all on function audit.kind_owner(text) from public;
grant execute on function audit.kind_owner(text) to bulkhead_audit_app;
comment on function audit.kind_owner(text) is
'The service whose kind of entity it is, or null.';

create or replace function audit.move_head()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_log record;
begin
    for v_log in
        select a.tenant_id, min(a.seq) as first_seq, max(a.seq) as last_seq, count(distinct a.seq) as numbers,
            count(*) as events
        from appended as a group by a.tenant_id
    loop
        if v_log.numbers = v_log.events and v_log.last_seq - v_log.first_seq + 1 = v_log.events then
            update audit.logs as l set size = v_log.last_seq
            where l.tenant_id = v_log.tenant_id and l.size = v_log.first_seq - 1;
            continue when found;
        end if;
        raise exception 'events have the numbers that follow the last one''s'
            using errcode = 'check_violation', constraint = 'events_seq_follows';
    end loop;
    return null;
end
$function$;
revoke all on function audit.move_head() from public;
comment on function audit.move_head() is
'Moves a log''s head by the events appended: they have the numbers that follow, or the statement fails.';

create or replace function audit.only_grow()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- A head that ran ahead would leave numbers without events, and one at the largest number would end the log.
    if pg_trigger_depth() < 2 or new.tenant_id <> old.tenant_id or new.size <= old.size then
        raise exception 'a log only grows, by what is appended' using errcode = 'check_violation';
    end if;
    return new;
end
$function$;
revoke all on function audit.only_grow() from public;
comment on function audit.only_grow() is
'Keeps a log''s head where its last event is: only the trigger of an append moves it.';

create or replace function audit.refuse_change()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    raise exception '% of %.% refused: the log never changes', lower(tg_op), tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end
$function$;
revoke all on function audit.refuse_change() from public;
comment on function audit.refuse_change() is
'Refuses what it is the trigger of, whoever asks.';

create or replace function audit.refuse_late_values()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if exists (
        select from added as a
        where not exists (
            select from audit.events as e
            where e.tenant_id = a.tenant_id and e.occurred_at = a.occurred_at and e.event_id = a.event_id
                and e.xmin = pg_current_xact_id()::xid
        )
    ) then
        raise exception 'values come in the transaction of their event' using errcode = 'check_violation';
    end if;
    return null;
end
$function$;
revoke all on function audit.refuse_late_values() from public;
comment on function audit.refuse_late_values() is
'Refuses values of an event that another transaction appended: what was erased stays so.';

create or replace function audit.shown_fields(p_kind text)
 returns text[]
 language sql
 immutable parallel safe
return case p_kind when 'comment'::text then array['issue_id'::text, 'author_id'::text, 'visibility'::text, 'body'::text, 'external_source'::text, 'external_id'::text, 'delete_time'::text] when 'issue'::text then array['project_id'::text, 'number'::text, 'type'::text, 'title'::text, 'description'::text, 'status_id'::text, 'priority'::text, 'reporter_id'::text, 'assignee_id'::text, 'parent_id'::text, 'estimate_minutes'::text, 'spent_minutes'::text, 'start_time'::text, 'due_time'::text, 'breach_time'::text, 'resolve_time'::text, 'metadata'::text, 'external_source'::text, 'external_id'::text, 'delete_time'::text] when 'issue_label'::text then array['label_ids'::text] when 'label'::text then array['name'::text, 'description'::text, 'color'::text, 'archive_time'::text] when 'member'::text then array['kind'::text, 'role'::text, 'state'::text, 'display_name'::text, 'avatar_url'::text, 'join_time'::text, 'disable_time'::text, 'disabled_by'::text, 'external_source'::text, 'external_id'::text, 'leave_time'::text] when 'project'::text then array['workspace_id'::text, 'key'::text, 'name'::text, 'description'::text, 'status'::text, 'priority'::text, 'lead_id'::text, 'owner_team_id'::text, 'start_date'::text, 'end_date'::text, 'budget'::text, 'metadata'::text, 'archive_time'::text] when 'status'::text then array['name'::text, 'category'::text, 'position'::text, 'is_default'::text, 'archive_time'::text] when 'status_transition'::text then array['least_role'::text] when 'team'::text then array['name'::text, 'description'::text, 'archive_time'::text] when 'team_member'::text then array['is_lead'::text, 'add_time'::text, 'remove_time'::text] when 'tenant'::text then array['slug'::text, 'name'::text, 'domain'::text, 'state'::text, 'state_reason'::text, 'state_change_time'::text, 'plan_code'::text, 'branding'::text, 'settings'::text, 'description'::text, 'logo_url'::text, 'website_url'::text, 'industry'::text, 'size'::text, 'delete_time'::text, 'purge_time'::text] when 'user'::text then array['reason'::text, 'calls'::text] when 'workspace'::text then array['name'::text, 'description'::text] else array[]::text[] end;
revoke all on function audit.shown_fields(text) from public;
grant execute on function audit.shown_fields(text) to bulkhead_audit_app;
comment on function audit.shown_fields(text) is
'Fields of a kind of entity that the calls show to every role; all others are for owners and admins.';

create trigger no_delete before delete on audit.event_values for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.event_values for each statement execute function audit.refuse_change();
create trigger no_update before update on audit.event_values for each row execute function audit.refuse_change();
create trigger with_event after insert on audit.event_values referencing new table as added for each statement execute function audit.refuse_late_values();

create trigger check_source before insert on audit.events for each row execute function audit.check_source();
create trigger move_head after insert on audit.events referencing new table as appended for each statement execute function audit.move_head();
create trigger no_change before delete or update on audit.events for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.events for each statement execute function audit.refuse_change();

create trigger no_delete before delete on audit.logs for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.logs for each statement execute function audit.refuse_change();
create trigger only_grow before update on audit.logs for each row execute function audit.only_grow();

reset role;

create or replace function audit.make_months(p_first date, p_last date)
 returns integer
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_month date := date_trunc('month', p_first);
    v_next date;
    v_parent text;
    v_name text;
    v_made integer := 0;
begin
    -- A wrong clock must not fill the catalogue with months.
    if p_first < date '2020-01-01' or p_last > (now() at time zone 'UTC')::date + 366 or p_last < p_first then
        perform app.refuse(3, 'INVALID_FIELD', 'months are made from 2020 to one year from now');
    end if;
    -- One maker at a time: a second one finds the month there instead of failing over it.
    perform pg_advisory_xact_lock(hashtextextended('audit.make_months', 0));
    while v_month <= p_last loop
        v_next := v_month + interval '1 month';
        foreach v_parent in array array['events', 'event_values'] loop
            v_name := v_parent || to_char(v_month, '_YYYY_MM');
            continue when to_regclass(format('audit.%I', v_name)) is not null;
            execute format('create table audit.%I (like audit.%I including constraints)', v_name, v_parent);
            execute format('alter table audit.%I owner to bulkhead_audit_owner', v_name);
            execute format('comment on table audit.%I is %L', v_name, v_parent || to_char(v_month, ' "of" YYYY-MM'));
            -- The parent's policies and grants do not hold for who reads a partition by its name: nobody may.
            execute format('call app.own(%L)', format('audit.%I', v_name));
            -- Nor does the parent's TRUNCATE trigger fire for it.
            execute format(
                'create trigger no_truncate before truncate on audit.%I '
                'for each statement execute function audit.refuse_change()',
                v_name
            );
            execute format(
                'alter table audit.%I attach partition audit.%I for values from (%L) to (%L)',
                v_parent, v_name, v_month || ' 00:00:00+00', v_next || ' 00:00:00+00'
            );
            v_made := v_made + 1;
        end loop;
        v_month := v_next;
    end loop;
    return v_made;
end
$function$;
alter function audit.make_months(date, date) owner to bulkhead_audit_partition;
revoke all on function audit.make_months(date, date) from public;
grant execute on function audit.make_months(date, date) to bulkhead_audit_app, bulkhead_audit_worker;
comment on function audit.make_months(date, date) is
'Makes what is missing of the months from the first day''s to the last day''s; returns how many partitions it made.';

create view audit.own_event_values as
select v.tenant_id,
    v.event_id,
    v.occurred_at,
    ( select coalesce(jsonb_object_agg(c.key, c.value), '{}'::jsonb) as "coalesce"
           from jsonb_each(v.changes) c(key, value)
          where (c.key = any (audit.shown_fields(e.entity_type)))) as changes
   from (audit.event_values v
     join audit.events e on (((v.tenant_id = e.tenant_id) and (v.occurred_at = e.occurred_at) and (v.event_id = e.event_id))));
alter view audit.own_event_values owner to bulkhead_audit_definer;
grant select on audit.own_event_values to bulkhead_audit_app;
comment on view audit.own_event_values is
'The values of audit.own_events, of those fields.';

create view audit.own_events as
select tenant_id,
    event_id,
    occurred_at,
    actor_type,
    actor_id,
    on_behalf_of,
    request_id,
    service,
    rpc,
    action,
    entity_type,
    entity_id,
    sub_id,
    project_id,
    visibility,
    outcome,
    array( select f.name
           from unnest(e.fields) with ordinality f(name, place)
          where (f.name = any (audit.shown_fields(e.entity_type)))
          order by f.place) as fields
   from audit.events e;
alter view audit.own_events owner to bulkhead_audit_definer;
grant select on audit.own_events to bulkhead_audit_app;
comment on view audit.own_events is
'What the person of the context did in its tenant, with the fields that the calls show to every role.';
