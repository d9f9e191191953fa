"""The front page: readme.md with what the catalogue says put in."""

from collections.abc import Iterator
from importlib import resources

from bulkhead_cli.schema import diagrams
from bulkhead_cli.schema.conventions import RULES, Rule
from bulkhead_cli.schema.markdown import NOTE, anchor, code, codes, table
from bulkhead_cli.schema.model import SCHEMAS, Catalogue, Table
from bulkhead_cli.schema.proof import Proof
from bulkhead_cli.schema.security import REQUIREMENTS
from bulkhead_cli.schema.words import COMMON
from bulkhead_cli.schema.words import SCHEMAS as PURPOSES


def render(catalogue: Catalogue, proof: Proof) -> str:
    tables = catalogue.tables()
    return _template().format(
        note=NOTE,
        schemas=table(
            ("schema", "what it is for", "tables", "functions"),
            (
                (f"[{s.name}]({s.name}.md)", PURPOSES[s.name], str(len(s.tables)), str(len(s.functions)))
                for s in catalogue.schemas
            ),
        ),
        order=codes(SCHEMAS),
        tables=table(("table", "purpose"), ((_link(one), one.comment or "") for one in tables)),
        diagram=diagrams.overall(catalogue),
        unwalled=table(
            ("table", "read or written by, under policies of their own"),
            ((_link(one), _others(one)) for one in tables if not one.walled),
        ),
        conventions="\n".join(_rule(rule) for rule in RULES),
        common=table(("column", "meaning"), ((code(name), meaning) for name, meaning in COMMON.items())),
        security=table(
            ("requirement", "where it is enforced", "tried by"), ((r.says, r.where, r.tests) for r in REQUIREMENTS)
        ),
        excepted="\n".join(f"- {r.says} {_excused(r)}" for r in REQUIREMENTS if r.exceptions),
        deleters=table(("role", "tables"), _deleters(catalogue)),
        definers=table(("function", "runs as", "what it does"), _definers(catalogue)),
        query=proof.query.strip(),
        plan=proof.plan,
        events=f"{proof.events:,}",
        found=proof.found,
    )


def _template() -> str:
    return resources.files("bulkhead_cli.schema").joinpath("readme.md").read_text(encoding="utf-8")


def _link(one: Table) -> str:
    return f"[{one.full_name}]({one.schema}.md#{anchor(one.full_name)})"


def _others(one: Table) -> str:
    return codes(sorted({grant.role for grant in one.grants if grant.privilege != "references"}))


def _rule(rule: Rule) -> str:
    return f"- {rule.says} {_excused(rule)}".rstrip()


def _excused(rule: Rule) -> str:
    excused = [f"{code(name)} ({why})" for name, why in rule.exceptions.items()]
    return f"But: {'; '.join(excused)}." if excused else ""


def _deleters(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for one in catalogue.tables():
        for grant in one.grants:
            if grant.privilege == "delete":
                found.setdefault(grant.role, []).append(one.full_name)
    yield from ((code(role), codes(names)) for role, names in sorted(found.items()))


def _definers(catalogue: Catalogue) -> Iterator[tuple[str, ...]]:
    for function in catalogue.functions():
        if function.definer and function.result != "trigger":
            yield code(f"{function.schema}.{function.name}"), code(function.owner), function.comment or ""
