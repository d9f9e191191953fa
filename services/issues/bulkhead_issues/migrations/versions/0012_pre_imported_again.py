"""An import knows again what it brought by more than names that change: comments by their texts, issues by their ids."""

from bulkhead_kit.migrations import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql(BODY_DIGEST)
    run_sql(CAPTURE.replace("{ignored}", "{external_digest,external_body_digest,revision}"))
    run_sql(BY_ID)
    run_sql(PEOPLE)


def downgrade() -> None:
    run_sql("""
    revoke update (reporter_id) on issues.issues from bulkhead_issues_app;
    revoke update (author_id) on issues.comments from bulkhead_issues_app;
    drop trigger bf_reporter on issues.issues;
    drop trigger bb_author on issues.comments;
    drop function issues.keep_person();
    drop index issues.issues_by_external_id_idx;
    alter table issues.comments drop column external_body_digest;
    """)
    run_sql(CAPTURE.replace("{ignored}", "{external_digest,revision}"))


# A source that gives comments no ids has them told apart by issue, time and text. The text here may have been edited
# since, so what it was is kept; of comments imported earlier the text as it is now has to do.
BODY_DIGEST = """
alter table issues.comments add column external_body_digest bytea;
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore constraint-missing-not-valid
alter table issues.comments add constraint comments_external_body_digest_check
check (octet_length(external_body_digest) = 32);
comment on column issues.comments.external_body_digest is
'SHA-256 of the text as last imported, by which a comment without an id of its own is known again.';
grant select (external_body_digest), insert (external_body_digest), update (external_body_digest)
on issues.comments to bulkhead_issues_app;
"""

CAPTURE = """
call app.capture_on(
    'issues.comments', 'comment', '{comment_id}', '{ignored}',
    jsonb_build_object(
        'project_id',
        '(select i.project_id from issues.issues as i '
        'where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id)',
        'visibility', 'r.visibility'
    )
);
"""

# Of a source whose repositories are renamed and transferred, but whose ids stay.
BY_ID = """
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore require-concurrent-index-creation
create index issues_by_external_id_idx on issues.issues (tenant_id, external_id)
where external_id is not null;
"""

# An account is renamed or closed in the source: what it wrote is another's name then. Here nobody signs over what
# somebody said, but an import that says so.
PEOPLE = """
create function issues.keep_person() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not app.importing() then
        raise insufficient_privilege using message = 'who reported or said it is changed by an import only';
    end if;
    return new;
end
$$;
comment on function issues.keep_person() is 'Keeps the reporter of an issue and the author of a comment.';
revoke all on function issues.keep_person() from public;
create trigger bf_reporter before update of reporter_id on issues.issues
for each row when (new.reporter_id is distinct from old.reporter_id) execute function issues.keep_person();
create trigger bb_author before update of author_id on issues.comments
for each row when (new.author_id is distinct from old.author_id) execute function issues.keep_person();
grant update (reporter_id) on issues.issues to bulkhead_issues_app;
grant update (author_id) on issues.comments to bulkhead_issues_app;
"""
