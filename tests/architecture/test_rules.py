"""The architecture, held by reading the source. Every rule comes with a sample that breaks it."""

from __future__ import annotations

import pytest

from tests.architecture import banned, layers, remarks, sizes
from tests.architecture.sources import Rule, sources

RULES: list[Rule] = [*layers.RULES, *banned.RULES, *sizes.RULES, *remarks.RULES]
by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "-"))


@by_name
def test_the_source_keeps_the_rule(rule: Rule) -> None:
    found = [f for s in sources() if rule.allows(s.path) is None for f in rule.findings(s)]
    assert not found, "\n".join(["", *map(str, found)])


@by_name
def test_the_rule_can_fail(rule: Rule) -> None:
    assert rule.findings(rule.sample)


@by_name
def test_every_exception_is_needed(rule: Rule) -> None:
    used = {entry for s in sources() if (entry := rule.allows(s.path)) is not None and rule.findings(s)}
    assert set(rule.allowed) <= used, f"not needed: {set(rule.allowed) - used}"


def test_there_is_source_to_look_at() -> None:
    paths = {s.path.split("/")[0] for s in sources()}
    assert paths >= {"deploy", "libs", "services", "tests"}
