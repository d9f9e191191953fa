"""Rules over functions: which may look past the wall, and how they are fenced in."""

from __future__ import annotations

from tests.isolation.catalogue import CatalogueRule

DEFINERS = {
    "audit.make_months": "makes partitions; reads nothing",
    "issues.lead_delivery": "the lock of the one relay that delivers; reads nothing",
    "issues.record_event": "events without a row, such as a refused call",
    "identity.accept_invitation": "finds the tenant by the token's hash",
    "identity.answer_mail_ask": "the worker finds out whether an address has an account; the caller is not told",
    "identity.ask_for_mail": "answers alike for known and unknown addresses",
    "identity.change_password": "the caller's own, whose session lasts",
    "identity.check_membership": "the first step of every transaction of a member",
    "identity.check_closing": "the first step of a member's call that shuts somebody out",
    "identity.check_platform_admin": "whether the caller administers the platform now",
    "identity.check_tenant": "the first step of every transaction of a service",
    "identity.claim_attempt": "counts tries of a password before anybody is known",
    "identity.claim_project": "counts a project against the plan of the context's tenant",
    "identity.create_service_account": "makes a member of the context's tenant, and its users row",
    "identity.close_account": "ends the caller's own account, in all her tenants",
    "identity.create_tenant": "there is no tenant before it",
    "identity.delete_tenant": "ends the caller's own tenant, after the membership check of every member's call",
    "identity.enter_support": "makes a platform administrator a member where a grant is open",
    "identity.expire_invitations": "gives seats of expired invitations back, in one tenant",
    "identity.find_api_key": "finds the tenant by the key's hash",
    "identity.find_credentials": "Login, before anybody is known",
    "identity.find_own_credentials": "ChangePassword, of the caller's own account",
    "identity.find_reset": "finds a person by the token's hash",
    "identity.forget_failures": "the other half of claim_attempt",
    "identity.give_back_attempt": "the way back of claim_attempt",
    "identity.give_back_verification": "the way back of try_verification",
    "identity.has_member": "whether an address belongs to a member of the context's tenant",
    "identity.hold_team": "whether a team of the context's tenant is archived, for the issues service",
    "identity.hold_tenant": "locks a tenant for a platform administrator; reads nothing",
    "identity.import_members": "makes placeholders in the context's tenant, and their users rows",
    "identity.lead_delivery": "the lock of the one relay that delivers; reads nothing",
    "identity.leave_tenant": "ends the caller's own membership, which is not the context's",
    "identity.lock_limits": "locks the usage of the context's tenant",
    "identity.lookup_tenant": "what a login page shows of one slug, before anybody is known",
    "identity.mail_invitation": "queues and counts the mail of an invitation of the context's tenant",
    "identity.my_tenants": "the caller's own memberships over all tenants",
    "identity.record_event": "events without a row, such as a failed login",
    "identity.release_project": "the other half of claim_project",
    "identity.reset_password": "finds a person by the token's hash",
    "identity.rotate_refresh_token": "finds a session by the token's hash",
    "identity.select_tenant": "the caller's own membership of one tenant",
    "identity.set_tenant_limit": "how many tenants a person makes, by a platform administrator",
    "identity.sign_up": "answers alike for known and unknown addresses",
    "identity.spread_face": "the worker shows a person's own name in their tenants",
    "identity.start_session": "Login, before a session is there",
    "identity.try_verification": "finds the password of a sign-up by the token's hash",
    "identity.undelete_tenant": "a deleted tenant cannot be entered; its owners only",
    "identity.verify_email": "finds a person by the token's hash",
}

