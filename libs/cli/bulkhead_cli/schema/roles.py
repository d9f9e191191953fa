"""The page of roles: who there is, and what each may do with each table."""

from collections.abc import Iterable

from bulkhead_cli.schema.markdown import NOTE, anchor, code, codes, page, table
from bulkhead_cli.schema.model import Catalogue, Grant, Role, Table
from bulkhead_cli.schema.words import ROLES

LETTERS = {"select": "r", "insert": "a", "update": "w", "delete": "d", "truncate": "t", "references": "x"}
LEGEND = """\
`r` select, `a` insert, `w` update, `d` delete, `t` truncate, `x` refer to by a foreign key. A small letter: only the
columns named on the table's page; a capital: the whole table. An owner has every right on its tables and is left out
of its own rows. What is granted here is the most a role can do: policies still choose the rows."""


def render(catalogue: Catalogue) -> str:
    granted = {grant.role for one in catalogue.tables() for grant in one.grants}
    columns = [role.name for role in catalogue.roles if role.name in granted]
    return page(
        [
            NOTE,
            "# Roles",
            "Every role of an installation. None is a superuser; a role that owns something cannot log in.",
            table(
                ("role", "logs in", "past walls", "member of", "for"),
                (_role(role) for role in catalogue.roles),
            ),
            _settings(catalogue.roles),
            "## What each may do in each table",
            LEGEND,
            table(
                ("table", *(role.replace("_", " ") for role in columns)),
                (_row(one, columns) for one in catalogue.tables()),
            ),
            "## Functions each may call",
            "Trigger functions are called by triggers only. Those of schema app are open to all that use tables.",
            table(("role", "functions"), _callable(catalogue)),
        ]
    )


def _role(role: Role) -> tuple[str, ...]:
    past = "**yes**" if role.bypasses or role.superuser else ""
    member = codes(role.member_of) + (" (with its rights)" if role.member_of and role.inherits else "")
    return code(role.name), "yes" if role.login else "", past, member, ROLES.get(role.name, "")


def _settings(roles: Iterable[Role]) -> str:
    """Told once where they are alike."""
    logins = [role for role in roles if role.login]
    alike = set.intersection(*(set(role.settings) for role in logins)) if logins else set[str]()
    lines = [f"Every login starts with {codes(sorted(alike))}."] if alike else []
    for role in logins:
        own = sorted(set(role.settings) - alike)
        if own:
            lines.append(f"{code(role.name)} also with {codes(own)}.")
    deaf = [role.name for role in logins if not role.connects]
    if deaf:
        lines.append(f"May not connect to this database: {codes(deaf)}.")
    return " ".join(lines)


def _row(one: Table, columns: Iterable[str]) -> tuple[str, ...]:
    link = f"[{one.full_name}]({one.schema}.md#{anchor(one.full_name)})"
    return link, *(code("".join(_letter(grant) for grant in one.grants if grant.role == role)) for role in columns)


def _letter(grant: Grant) -> str:
    letter = LETTERS.get(grant.privilege, f"[{grant.privilege}]")
    return letter if grant.columns else letter.upper()


def _callable(catalogue: Catalogue) -> Iterable[tuple[str, str]]:
    functions = [f for f in catalogue.functions() if f.result != "trigger" and f.schema != "app"]
    for role in ["public", *(role.name for role in catalogue.roles)]:
        names = [f"{f.schema}.{f.name}" for f in functions if role in f.executors]
        if names:
            yield code(role), codes(names)
