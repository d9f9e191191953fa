"""The contracts, held by reading the protos. bad.proto shows that each rule can fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import EnumDescriptorProto

from tests.contract.protos import PROTOS, Contract, compile_protos, contract, read
from tests.contract.rules import RULES, ContractRule

by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "-"))


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    folder = tmp_path_factory.mktemp("bad")
    shutil.copytree(PROTOS / "bulkhead", folder / "bulkhead")
    shutil.copy(Path(__file__).with_name("bad.proto"), folder / "bad.proto")
    made = read(compile_protos(folder, ["bad.proto"]))
    # A reason that does not name its code; an enum in a package of its own would not be looked at.
    made.enums["bulkhead.rpc.v1.ErrorReason"] = EnumDescriptorProto()
    made.enums["bulkhead.rpc.v1.ErrorReason"].value.add(name="NEW", number=1)
    made.comments["bulkhead.rpc.v1.ErrorReason.NEW"] = "Something happened."
    return made


@by_name
def test_the_contracts_keep_the_rule(rule: ContractRule) -> None:
    broken = rule.broken(contract())
    assert not broken, "\n".join(["", *broken])


@by_name
def test_the_rule_can_fail(rule: ContractRule, bad: Contract) -> None:
    assert rule.broken(bad)


@by_name
def test_every_exception_is_needed(rule: ContractRule) -> None:
    assert set(rule.allowed) <= {rule.entry(name) for name, _ in rule.check(contract())}


def test_there_are_contracts_to_look_at() -> None:
    services = {method.service.split(".")[1] for method in contract().methods}
    assert services >= {"identity", "issues", "audit"}
