"""How many tenants somebody may make is identity's to say, and nobody else's."""

from bulkhead_kit.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(
        KINDS.replace(
            "'tenant', 'user', 'user_profile'", "'tenant', 'tenant_allowance', 'user',\n        'user_profile'"
        )
    )


def downgrade() -> None:
    run_sql(KINDS)


KINDS = """
create or replace function audit.kind_owner(p_kind text) returns text
language sql immutable parallel safe
return case
    when p_kind in (
        'api_key', 'credential', 'invitation', 'mail_ask', 'member', 'one_time_token', 'plan', 'refresh_token',
        'session', 'support_entry', 'support_grant', 'team', 'team_member', 'tenant', 'user', 'user_profile'
    ) then 'identity'
    when p_kind in (
        'comment', 'issue', 'issue_label', 'label', 'project', 'status', 'status_transition', 'workspace'
    ) then 'issues'
end;
"""
