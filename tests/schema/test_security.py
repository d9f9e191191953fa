"""The catalogue keeps the requirements that docs/schema/README.md states, and each can be broken."""

from __future__ import annotations

import pytest
from bulkhead_cli.schema.model import Catalogue
from bulkhead_cli.schema.requirements import Requirement
from bulkhead_cli.schema.security import REQUIREMENTS

from tests.schema.conftest import ROOT, Altered

# For each requirement, by the name of its check: what would break it, and what would be found.
BREACHES = (
    ("unwalled", "drop policy tenant_wall on issues.labels", "issues.labels"),
    ("unwalled", "alter policy tenant_wall on issues.labels using (true)", "issues.labels"),
    ("unwalled", "alter policy tenant_wall on issues.labels with check (true)", "issues.labels"),
    ("unwalled", "alter policy tenant_wall on issues.labels to bulkhead_issues_worker", "issues.labels"),
    ("unforced", "alter table issues.labels no force row level security", "issues.labels"),
    ("unforced", "alter table audit.logs disable row level security", "audit.logs"),
    ("unforced", "alter policy read_right on issues.labels to public", "issues.labels.read_right"),
    (
        "unforced",
        "alter policy read_right on issues.labels using (name = current_setting('app.name'))",
        "issues.labels.read_right",
    ),
    ("key_not_of_tenant", "alter table issues.labels add constraint k unique (label_id)", "issues.labels.k"),
    ("key_not_of_tenant", "create unique index k on issues.labels (name_key)", "issues.labels.k"),
    (
        "key_not_of_tenant",
        "alter table issues.labels add constraint k foreign key (created_by) references identity.users (user_id)",
        "issues.labels.k",
    ),
    ("right_for_all", "alter policy insert_right on issues.labels with check (true)", "issues.labels.insert_right"),
    ("right_for_all", "create policy p on issues.labels to bulkhead_issues_app using (true)", "issues.labels.p"),
    (
        "internal_shown",
        "alter policy read_right on issues.comments using (app.role_level() >= 1)",
        "issues.comments.read_right",
    ),
    ("not_delivered_safely", "drop trigger zz_capture on identity.users", "identity.users"),
    (
        "not_delivered_safely",
        "grant insert on issues.outbox to bulkhead_issues_app",
        "issues.outbox.bulkhead_issues_app",
    ),
    ("changeable_log", "drop trigger no_truncate on audit.events", "audit.events.truncate"),
    ("changeable_log", "alter table audit.events disable trigger no_change", "audit.events.update"),
    (
        "changeable_log",
        "grant update (outcome) on audit.events to bulkhead_audit_app",
        "audit.events.bulkhead_audit_app.update",
    ),
    ("deletable", "grant delete on issues.labels to bulkhead_issues_app", "issues.labels.bulkhead_issues_app"),
    ("deletable", "grant truncate on issues.labels to bulkhead_issues_worker", "issues.labels.bulkhead_issues_worker"),
    (
        "open_secret",
        "alter table identity.refresh_tokens drop constraint refresh_tokens_token_hash_check",
        "identity.refresh_tokens.token_hash",
    ),
    (
        "open_secret",
        "grant select (token_hash) on identity.invitations to bulkhead_identity_app",
        "identity.invitations.token_hash.bulkhead_identity_app",
    ),
    (
        "open_secret",
        "set local role bulkhead_identity_owner;"
        " call app.capture_on('identity.refresh_tokens', 'token', '{session_id}')",
        "identity.refresh_tokens.token_hash",
    ),
    ("open_to_all", "grant select on issues.labels to public", "issues.labels.public"),
    (
        "open_to_all",
        "grant select on issues.labels to bulkhead_issues_app with grant option",
        "issues.labels.bulkhead_issues_app",
    ),
    ("open_to_all", "grant usage on schema identity to public", "identity"),
    (
        "open_to_all",
        "grant execute on function identity.find_credentials(text) to public",
        "identity.find_credentials(text)",
    ),
    ("mighty_login", "alter role bulkhead_issues_app bypassrls", "bulkhead_issues_app"),
    ("mighty_login", "alter role bulkhead_issues_owner superuser", "bulkhead_issues_owner"),
    ("mighty_login", "grant bulkhead_issues_owner to bulkhead_issues_app", "bulkhead_issues_app"),
    ("mighty_login", "alter table issues.labels owner to bulkhead_issues_app", "bulkhead_issues_app"),
    (
        "open_path",
        "alter function identity.find_credentials(text) reset search_path",
        "identity.find_credentials(text)",
    ),
    ("untimed", "alter role bulkhead_issues_app reset lock_timeout", "bulkhead_issues_app"),
)
BY_CHECK = {requirement.breaches.__name__: requirement for requirement in REQUIREMENTS}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.breaches.__name__)
def test_the_catalogue_keeps_the_requirement(requirement: Requirement, found: Catalogue) -> None:
    assert not requirement.broken_by(found), requirement.says
    assert not requirement.needless(found), "these need no exception any more"


@pytest.mark.parametrize(("check", "change", "name"), BREACHES)
def test_a_breach_is_found(check: str, change: str, name: str, altered: Altered) -> None:
    assert name in BY_CHECK[check].broken_by(altered(change))


def test_each_check_has_its_breach() -> None:
    checked = {name for name in BY_CHECK if name != "_by_behaviour_only"}
    assert {check for check, _, _ in BREACHES} == checked
    assert len(REQUIREMENTS) == len(checked) + 1


def test_the_named_tests_exist() -> None:
    for requirement in REQUIREMENTS:
        assert list((ROOT / requirement.tests).glob("**/test_*.py")), requirement.tests
