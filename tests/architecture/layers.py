"""Who may import whom."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

from tests.architecture.sources import Rule, Source, imports

Findings = Iterator[tuple[int, str]]
SERVICES = ("identity", "issues", "audit")
SLICE_FILE = re.compile(r"services/(?P<service>\w+)/bulkhead_(?P=service)/(?P<slice>\w+)/(?P<role>\w+)\.py")
# Within one slice. A read has no action: its handler asks the store.
DOWNWARD = {
    "handler": {"actions", "wire", "rules", "store"},
    # A loop that acts by itself: where a handler stands, without callers.
    "worker": {"actions", "rules", "store"},
    "actions": {"rules", "store"},
    "wire": {"rules"},
    "store": {"rules"},
    "rules": set[str](),
}
# Beside store.py, where a slice has much of it.
_SQL_FILES = ("store", "columns", "history", "invitations", "lists")
RULES_MAY_IMPORT = ("bulkhead_kit.errors", "bulkhead_kit.moments", "bulkhead.rpc.v1.error_reason_pb2")


def services_apart(source: Source) -> Iterator[tuple[int, str]]:
    found = re.match(r"services/(\w+)/bulkhead_", source.path)
    own = found[1] if found else None
    for line, module in imports(source):
        for other in SERVICES:
            if other != own and module.split(".")[0] == f"bulkhead_{other}":
                yield line, f"imports {module}: a service is known by its stubs only"


def kit_stands_alone(source: Source) -> Iterator[tuple[int, str]]:
    for line, module in imports(source):
        top = module.split(".")[0]
        if top.startswith("bulkhead_") and top != "bulkhead_kit":
            yield line, f"the kit imports {module}"


def downward(source: Source) -> Iterator[tuple[int, str]]:
    place = SLICE_FILE.fullmatch(source.path)
    if place is None:
        return
    for line, module in imports(source):
        package, *inner = module.split(".")
        if package != f"bulkhead_{place['service']}" or len(inner) < 2 or inner[1] not in DOWNWARD:
            continue
        if inner[0] != place["slice"] and place["role"] != "actions":
            yield line, f"imports {module}: only actions.py calls another slice"
        if inner[0] == place["slice"] and not _may_import(place["role"], inner[1]):
            yield line, f"{place['role']} imports {inner[1]}"


def _may_import(role: str, other: str) -> bool:
    # A file with a name of its own helps the others of its slice and needs none of them but the rules.
    return other == role or other in DOWNWARD.get(role, {"rules"})


def below_main(source: Source) -> Iterator[tuple[int, str]]:
    for line, module in imports(source):
        if re.match(r"bulkhead_(?!kit\b)\w+\.(__main__|serving|working)\b", module):
            yield line, f"imports {module}: nothing stands above it"


def rules_are_pure(source: Source) -> Iterator[tuple[int, str]]:
    place = SLICE_FILE.fullmatch(source.path)
    if place is None or place["role"] != "rules":
        return
    own = f"bulkhead_{place['service']}.{place['slice']}.rules"
    for line, module in imports(source):
        if module.split(".")[0] in sys.stdlib_module_names or module.startswith((*RULES_MAY_IMPORT, own)):
            continue
        if not any(name.startswith(f"{module}.") for name in RULES_MAY_IMPORT):
            yield line, f"rules import {module}"


def _only_in(roles: tuple[str, ...], prefixes: tuple[str, ...], why: str) -> Callable[[Source], Findings]:
    def check(source: Source) -> Findings:
        name = source.path.rpartition("/")[2].removesuffix(".py")
        if name in roles or "/migrations/" in source.path:
            return
        for line, module in imports(source):
            if module.startswith(prefixes) and not module.startswith("bulkhead.rpc.v1.error_reason_pb2"):
                yield line, f"imports {module}: {why}"

    return check


_SLICE = "services/issues/bulkhead_issues/label"

RULES = [
    Rule(
        "services apart",
        services_apart,
        Source(f"{_SLICE}/actions.py", "from bulkhead_identity.team import store"),
    ),
    Rule(
        "the kit stands alone",
        kit_stands_alone,
        Source("libs/kit/bulkhead_kit/db.py", "import bulkhead_issues.label.store"),
        within=("libs/kit/",),
    ),
    Rule(
        "imports go downward",
        downward,
        Source(f"{_SLICE}/store.py", "from bulkhead_issues.label import actions"),
        within=("services/",),
    ),
    Rule(
        "only actions call another slice",
        downward,
        Source(f"{_SLICE}/store.py", "from bulkhead_issues.issue import rules"),
        within=("services/",),
    ),
    Rule(
        "nothing imports what puts a process together",
        below_main,
        Source(f"{_SLICE}/handler.py", "from bulkhead_issues.serving import build"),
    ),
    Rule(
        "rules are pure",
        rules_are_pure,
        Source(f"{_SLICE}/rules.py", "import datetime\nfrom bulkhead_kit.db import Transaction"),
        within=("services/",),
    ),
    Rule(
        "SQL lives in stores",
        _only_in(_SQL_FILES, ("sqlalchemy", "psycopg"), "SQL belongs into store.py"),
        Source(f"{_SLICE}/actions.py", "from sqlalchemy import select"),
        within=("services/",),
        allowed={"services/identity/bulkhead_identity/calls.py": "names the column that answered calls are kept by"},
    ),
    Rule(
        "messages live in wire and handler",
        _only_in(("wire", "handler", "serving"), ("bulkhead.", "google.protobuf"), "messages belong into wire.py"),
        Source(f"{_SLICE}/actions.py", "from bulkhead.issues.v1 import label_pb2"),
        within=("services/",),
    ),
    Rule(
        "gRPC ends at the handler",
        _only_in(("handler", "serving"), ("grpc",), "below the handler nobody knows gRPC"),
        Source(f"{_SLICE}/store.py", "import grpc"),
        within=("services/",),
    ),
    Rule(
        "the caller is an argument",
        _only_in(
            ("handler",),
            ("bulkhead_kit.caller.current_caller", "bulkhead_kit.caller.set_current_caller"),
            "only a handler reads it",
        ),
        Source(f"{_SLICE}/actions.py", "from bulkhead_kit.caller import current_caller"),
        within=("services/",),
    ),
]
