"""Nobody reports in another's name, nothing is resolved in the future, and an issue carries a hundred labels at most."""

from bulkhead_kit.migrations import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(REPORTER)
    run_sql(RESOLUTION)
    run_sql(LABELS)


def downgrade() -> None:
    run_sql("""
    drop trigger yb_count_again on issues.issue_labels;
    drop trigger yb_count on issues.issue_labels;
    drop function issues.count_labels();
    drop trigger be_resolution on issues.issues;
    drop function issues.check_resolution();
    alter policy insert_right on issues.issues with check (app.role_level() >= 2);
    """)


# As of comments; only admins import.
REPORTER = """
alter policy insert_right on issues.issues
with check (app.role_level() >= 2 and (reporter_id = app.current_user_id() or app.importing()));
"""

RESOLUTION = """
create function issues.check_resolution() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.resolved_at > now() + interval '1 hour' then
        perform app.refuse(3, 'INVALID_FIELD', 'close_time: must not be in the future', '{"field": "close_time"}');
    end if;
    return new;
end
$$;
comment on function issues.check_resolution() is
'Refuses a time of resolution that an import says is still to come: the history would go on from there.';
revoke all on function issues.check_resolution() from public;
-- After bb_status, which sets the time where no import does.
create trigger be_resolution before insert or update of resolved_at on issues.issues
for each row when (new.resolved_at is not null) execute function issues.check_resolution();
"""

# An issue and its labels have to fit into one message, or nobody could read it, nor a list it is in.
LABELS = """
create function issues.count_labels() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Two labels at once: the second counts when the first has been put on.
    perform from issues.issues as i
    where i.tenant_id = new.tenant_id and i.issue_id = new.issue_id
    for no key update;
    if (
        select count(*) from issues.issue_labels as l
        where l.tenant_id = new.tenant_id and l.issue_id = new.issue_id and l.removed_at is null
    ) > 100 then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'the issue carries 100 labels, which is the most', '{"state": "too_many_labels"}'
        );
    end if;
    return null;
end
$$;
comment on function issues.count_labels() is 'Keeps an issue from carrying more than 100 labels.';
revoke all on function issues.count_labels() from public;
-- Afterwards: a label that the issue carries already is put on again without effect.
create trigger yb_count after insert on issues.issue_labels
for each row when (new.removed_at is null) execute function issues.count_labels();
create trigger yb_count_again after update of removed_at on issues.issue_labels
for each row when (old.removed_at is not null and new.removed_at is null) execute function issues.count_labels();
"""
