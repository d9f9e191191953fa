"""Statuses and the transitions between them."""

from bulkhead_kit.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(STATUSES)
    run_sql(ONE_DEFAULT)
    run_sql(TRANSITIONS)


def downgrade() -> None:
    run_sql("""
    drop table issues.status_transitions;
    drop function issues.capture_status_transitions();
    drop table issues.statuses;
    drop function issues.capture_statuses();
    drop function issues.check_default_status();
    """)


STATUSES = """
create table issues.statuses (
    tenant_id uuid not null,
    status_id uuid not null,
    name text not null,
    name_key text not null generated always as (lower(normalize(name, nfkc))) stored,
    category smallint not null,
    position integer not null,
    is_default boolean not null default false,
    archived_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint statuses_pkey primary key (tenant_id, status_id),
    constraint statuses_tenant_id_name_key_key unique (tenant_id, name_key),
    -- For the foreign key of issues, which holds each issue to the category of its status.
    constraint statuses_tenant_id_status_id_category_key unique (tenant_id, status_id, category),
    constraint statuses_tenant_id_fkey
    foreign key (tenant_id) references identity.tenants (tenant_id) on delete restrict,
    constraint statuses_name_check check (length(name) between 1 and 50),
    constraint statuses_category_check check (category between 1 and 5),
    -- New issues start in the default: it must be one that is in use.
    constraint statuses_is_default_check check (not is_default or archived_at is null)
);
-- At most one default; the deferred trigger adds: at least one.
create unique index statuses_tenant_id_default_key on issues.statuses (tenant_id) where is_default;
call app.protect('issues.statuses');
call app.rights('issues.statuses', 1::smallint, 3::smallint);
grant
select (
    tenant_id, status_id, name, category, position, is_default, archived_at, created_at, created_by, updated_at,
    version
),
insert (tenant_id, status_id, name, category, position, is_default),
update (name, position, is_default, archived_at)
on issues.statuses to bulkhead_issues_app;
create trigger aa_stamp before insert or update on issues.statuses
for each row execute function app.stamp();
call app.capture_on('issues.statuses', 'status', '{status_id}');
comment on table issues.statuses is
'The statuses of a tenant''s issues. A category never changes: issues are resolved by it.';
comment on column issues.statuses.is_default is 'The status of a new issue that names none; one a tenant.';
comment on column issues.statuses.category is '1 backlog, 2 to do, 3 in progress, 4 done, 5 cancelled';
comment on column issues.statuses.position is 'Order of display, ascending.';
"""

ONE_DEFAULT = """
create function issues.check_default_status() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Deferred to the commit, so that the default can move: off, then on. Two who move it meet at its row.
    if not exists (
        select from issues.statuses as s where s.tenant_id = new.tenant_id and s.is_default
    ) then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'a tenant has exactly one default status', '{"state": "no_default_status"}'
        );
    end if;
    return null;
end
$$;
comment on function issues.check_default_status() is
'Refuses a transaction that would leave a tenant without a default status.';
revoke all on function issues.check_default_status() from public;
create constraint trigger yy_one_default after insert or update of is_default on issues.statuses
deferrable initially deferred
for each row execute function issues.check_default_status();
"""

TRANSITIONS = """
create table issues.status_transitions (
    tenant_id uuid not null,
    from_status_id uuid not null,
    to_status_id uuid not null,
    least_role smallint not null default 2,
    removed_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint status_transitions_pkey primary key (tenant_id, from_status_id, to_status_id),
    constraint status_transitions_tenant_id_from_status_id_fkey
    foreign key (tenant_id, from_status_id) references issues.statuses (tenant_id, status_id) on delete restrict,
    constraint status_transitions_tenant_id_to_status_id_fkey
    foreign key (tenant_id, to_status_id) references issues.statuses (tenant_id, status_id) on delete restrict,
    constraint status_transitions_to_status_id_check check (from_status_id <> to_status_id),
    constraint status_transitions_least_role_check check (least_role between 2 and 5)
);
create index status_transitions_tenant_id_to_status_id_idx on issues.status_transitions (tenant_id, to_status_id);
call app.protect('issues.status_transitions');
call app.rights('issues.status_transitions', 1::smallint, 3::smallint);
grant
select (
    tenant_id, from_status_id, to_status_id, least_role, removed_at, created_at, created_by, updated_at, version
),
insert (tenant_id, from_status_id, to_status_id, least_role),
update (least_role, removed_at)
on issues.status_transitions to bulkhead_issues_app;
create trigger aa_stamp before insert or update on issues.status_transitions
for each row execute function app.stamp();
call app.capture_on('issues.status_transitions', 'status_transition', '{from_status_id,to_status_id}');
comment on table issues.status_transitions is
'The moves an issue may make; one that is not here, or removed, is refused.';
comment on column issues.status_transitions.least_role is
'Least role that may make the move: 2 member, 3 manager, 4 admin, 5 owner.';
"""
