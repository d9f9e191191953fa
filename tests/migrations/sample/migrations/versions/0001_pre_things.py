"""A table as a service would make it."""

from bulkhead_kit.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("""
    create table audit.things (
        tenant_id uuid not null,
        thing_id uuid not null,
        note text,
        constraint things_pkey primary key (tenant_id, thing_id)
    );
    call app.protect('audit.things');
    call app.rights('audit.things', 1::smallint, 2::smallint);
    grant usage on schema audit to bulkhead_audit_app;
    grant select (tenant_id, thing_id, note), insert (tenant_id, thing_id, note) on audit.things to bulkhead_audit_app;
    """)


def downgrade() -> None:
    run_sql("drop table audit.things;")
