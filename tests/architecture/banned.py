"""What may be said in one place only, and what may be said nowhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from tests.architecture.sources import Rule, Source

Findings = Iterator[tuple[int, str]]
Check = Callable[[Source], Findings]
_SLICE = "services/issues/bulkhead_issues/label"


def calls(*names: str) -> Check:
    """A call of that dotted name; a leading dot stands for any receiver."""

    def check(source: Source) -> Findings:
        for node in source.nodes():
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                for name in names:
                    if called == name or called.endswith(name if name.startswith(".") else f".{name}"):
                        yield node.lineno, f"calls {called}"

    return check


def mentions(*names: str) -> Check:
    """Any use of the dotted name, called or not."""

    def check(source: Source) -> Findings:
        for node in source.nodes():
            if isinstance(node, ast.Attribute) and ast.unparse(node) in names:
                yield node.lineno, f"uses {ast.unparse(node)}"
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if f"{node.module}.{alias.name}" in names:
                        yield node.lineno, f"imports {node.module}.{alias.name}"

    return check


def says(pattern: str, what: str) -> Check:
    """A string that matches, docstrings apart."""
    search = re.compile(pattern, re.IGNORECASE).search

    def check(source: Source) -> Findings:
        for line, text in source.texts():
            if search(text):
                yield line, what

    return check


def wide_except(source: Source) -> Findings:
    for node in source.nodes():
        if isinstance(node, ast.ExceptHandler) and _catches_all(node.type) and not _raises_again(node):
            yield node.lineno, "catches everything"


def _catches_all(kind: ast.expr | None) -> bool:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(k is None or ast.unparse(k) in {"Exception", "BaseException"} for k in kinds)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


_SQL = re.compile(
    r"^\s*(select|insert\s+into|update\s+\S+\s+set|delete\s+from|create|alter|drop|grant|revoke|set|call|with)\s",
    re.IGNORECASE,
)


def built_sql(source: Source) -> Findings:
    """SQL put together in Python: f-strings, +, %, .format."""
    for node in source.nodes():
        start = _start_of_composed(node)
        if isinstance(start, ast.Constant) and isinstance(start.value, str) and _SQL.match(start.value):
            yield start.lineno, f"builds SQL: {start.value.strip()[:40]!r}"


def _start_of_composed(node: ast.AST) -> ast.expr | None:
    if isinstance(node, ast.JoinedStr):
        filled = any(isinstance(value, ast.FormattedValue) for value in node.values)
        return node.values[0] if filled else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return node.left
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return node.func.value
    return None


def variable_text(source: Source) -> Findings:
    """text() of anything but a constant or a name in capitals."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in {"text", "sqlalchemy.text", "sa.text"}:
            continue
        argument = node.args[0] if node.args else None
        constant = isinstance(argument, ast.Constant) or (isinstance(argument, ast.Name) and argument.id.isupper())
        if not constant:
            yield node.lineno, "text() of something made at run time"


def role_in_handler(source: Source) -> Findings:
    if not source.path.endswith("/handler.py"):
        return
    for node in source.nodes():
        if isinstance(node, ast.Attribute) and (node.attr == "role" or ast.unparse(node.value) == "Role"):
            yield node.lineno, f"{ast.unparse(node)}: the policy in the proto decides by role"


def query_of_a_call(source: Source) -> Findings:
    """Query() in a coroutine: compiled, named and prepared at every call. Those of many shapes are a QueryCache's."""
    for outer in source.nodes():
        if not isinstance(outer, ast.AsyncFunctionDef):
            continue
        for node in ast.walk(outer):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Query":
                yield node.lineno, f"{outer.name} makes a Query at every call"


PUBLISHED = {
    # By service: what of other schemas its code and migrations may name.
    "identity": set[str](),
    "issues": {
        "identity.tenants",
        "identity.memberships",
        "identity.teams",
        "identity.claim_project",
        "identity.release_project",
        "identity.hold_team",
    },
    "audit": set[str](),
}


def other_schema(source: Source) -> Findings:
    found = re.match(r"services/(\w+)/bulkhead_", source.path)
    if found is None:
        return
    own = found[1]
    for line, text in source.texts():
        for schema, name in re.findall(r"\b(identity|issues|audit)\.([a-z_]+)\b", text):
            if schema != own and f"{schema}.{name}" not in PUBLISHED[own] and not text.startswith("bulkhead"):
                yield line, f"names {schema}.{name}"
    for node in source.nodes():
        if isinstance(node, ast.keyword) and node.arg == "schema" and isinstance(node.value, ast.Constant):
            named = str(node.value.value)
            if named != own:
                yield node.value.lineno, f"a table of schema {named}"


