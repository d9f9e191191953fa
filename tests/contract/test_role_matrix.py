"""Every call that a role may make has a statement by which the database's verdict is compared with the server's."""

from __future__ import annotations

from bulkhead_cli.schema import rights
from bulkhead_kit.policy import Scope

from tests.matrix.statements import STATEMENTS, WITHOUT


def test_every_call_has_a_statement_or_a_reason() -> None:
    by_role = {
        name.removeprefix("bulkhead.").replace(".v1.", ".")
        for name, policy in rights.policies().items()
        if policy.scope == Scope.SCOPE_TENANT
    }
    assert not STATEMENTS.keys() & WITHOUT.keys()
    assert STATEMENTS.keys() | WITHOUT.keys() <= by_role
    missing = sorted(by_role - STATEMENTS.keys() - WITHOUT.keys())
    assert not missing, f"tests/matrix/statements.py: add to STATEMENTS, or to WITHOUT with the reason: {missing}"
