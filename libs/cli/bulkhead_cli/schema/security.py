"""The list of requirements, in the order of README."""

from collections.abc import Iterator

from bulkhead_cli.schema import requirements as shows
from bulkhead_cli.schema.model import Catalogue
from bulkhead_cli.schema.requirements import Requirement


def _by_behaviour_only(_: Catalogue) -> Iterator[str]:
    """The catalogue cannot show it; the named tests do."""
    yield from ()


REQUIREMENTS = (
    Requirement(
        says="Nobody sees, changes or makes a row of another tenant.",
        where="`tenant_wall`, made by `app.protect` on each table of tenants that an RPC can reach",
        tests="tests/isolation",
        breaches=shows.unwalled,
    ),
    Requirement(
        says="A transaction without a tenant sees nothing, and nothing stands open to everybody.",
        where="row-level security is on and forced; without a tenant `app.current_tenant_id()` is null, which equals "
        "nothing; each policy names its roles",
        tests="tests/isolation",
        breaches=shows.unforced,
    ),
    Requirement(
        says="No row refers to another tenant's, and no key tells that it exists.",
        where="`tenant_id` is the first column of each primary, unique and foreign key",
        tests="tests/isolation",
        breaches=shows.key_not_of_tenant,
        exceptions={
            "identity.tenants.tenants_slug_key": "a tenant is found by it before anybody has logged in",
            "identity.tenants.tenants_plan_code_fkey": "plans are everybody's",
            "identity.memberships.memberships_user_id_kind_fkey": "people are global",
            "identity.api_keys.api_keys_secret_hash_key": "looked up before a tenant is known",
            "identity.invitations.invitations_token_hash_key": "looked up before a tenant is known",
        },
    ),
    Requirement(
        says="Who may only read cannot write, whatever the code does.",
        where="policies by `app.role_level()`: `read_right`, `insert_right`, `update_right`; answered calls by "
        "`app.principal()`",
        tests="tests/isolation",
        breaches=shows.right_for_all,
    ),
    Requirement(
        says="A member who was disabled or whose role changed is refused from the next call on, and no write of hers "
        "commits afterwards.",
        where="`identity.check_membership` is the first step of each transaction; advisory locks fence the writes",
        tests="tests/identity",
        breaches=_by_behaviour_only,
    ),
    Requirement(
        says="What is internal does not exist for viewers.",
        where="`visibility` in the policies of comments and their revisions; the whole log is for admins and above",
        tests="tests/isolation",
        breaches=shows.internal_shown,
    ),
    Requirement(
        says="Every change is recorded, with who and when, and nobody can forge or forget it.",
        where="trigger `zz_capture` writes the outbox in the transaction of the change; no login but the relay has a "
        "right on it",
        tests="tests/isolation",
        breaches=shows.not_delivered_safely,
        exceptions={
            "*.outbox": "it is where changes are recorded",
            "*.outbox_parked": "transport",
            "*.request_ids": "answers to calls; what the calls changed is captured",
            "identity.user_request_ids": "answers to calls; what the calls changed is captured",
            "identity.login_throttles": "counts of tries; failed and refused ones leave events of their own",
            "identity.face_changes": "transport; the change and what it shows are captured",
            "identity.mail_limits": "counts of mails",
            "identity.mails": "queued by changes that are captured",
            "identity.tenant_usage": "counted from rows that are captured",
            "issues.issue_status_history": "derived from issues, which are captured",
            "issues.issue_changes": "derived from issues, which are captured",
            "issues.comment_revisions": "derived from comments, which are captured",
        },
    ),
    Requirement(
        says="The log never changes, and what is personal in it can be taken from it without breaking it.",
        where="triggers refuse `update`, `delete` and `truncate`, for owner and superuser too; `audit.event_values` is "
        "apart from `audit.events`",
        tests="tests/audit",
        breaches=shows.changeable_log,
        exceptions={
            "audit.logs.bulkhead_audit_app.update": "to take the head for an append; a trigger refuses every "
            "change but the append's own",
        },
    ),
    Requirement(
        says="Nothing that a user does deletes a row.",
        where="`delete` is granted for transport and expiry only, to the roles below",
        tests="tests/isolation",
        breaches=shows.deletable,
    ),
    Requirement(
        says="No secret is stored, only what proves it, and that is shown to nobody.",
        where="checks on the form of each hash; columns left out of grants and of capture",
        tests="tests/identity",
        breaches=shows.open_secret,
    ),
    Requirement(
        says="A service can do what its RPCs need, and no more.",
        where="a role for each task, grants by column, nothing to `public`, no right to give rights on; see "
        "[roles](roles.md)",
        tests="tests/isolation",
        breaches=shows.open_to_all,
    ),
    Requirement(
        says="No login owns anything, can become an owner, or reads past the policies.",
        where="`roles.sql`",
        tests="tests/isolation",
        breaches=shows.mighty_login,
        exceptions={"bulkhead_backup": "a dump must miss no row; no service uses it"},
    ),
    Requirement(
        says="A function with its owner's rights cannot be turned against him.",
        where="`search_path` fixed to `pg_catalog, pg_temp`, names qualified, `TEMP` and `CREATE` revoked",
        tests="tests/isolation",
        breaches=shows.open_path,
    ),
    Requirement(
        says="One caller cannot hold the others up for long.",
        where="`statement_timeout`, `lock_timeout` and `idle_in_transaction_session_timeout` of each login",
        tests="tests/schema",
        breaches=shows.untimed,
    ),
)
