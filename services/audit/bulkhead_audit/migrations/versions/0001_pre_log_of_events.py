"""The log: events that never change, their erasable values, one head a tenant, a partition a month."""

from bulkhead_kit.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(IMMUTABLE)
    run_sql(EVENTS)
    run_sql(EVENT_VALUES)
    run_sql(LOGS)
    run_sql(PARTITIONS)


def downgrade() -> None:
    run_sql("""
    drop function audit.make_months(date, date);
    drop table audit.logs;
    drop table audit.event_values;
    drop table audit.events;
    drop function audit.only_grow();
    drop function audit.only_erase();
    drop function audit.refuse_change();
    revoke usage on schema audit from bulkhead_audit_app, bulkhead_audit_worker, bulkhead_eraser;
    """)


# The roles lack the grants as well: the triggers stop whoever has them by mistake, the owner and a superuser too.
IMMUTABLE = """
create function audit.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '% of %.% refused: the log never changes', lower(tg_op), tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;
comment on function audit.refuse_change() is
'Refuses what it is the trigger of, whoever asks.';

create function audit.only_erase() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_user <> 'bulkhead_eraser' then
        raise exception 'delete from %.% refused: only an erasure removes values', tg_table_schema, tg_table_name
            using errcode = 'insufficient_privilege';
    end if;
    return old;
end
$$;
comment on function audit.only_erase() is
'Lets the role bulkhead_eraser delete, and nobody else.';

create function audit.only_grow() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.tenant_id <> old.tenant_id or new.size < old.size then
        raise exception 'a log only grows' using errcode = 'check_violation';
    end if;
    return new;
end
$$;
comment on function audit.only_grow() is
'Keeps a log''s head from going back: a number would be given twice.';

revoke all on function audit.refuse_change(), audit.only_erase(), audit.only_grow() from public;
grant usage on schema audit to bulkhead_audit_app, bulkhead_audit_worker, bulkhead_eraser;
"""

EVENTS = """
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
    fields text [] not null,
    encoding smallint not null,
    values_digest bytea not null,
    leaf_hash bytea not null,
    -- occurred_at comes from the outbox and is resent unchanged, so a repeat meets its own key.
    constraint events_pkey primary key (tenant_id, occurred_at, event_id),
    constraint events_seq_check check (seq > 0),
    constraint events_actor_type_check check (
        actor_type in ('person', 'service_account', 'service', 'anonymous', 'system', 'database')
    ),
    constraint events_request_id_check check (length(request_id) <= 128),
    constraint events_service_check check (length(service) <= 64),
    constraint events_rpc_check check (length(rpc) <= 200),
    constraint events_action_check check (length(action) <= 100),
    constraint events_entity_type_check check (length(entity_type) <= 50),
    constraint events_visibility_check check (visibility in (1, 2)),
    constraint events_outcome_check check (outcome in ('ok', 'denied', 'failed')),
    constraint events_encoding_check check (encoding > 0),
    constraint events_values_digest_check check (octet_length(values_digest) = 32),
    constraint events_leaf_hash_check check (octet_length(leaf_hash) = 32)
) partition by range (occurred_at);

call app.protect('audit.events');
-- The log spans all projects and is for those who run the tenant; internal events are beyond viewers with all others.
-- Of the platform log no person reads anything, whatever tenant a context names.
create policy read_right on audit.events for select to bulkhead_audit_app
using (app.role_level() >= 3 and (app.role_level() = 6 or tenant_id <> app.platform_log_id()));
create policy insert_right on audit.events for insert to bulkhead_audit_app with check (app.role_level() = 6);
grant select, insert on audit.events to bulkhead_audit_app;

create trigger no_change before update or delete on audit.events
for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.events
for each statement execute function audit.refuse_change();

-- The order of lists is (occurred_at, seq), newest first; the primary key serves the list without a filter.
create index events_tenant_id_actor_id_idx
on audit.events (tenant_id, actor_id, occurred_at desc, seq desc);
create index events_tenant_id_entity_id_idx
on audit.events (tenant_id, entity_id, occurred_at desc, seq desc);
create index events_tenant_id_action_idx
on audit.events (tenant_id, action, occurred_at desc, seq desc);
create index events_tenant_id_project_id_idx
on audit.events (tenant_id, project_id, occurred_at desc, seq desc) where project_id is not null;
create index events_tenant_id_request_id_idx on audit.events (tenant_id, request_id);
create index events_tenant_id_event_id_idx on audit.events (tenant_id, event_id);

comment on table audit.events is
'Who did what to which entity, and when: one row an event, a partition a month, never changed and never removed.';
comment on column audit.events.recorded_at is 'When the log took it in.';
comment on column audit.events.seq is
'Place in the tenant''s log, from 1 without gaps, in the order of appending.';
comment on column audit.events.occurred_at is
'Copied from the outbox: when the change was made. Part of the key and of the partition.';
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
"""

