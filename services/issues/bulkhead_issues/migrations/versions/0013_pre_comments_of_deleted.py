"""What was said of a deleted issue stays as it is until the issue comes back."""

from bulkhead_kit.migrations import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql(HOLD_ISSUE)


def downgrade() -> None:
    run_sql("""
    drop trigger bb_hold_issue on issues.comments;
    drop function issues.hold_issue();
    """)


HOLD_ISSUE = """
create function issues.hold_issue() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Whoever is deleting the issue waits for this change, or it finds the issue deleted.
    perform 1 from issues.issues as i
    where i.tenant_id = new.tenant_id and i.issue_id = new.issue_id and i.deleted_at is null for share;
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such issue', '{"resource": "issue"}');
    end if;
    return new;
end
$$;
revoke all on function issues.hold_issue() from public;
comment on function issues.hold_issue() is
'A comment of a deleted issue is neither edited nor deleted; an import brings what it brings.';
create trigger bb_hold_issue before update of body, deleted_at on issues.comments
for each row when (not app.importing()) execute function issues.hold_issue();
"""
