"""Comments, and every earlier version of them."""

from bulkhead_kit.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(COMMENTS)
    run_sql(COMMENT_RIGHTS)
    run_sql(REVISIONS)
    run_sql(RECORD_REVISION)


def downgrade() -> None:
    run_sql("""
    drop table issues.comment_revisions;
    drop table issues.comments;
    drop function issues.capture_comments();
    drop function issues.record_revision();
    drop function issues.number_revision();
    """)


COMMENTS = """
create table issues.comments (
    tenant_id uuid not null,
    comment_id uuid not null,
    issue_id uuid not null,
    author_id uuid not null,
    visibility smallint not null default 1,
    body text not null,
    revision integer not null default 1,
    external_source text,
    external_id text,
    external_digest bytea,
    deleted_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint comments_pkey primary key (tenant_id, comment_id),
    constraint comments_tenant_id_issue_id_fkey
    foreign key (tenant_id, issue_id) references issues.issues (tenant_id, issue_id) on delete restrict,
    constraint comments_tenant_id_author_id_fkey
    foreign key (tenant_id, author_id) references identity.memberships (tenant_id, user_id) on delete restrict,
    constraint comments_visibility_check check (visibility in (1, 2)),
    constraint comments_body_check check (length(body) between 1 and 100000),
    constraint comments_revision_check check (revision > 0),
    constraint comments_external_id_check
    check (
        (external_source is null) = (external_id is null)
        and length(external_source) between 1 and 200
        and length(external_id) between 1 and 500
    ),
    constraint comments_external_digest_check check (octet_length(external_digest) = 32)
);
create index comments_by_issue_idx on issues.comments (tenant_id, issue_id, created_at, comment_id);
create index comments_tenant_id_author_id_idx on issues.comments (tenant_id, author_id);
create unique index comments_tenant_id_external_key on issues.comments (tenant_id, external_source, external_id)
where external_id is not null;
comment on table issues.comments is 'What is said about an issue. An internal comment does not exist for viewers.';
comment on column issues.comments.body is 'The text.';
comment on column issues.comments.visibility is
'1 everyone of the tenant, 2 internal: members and above; never changes';
comment on column issues.comments.revision is 'Number of the text in body; earlier ones are in comment_revisions.';
comment on column issues.comments.external_digest is 'SHA-256 of the comment as last imported.';
"""

COMMENT_RIGHTS = """
call app.protect('issues.comments');
create policy read_right on issues.comments for select to bulkhead_issues_app
using (app.role_level() >= 1 and (visibility = 1 or app.role_level() >= 2));
-- Nobody speaks in another's name, but for an import that brings authors of its own.
create policy insert_right on issues.comments for insert to bulkhead_issues_app
with check (
    app.role_level() >= 2
    and (author_id = app.current_user_id() or (app.importing() and app.role_level() >= 4))
);
create policy update_right on issues.comments for update to bulkhead_issues_app
using (app.role_level() >= 2 and (author_id = app.current_user_id() or app.role_level() >= 3))
with check (app.role_level() >= 2 and (author_id = app.current_user_id() or app.role_level() >= 3));
grant
select (
    tenant_id, comment_id, issue_id, author_id, visibility, body, revision, external_source, external_id,
    external_digest, deleted_at, created_at, created_by, updated_at, version
),
insert (
    tenant_id, comment_id, issue_id, author_id, visibility, body, external_source, external_id, external_digest,
    created_at, updated_at
),
update (body, external_digest, deleted_at, updated_at)
on issues.comments to bulkhead_issues_app;
create trigger aa_stamp before insert or update on issues.comments
for each row execute function app.stamp();
call app.capture_on(
    'issues.comments', 'comment', '{comment_id}', '{external_digest,revision}',
    jsonb_build_object(
        'project_id',
        '(select i.project_id from issues.issues as i '
        'where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id)',
        'visibility', 'r.visibility'
    )
);
"""

REVISIONS = """
create table issues.comment_revisions (
    tenant_id uuid not null,
    comment_id uuid not null,
    revision integer not null,
    visibility smallint not null,
    body text not null,
    replaced_at timestamptz not null,
    replaced_by uuid,
    constraint comment_revisions_pkey primary key (tenant_id, comment_id, revision),
    constraint comment_revisions_tenant_id_comment_id_fkey
    foreign key (tenant_id, comment_id) references issues.comments (tenant_id, comment_id) on delete restrict,
    constraint comment_revisions_revision_check check (revision > 0),
    constraint comment_revisions_visibility_check check (visibility in (1, 2))
);
call app.protect('issues.comment_revisions');
create policy read_right on issues.comment_revisions for select to bulkhead_issues_app
using (app.role_level() >= 1 and (visibility = 1 or app.role_level() >= 2));
grant select (tenant_id, comment_id, revision, visibility, body, replaced_at, replaced_by)
on issues.comment_revisions to bulkhead_issues_app;
comment on table issues.comment_revisions is
'Earlier texts of edited comments. Derived by trigger, so it is not captured a second time.';
comment on column issues.comment_revisions.revision is 'Number of the earlier text, from 1.';
comment on column issues.comment_revisions.body is 'The text as it was.';
comment on column issues.comment_revisions.replaced_at is 'When the next text took its place.';
comment on column issues.comment_revisions.replaced_by is 'Who edited it.';
comment on column issues.comment_revisions.visibility is 'The comment''s, so that the policy needs no other row.';
"""

RECORD_REVISION = """
create function issues.number_revision() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.revision := old.revision + 1;
    return new;
end
$$;
comment on function issues.number_revision() is 'A new text has the next number.';
revoke all on function issues.number_revision() from public;
create trigger ba_number_revision before update of body on issues.comments
for each row when (new.body is distinct from old.body) execute function issues.number_revision();

create function issues.record_revision() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into issues.comment_revisions (
        tenant_id, comment_id, revision, visibility, body, replaced_at, replaced_by
    )
    values (
        old.tenant_id, old.comment_id, old.revision, old.visibility, old.body, new.updated_at,
        case when not app.importing() then app.current_user_id() end
    );
    return null;
end
$$;
comment on function issues.record_revision() is 'Keeps the text that an edit replaces.';
revoke all on function issues.record_revision() from public;
create trigger ya_record_revision after update of body on issues.comments
for each row when (new.body is distinct from old.body) execute function issues.record_revision();
"""
