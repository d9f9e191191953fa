"""The audit log names what changed of a tenant, a member, a session ... as their messages do."""

from bulkhead_kit.migrations import run_sql

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    run_sql(with_roles(PLATFORM))
    run_sql(with_roles(TENANTS))
    run_sql(PEOPLE)
    run_sql(NOTE)


def downgrade() -> None:
    run_sql(NOTE_BEFORE)
    run_sql(BEFORE)


def with_roles(statements: str) -> str:
    return statements.replace("{ROLES}", ROLES)


ROLES = """{"field": "role", "values": {
            "1": "ROLE_VIEWER", "2": "ROLE_MEMBER", "3": "ROLE_MANAGER", "4": "ROLE_ADMIN", "5": "ROLE_OWNER"
        }}"""

# What sets somebody's limits is a part of the tenant: overrides.max_users is max_users of PlatformTenant's overrides.
PLATFORM = """
call app.capture_on('identity.plans', 'plan', '{plan_id}', p_fields => '{}');
call app.capture_on('identity.tenant_allowances', 'tenant_allowance', '{user_id}', p_fields => '{}');
call app.capture_on(
    'identity.tenants', 'tenant', '{tenant_id}', p_fields => '{
        "status": {"field": "state", "values": {
            "active": "STATE_ACTIVE", "suspended": "STATE_SUSPENDED", "deleted": "STATE_DELETED"
        }},
        "status_reason": "state_reason",
        "status_changed_at": "state_change_time",
        "status_changed_by": "state_changed_by",
        "max_users_override": "overrides.max_users",
        "max_projects_override": "overrides.max_projects",
        "max_storage_bytes_override": "overrides.max_storage_bytes",
        "size": {"field": "size", "values": {
            "1-10": "SIZE_1_TO_10", "11-50": "SIZE_11_TO_50", "51-200": "SIZE_51_TO_200",
            "201-1000": "SIZE_201_TO_1000", "1001+": "SIZE_OVER_1000"
        }},
        "deleted_at": "delete_time",
        "purge_after": "purge_time"
    }'
);
call app.capture_on(
    'identity.support_grants', 'support_grant', '{grant_id}', p_fields => '{
        "role": {ROLES},
        "expires_at": "expire_time",
        "revoked_at": "revoke_time"
    }'
);
call app.capture_on('identity.support_entries', 'support_entry', '{entry_id}', p_fields => '{}');
"""

TENANTS = """
call app.capture_on(
    'identity.memberships', 'member', '{user_id}', p_fields => '{
        "kind": {"field": "kind", "values": {
            "person": "KIND_PERSON", "service": "KIND_SERVICE_ACCOUNT", "placeholder": "KIND_PLACEHOLDER"
        }},
        "role": {ROLES},
        "status": {"field": "state", "values": {"active": "STATE_ACTIVE", "disabled": "STATE_DISABLED"}},
        "joined_at": "join_time",
        "disabled_at": "disable_time",
        "left_at": "leave_time",
        "support_until": "support_end_time"
    }'
);
call app.capture_on(
    'identity.invitations', 'invitation', '{invitation_id}', '{token_hash}', p_fields => '{
        "role": {ROLES},
        "status": {"field": "state", "values": {
            "open": "STATE_OPEN", "accepted": "STATE_ACCEPTED", "revoked": "STATE_REVOKED", "expired": "STATE_EXPIRED"
        }},
        "expires_at": "expire_time",
        "accepted_at": "accept_time",
        "revoked_at": "revoke_time"
    }'
);
call app.capture_on('identity.teams', 'team', '{team_id}', p_fields => '{"archived_at": "archive_time"}');
call app.capture_on(
    'identity.team_members', 'team_member', '{team_id,user_id}',
    p_fields => '{"added_at": "add_time", "removed_at": "remove_time"}'
);
call app.capture_on(
    'identity.api_keys', 'api_key', '{api_key_id}', '{secret_hash,last_used_at}',
    p_fields => '{"expires_at": "expire_time", "revoked_at": "revoke_time"}'
);
"""

