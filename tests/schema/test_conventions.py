"""Names keep the rules that docs/schema/README.md states, and each rule can be broken."""

from __future__ import annotations

import pytest
from bulkhead_cli.schema.conventions import RULES, Rule
from bulkhead_cli.schema.model import Catalogue

from tests.schema.conftest import Altered

# For each rule, in their order: what would break it, and the name that would be found.
BREACHES = (
    ('alter table issues.labels add column "camelCase" text', "camelCase"),
    ("create table issues.label_box (tenant_id uuid)", "issues.label_box"),
    ("alter table issues.labels add column planted_id text", "issues.labels.planted_id"),
    ("alter table issues.labels add column planted_by text", "issues.labels.planted_by"),
    ("alter table issues.labels add column planted_at timestamp", "issues.labels.planted_at"),
    ("alter table issues.labels add column planted date", "issues.labels.planted"),
    ("alter table issues.labels add column planted boolean", "issues.labels.planted"),
    ("alter table issues.labels add column planted_key text", "issues.labels.planted_key"),
    ("alter table issues.labels add column planted_hash text", "issues.labels.planted_hash"),
    ("alter table issues.labels add constraint planted check (true)", "issues.labels.planted"),
    ("create index labels_planted on issues.labels (color)", "issues.labels.labels_planted"),
    (
        "create policy planted on issues.labels as restrictive to bulkhead_issues_app using (true)",
        "issues.labels.planted",
    ),
    (
        "create trigger zzz_late after insert on issues.labels for each row execute function app.stamp()",
        "issues.labels.zzz_late",
    ),
    ("create function app.planted(one integer) returns integer language sql return one", "app.planted(integer)"),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.breaches.__name__)
def test_names_keep_the_rule(rule: Rule, found: Catalogue) -> None:
    assert not rule.broken_by(found), rule.says
    assert not rule.needless(found), "these need no exception any more"


@pytest.mark.parametrize(
    ("rule", "breach"), list(zip(RULES, BREACHES, strict=True)), ids=[rule.breaches.__name__ for rule in RULES]
)
def test_a_breach_is_found(rule: Rule, breach: tuple[str, str], altered: Altered) -> None:
    change, name = breach
    assert name in rule.broken_by(altered(change))


def test_exceptions_say_why() -> None:
    assert all(why for rule in RULES for why in rule.exceptions.values())