RULES = [
    Rule(
        "only the error interceptor ends a call",
        calls(".abort", ".abort_with_status", ".set_code"),
        Source(f"{_SLICE}/handler.py", "async def f(context):\n    await context.abort(1, '')"),
        allowed={"libs/kit/bulkhead_kit/interceptors/errors.py": "it is the error interceptor"},
    ),
    Rule(
        "only kit/db commits",
        calls(".commit", ".rollback"),
        Source(f"{_SLICE}/actions.py", "async def f(tx):\n    await tx.commit()"),
        allowed={
            "libs/kit/bulkhead_kit/db/": "it is the place",
            "libs/kit/bulkhead_kit/migrations.py": "migrations run without a caller",
        },
    ),
    Rule(
        "only kit/db connects",
        calls(
            "create_engine", "create_async_engine", "psycopg.connect", "AsyncConnection.connect", "AsyncConnectionPool"
        ),
        Source(f"{_SLICE}/store.py", "import psycopg\npsycopg.connect('')"),
        allowed={
            "libs/kit/bulkhead_kit/db/": "it is the place",
            "libs/kit/bulkhead_kit/outbox/rows.py": "the relay's session is its mandate, so it is no pool's",
            "libs/cli/bulkhead_cli/administration.py": "names platform administrators, as the database's",
            "libs/cli/bulkhead_cli/database.py": "creates and examines the database, as its administrator",
            "libs/cli/bulkhead_cli/doctor.py": "examines the database, as its administrator",
            "libs/cli/bulkhead_cli/schema/command.py": "reads the catalogue, as its administrator",
            "libs/kit/bulkhead_kit/migrations.py": "migrations run without a caller",
        },
    ),
    Rule(
        "only kit/db sets the context",
        says(r"\bset_config\b", "names set_config"),
        Source(f"{_SLICE}/store.py", "Q = \"select set_config('app.tenant_id', $1, true)\""),
        allowed={
            "libs/kit/bulkhead_kit/db/": "it is the place",
            "libs/kit/bulkhead_kit/migrations.py": "takes the owner's role for a migration",
            "libs/cli/bulkhead_cli/administration.py": "says for the audit log that a command did it",
            "services/identity/bulkhead_identity/migrations/versions/0013_pre_platform.py": "its downgrade ends "
            "memberships, which name who ended them",
        },
    ),
    Rule(
        "no setting outlives its transaction",
        says(r"set_config\([^()]*,\s*false\s*\)|^\s*set\s+(session\s+)?(app\.|role\b)", "sets for the session"),
        Source("libs/kit/bulkhead_kit/db/x.py", "Q = \"select set_config('app.role', '5', false)\""),
        allowed={"libs/kit/bulkhead_kit/migrations.py": "the connection is the migration's own"},
    ),
    Rule(
        "only settings read the environment",
        mentions("os.environ", "os.getenv", "os.environb"),
        Source(f"{_SLICE}/actions.py", "import os\nX = os.environ['X']"),
        allowed={"libs/kit/bulkhead_kit/settings.py": "it is the place"},
        within=("deploy/", "libs/kit/", "services/"),
    ),
    Rule(
        "only the way out writes to a terminal",
        lambda source: iter((*calls("Console")(source), *mentions("rich.markup.escape")(source))),
        Source("libs/cli/bulkhead_cli/x.py", "from rich.console import Console\nX = Console()"),
        allowed={"libs/cli/bulkhead_cli/output.py": "it is the place"},
        within=("libs/cli/",),
    ),
    Rule(
        "only the clock tells the time",
        calls(
            "datetime.now",
            "datetime.utcnow",
            "date.today",
            "datetime.today",
            "time.time",
            "time.time_ns",
            "time.monotonic",
        ),
        Source(f"{_SLICE}/rules.py", "from datetime import datetime\nX = datetime.now()"),
        within=("deploy/", "libs/kit/", "services/"),
        allowed={"libs/kit/bulkhead_kit/clock.py": "it is the clock"},
    ),
    Rule(
        "nobody swallows errors",
        wide_except,
        Source(f"{_SLICE}/actions.py", "try:\n    f()\nexcept Exception:\n    pass"),
        allowed={
            "libs/kit/bulkhead_kit/interceptors/errors.py": "turns what nobody expected into INTERNAL",
            "libs/kit/bulkhead_kit/health.py": "the loop that probes must outlive every fault it finds",
            "libs/kit/bulkhead_kit/outbox/process.py": "the loop that delivers must outlive every fault",
            "libs/kit/bulkhead_kit/worker.py": "the loop of duties must outlive every fault of one",
            "libs/cli/bulkhead_cli/supervisor.py": "the loop that keeps processes alive must outlive every fault",
        },
    ),
    Rule(
        "SQL is not built from strings",
        built_sql,
        Source(f"{_SLICE}/store.py", "def f(name):\n    return f'select {name} from issues.labels'"),
        allowed={
            "libs/kit/bulkhead_kit/migrations.py": "a number of its own; SET takes no parameters",
            "libs/cli/bulkhead_cli/schema/snapshot.py": "prints SQL to be read; runs none of it",
        },
    ),
    Rule(
        "SQL text is constant",
        variable_text,
        Source(f"{_SLICE}/store.py", "from sqlalchemy import text\ndef f(x):\n    return text(x)"),
        allowed={
            "libs/kit/bulkhead_kit/db/context.py": "joins fixed parts of its own",
            "libs/kit/bulkhead_kit/migrations.py": "takes a migration's SQL as it stands",
        },
    ),
    Rule(
        "a statement is compiled once",
        query_of_a_call,
        Source(f"{_SLICE}/store.py", "async def f(tx):\n    return await tx.all(Query(select(T)))"),
        within=("libs/", "services/"),
    ),
    Rule(
        "no SELECT *",
        says(r"\bselect\s+(\w+\.)?\*", "selects every column there will ever be"),
        Source(f"{_SLICE}/store.py", "Q = 'select l.* from issues.labels as l'"),
    ),
    Rule(
        "no role checks in handlers",
        role_in_handler,
        Source(f"{_SLICE}/handler.py", "def f(caller):\n    return caller.role >= 3"),
        within=("services/",),
    ),
    Rule(
        "a service keeps to its own tables",
        other_schema,
        Source(f"{_SLICE}/store.py", "Q = 'select user_id from identity.users'"),
        within=("services/",),
    ),
    Rule(
        "one file knows header names",
        says(r"^(authorization|x-tenant-id|x-request-id|x-forwarded-\S+|traceparent)$", "names a header"),
        Source(f"{_SLICE}/handler.py", "X = 'x-tenant-id'"),
        allowed={"libs/kit/bulkhead_kit/metadata.py": "it is the file"},
    ),
]