PEOPLE = """
call app.capture_on(
    'identity.users', 'user', '{user_id}', '{last_login_at}', p_fields => '{
        "kind": {"field": "kind", "values": {
            "person": "KIND_PERSON", "service": "KIND_SERVICE_ACCOUNT", "placeholder": "KIND_PLACEHOLDER"
        }},
        "email_verified_at": "email_verify_time",
        "status": "state"
    }'
);
call app.capture_on(
    'identity.user_profiles', 'user_profile', '{user_id}', p_fields => '{"is_onboarded": "onboarded"}'
);
call app.capture_on(
    'identity.user_credentials', 'credential', '{user_id}', '{password_hash}',
    p_fields => '{"password_changed_at": "password_change_time"}'
);
call app.capture_on(
    'identity.sessions', 'session', '{session_id}', '{last_seen_at}',
    p_fields => '{"expires_at": "expire_time", "revoked_at": "revoke_time", "revoked_reason": "revoke_reason"}',
    p_removals => false
);
call app.capture_on(
    'identity.refresh_tokens', 'refresh_token', '{refresh_token_id}', '{token_hash}',
    p_fields => '{"expires_at": "expire_time"}', p_removals => false
);
call app.capture_on(
    'identity.one_time_tokens', 'one_time_token', '{token_id}', '{token_hash,used_by_request,password_hash,full_name}',
    p_fields => '{"expires_at": "expire_time", "used_at": "use_time", "revoked_at": "revoke_time"}',
    p_removals => false
);
call app.capture_on(
    'identity.mail_asks', 'mail_ask', '{ask_id}', '{request_digest,ip,answered_at,mailed_at}',
    p_fields => '{}', p_removals => false
);
"""

# By the same data as the capture of the row.
NOTE = """
create or replace function identity.note_platform_act() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The tenant's own log has it from the capture of the row; this is the same for those who watch the platform.
    insert into identity.outbox (tenant_id, action, entity_type, entity_id, changes)
    select
        app.platform_log_id(), tg_argv[0], 'tenant', new.tenant_id,
        coalesce(jsonb_object_agg(n.key, jsonb_build_array(o.value, n.value)), '{}')
    from jsonb_each(app.told('identity.tenants', to_jsonb(new))) as n
    left join jsonb_each(app.told('identity.tenants', to_jsonb(old))) as o on o.key = n.key
    where n.value is distinct from coalesce(o.value, 'null');
    return null;
end
$$;
"""

NOTE_BEFORE = """
create or replace function identity.note_platform_act() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The tenant's own log has it from the capture of the row; this is the same for those who watch the platform.
    insert into identity.outbox (tenant_id, action, entity_type, entity_id, changes)
    select
        app.platform_log_id(), tg_argv[0], 'tenant', new.tenant_id,
        coalesce(jsonb_object_agg(n.key, jsonb_build_array(o.value, n.value)), '{}')
    from jsonb_each(to_jsonb(new)) as n
    left join jsonb_each(to_jsonb(old)) as o on o.key = n.key
    where
        n.value is distinct from coalesce(o.value, 'null')
        and n.key not in ('tenant_id', 'created_at', 'updated_at', 'version');
    return null;
end
$$;
"""

BEFORE = """
call app.capture_on('identity.plans', 'plan', '{plan_id}');
call app.capture_on('identity.tenant_allowances', 'tenant_allowance', '{user_id}');
call app.capture_on('identity.tenants', 'tenant', '{tenant_id}');
call app.capture_on('identity.support_grants', 'support_grant', '{grant_id}');
call app.capture_on('identity.support_entries', 'support_entry', '{entry_id}');
call app.capture_on('identity.memberships', 'member', '{user_id}');
call app.capture_on('identity.invitations', 'invitation', '{invitation_id}', '{token_hash}');
call app.capture_on('identity.teams', 'team', '{team_id}');
call app.capture_on('identity.team_members', 'team_member', '{team_id,user_id}');
call app.capture_on('identity.api_keys', 'api_key', '{api_key_id}', '{secret_hash,last_used_at}');
call app.capture_on('identity.users', 'user', '{user_id}', '{last_login_at}');
call app.capture_on('identity.user_profiles', 'user_profile', '{user_id}');
call app.capture_on('identity.user_credentials', 'credential', '{user_id}', '{password_hash}');
call app.capture_on('identity.sessions', 'session', '{session_id}', '{last_seen_at}', p_removals => false);
call app.capture_on(
    'identity.refresh_tokens', 'refresh_token', '{refresh_token_id}', '{token_hash}', p_removals => false
);
call app.capture_on(
    'identity.one_time_tokens', 'one_time_token', '{token_id}', '{token_hash,used_by_request,password_hash,full_name}',
    p_removals => false
);
call app.capture_on(
    'identity.mail_asks', 'mail_ask', '{ask_id}', '{request_digest,ip,answered_at,mailed_at}', p_removals => false
);
"""