RULES = [
    CatalogueRule(
        "the list of definer functions is closed",
        """
        select name, 'runs with the rights of ' || proowner::regrole from functions
        where prosecdef and not (
            prorettype = 'trigger'::regtype and proowner = to_regrole('bulkhead_' || schema || '_owner')
        )
        """,
        """
        create function issues.peek() returns bigint language sql security definer
        set search_path = pg_catalog, pg_temp return 1;
        """,
        DEFINERS,
    ),
    CatalogueRule(
        "definer functions of the list belong to definer roles",
        """
        select name, 'belongs to ' || proowner::regrole from functions
        where prosecdef and prorettype <> 'trigger'::regtype
            and proowner::regrole::text not in (
                'bulkhead_identity_definer', 'bulkhead_issues_definer', 'bulkhead_issues_search',
                'bulkhead_audit_partition'
            )
        """,
        "alter function identity.select_tenant(uuid, uuid) owner to bulkhead_identity_owner",
    ),
    CatalogueRule(
        "definer functions have a fixed search_path",
        """
        select name, 'has no fixed search_path' from functions
        where prosecdef and not coalesce('search_path=pg_catalog, pg_temp' = any(proconfig), false)
        """,
        "alter function identity.select_tenant(uuid, uuid) reset search_path",
    ),
    CatalogueRule(
        "no function is public",
        """
        select distinct f.name, 'may be run by everybody' from functions as f, aclexplode(f.acl) as g
        where g.grantee = 0
        """,
        "create function issues.open() returns integer language sql return 1",
    ),
    CatalogueRule(
        "trigger functions are nobody's to call",
        """
        select distinct f.name || ':' || g.grantee::regrole, 'may be called' from functions as f, aclexplode(f.acl) as g
        where f.prorettype = 'trigger'::regtype and f.prosecdef and g.grantee <> f.proowner
        """,
        "grant execute on function issues.capture_labels() to bulkhead_issues_app",
    ),
    CatalogueRule(
        "across schemas only published functions are run",
        """
        select distinct f.name || ':' || g.grantee::regrole, 'is run from another schema'
        from functions as f, aclexplode(f.acl) as g
        where f.schema <> 'app' and g.grantee <> f.proowner and g.grantee <> 0
            and g.grantee::regrole::text !~ ('^bulkhead_' || f.schema || '_')
        """,
        "grant execute on function identity.my_tenants(uuid, integer, boolean) to bulkhead_issues_app",
        {
            "identity.check_platform_admin:bulkhead_platform_app": "the role of identity's own PlatformService",
            "identity.enter_support:bulkhead_platform_app": "the role of identity's own PlatformService",
            "identity.hold_tenant:bulkhead_platform_app": "the role of identity's own PlatformService",
            "identity.set_tenant_limit:bulkhead_platform_app": "the role of identity's own PlatformService",
            "identity.check_membership:bulkhead_issues_app": "published",
            "identity.check_membership:bulkhead_audit_app": "published",
            "identity.check_tenant:bulkhead_issues_app": "published",
            "identity.check_tenant:bulkhead_audit_app": "published",
            "identity.claim_project:bulkhead_issues_app": "published",
            "identity.hold_team:bulkhead_issues_app": "published",
            "identity.find_api_key:bulkhead_audit_app": "published",
            "identity.find_api_key:bulkhead_issues_app": "published",
            "identity.lock_limits:bulkhead_issues_app": "published",
            "identity.release_project:bulkhead_issues_app": "published",
        },
    ),
    CatalogueRule(
        "no login takes locks, makes large objects or writes WAL by itself",
        """
        select distinct p.oid::regprocedure || ':' || coalesce(nullif(g.grantee, 0)::regrole::text, 'public'), 'is open'
        from pg_proc as p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as g
        left join pg_roles as r on r.oid = g.grantee
        where p.pronamespace = 'pg_catalog'::regnamespace and g.grantee <> p.proowner
            and (g.grantee = 0 or r.rolcanlogin)
            and p.proname ~ '(advisory|^lo_|^loread$|^lowrite$|emit_message|_backend$)'
            and p.proname !~ '^(pg_stat_get_|pg_isolation)'
        """,
        "grant execute on function pg_try_advisory_lock_shared(integer, integer) to bulkhead_issues_relay",
    ),
]