EVENT_VALUES = """
create table audit.event_values (
    tenant_id uuid not null,
    event_id uuid not null,
    occurred_at timestamptz not null,
    salt bytea not null,
    changes jsonb not null,
    ip text,
    user_agent text,
    constraint event_values_pkey primary key (tenant_id, occurred_at, event_id),
    constraint event_values_salt_check check (octet_length(salt) = 32),
    constraint event_values_changes_check check (jsonb_typeof(changes) = 'object'),
    constraint event_values_ip_check check (length(ip) <= 64),
    constraint event_values_user_agent_check check (length(user_agent) <= 512)
) partition by range (occurred_at);

call app.protect('audit.event_values');
create policy read_right on audit.event_values for select to bulkhead_audit_app
using (app.role_level() >= 3 and (app.role_level() = 6 or tenant_id <> app.platform_log_id()));
create policy insert_right on audit.event_values for insert to bulkhead_audit_app with check (app.role_level() = 6);
grant select, insert on audit.event_values to bulkhead_audit_app;
create policy eraser_read on audit.event_values for select to bulkhead_eraser using (true);
create policy eraser_remove on audit.event_values for delete to bulkhead_eraser using (true);
grant select (tenant_id, event_id, occurred_at), delete on audit.event_values to bulkhead_eraser;

create trigger no_update before update on audit.event_values
for each row execute function audit.refuse_change();
create trigger only_erase before delete on audit.event_values
for each row execute function audit.only_erase();
create trigger no_truncate before truncate on audit.event_values
for each statement execute function audit.refuse_change();

comment on table audit.event_values is
'What is personal in an event: values, address, user agent. An erasure removes the row; the event in the log stays.';
comment on column audit.event_values.salt is
'Random; gone with the row, so that nobody can guess erased values and check them by the digest.';
comment on column audit.event_values.changes is
'Field name -> [old, new], or [old, new, cuts] where a value was too large for an event.';
"""

LOGS = """
create table audit.logs (
    tenant_id uuid not null,
    size bigint not null default 0,
    constraint logs_pkey primary key (tenant_id),
    constraint logs_size_check check (size >= 0)
);

call app.protect('audit.logs');
call app.rights('audit.logs', 6::smallint, 6::smallint);
grant select, insert (tenant_id), update (size) on audit.logs to bulkhead_audit_app;

create trigger only_grow before update on audit.logs
for each row execute function audit.only_grow();
create trigger no_delete before delete on audit.logs
for each row execute function audit.refuse_change();
create trigger no_truncate before truncate on audit.logs
for each statement execute function audit.refuse_change();

comment on table audit.logs is
'The head of each tenant''s log. Locked once a batch, it gives out the numbers without gaps.';
comment on column audit.logs.size is
'Number of events in the log: the seq of the last one.';
"""

# Made apart and attached: readers and writers of the parent do not wait. No default partition: a row in it would keep
# its month from being made.
PARTITIONS = """
set local role bulkhead_audit_partition;

create function audit.make_months(p_first date, p_last date) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
revoke all on function audit.make_months(date, date) from public;
grant execute on function audit.make_months(date, date) to bulkhead_audit_app, bulkhead_audit_worker;
comment on function audit.make_months(date, date) is
'Makes what is missing of the months from the first day''s to the last day''s; returns how many partitions it made.';

set local role bulkhead_audit_owner;
"""
