"""docs/role-matrix.md: who may call what, from the policies of the contracts, and who may do what to whom.

The tests of tests/matrix read the page and try every cell of it, by RPC and by SQL.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import bulkhead
from bulkhead_kit.caller import Role
from bulkhead_kit.policy import MethodPolicy, Scope, read_policies

from bulkhead_cli.schema.markdown import code, page, table

PAGE = Path("docs/role-matrix.md")
NOTE = "<!-- Written by `make schema` from the policies of the contracts. Never edited. -->"
INTRODUCTION = """\
A tenant's members have one role each: owner, admin, manager, member or viewer, from high to low; who may do something
may do it with every higher role too. Beside the role stand what the method's own description says (such as: an author
changes her own comments) and the state of tenant and member: who is disabled or has left does nothing, and in a
suspended tenant a change is refused if it is not one of those listed below. An API key counts as its service account,
with its role.

The server refuses a call whose role is too low, whatever else the request says, and the database refuses the same
change by SQL: policies and grants bind the services' own logins. The test suite tries every cell of this page in both
ways."""
WHO: Mapping[int, str] = {
    Scope.SCOPE_PUBLIC: "anybody",
    Scope.SCOPE_USER: "a signed-in person",
    Scope.SCOPE_SERVICE: "other Bulkhead services, each as its allow-list says",
    Scope.SCOPE_PLATFORM: "administrators of the platform",
}
SUSPENDED = (
    "Reads go on. Of the changes only these do, which shut somebody out; the tables themselves refuse all others."
)
LOG = """\
ListEvents and GetEvent answer everybody, and not alike. Owners and admins see every event of their tenant. Everybody
else sees their own acts (`actor_id`), without number, time of arrival, digests and address, and of the values those
that the calls show to every role now: an invitation that somebody sent as an admin is there without its address. What
an API key did is its account's act, not its maker's; what was done on somebody's behalf is the act of whoever did it.
Of an internal comment a viewer sees no event at all. The database says the same by SQL; `audit.shown_fields` in
[docs/schema/audit.md](schema/audit.md) names the fields."""
IDENTITY = "bulkhead.identity.v1"
# What a member may do to others depends on their role besides her own: it reaches up to her own and no further.
REACHING: Mapping[str, tuple[str, str]] = {
    "MembershipService/InviteMember": ("Inviting to a role", "Who may invite somebody to be"),
    "MembershipService/RevokeInvitation": (
        "Taking an invitation to a role back",
        "Who may take back an invitation to be",
    ),
    "MembershipService/DisableMember": ("Disabling a member of a role", "Who may disable"),
    "MembershipService/EnableMember": ("Enabling a disabled member of a role", "Who may enable"),
    "ApiKeyService/CreateApiKey": ("Making an API key with a role", "Who may make a key for a service account that is"),
}
HIGHEST: Mapping[str, Role] = {"ApiKeyService/CreateApiKey": Role.ADMIN}
"""Where no caller reaches the roles above: a service account is never an owner."""
CHANGING = "MembershipService/ChangeRole"
OWN = """\
Everybody may leave a tenant herself, by LeaveTenant; nobody is made to leave, and who has left is not enabled but
invited again. In every case a tenant keeps one active owner: the last one is neither demoted nor disabled, does not
leave and does not close her account. A placeholder stays a viewer, and a service account is never an owner. An
invitation is worth what its sender may do when it is accepted."""


def render() -> str:
    known = policies()
    return page(
        [
            NOTE,
            "# Who may do what",
            INTRODUCTION,
            "## Without a tenant",
            table(("call", "who"), _outside(known.values())),
            "## In a tenant, by role",
            table(("call", *_names()), _inside(known.values())),
            "## In the audit log",
            LOG,
            "## In a suspended tenant",
            SUSPENDED,
            table(("call",), ((code(_short(policy)),) for policy in known.values() if policy.allowed_while_suspended)),
            "## Members among each other",
            OWN,
            *_reaching(known),
        ]
    )


def policies() -> Mapping[str, MethodPolicy]:
    """Of every method of every contract."""
    names: set[str] = set()
    for root in bulkhead.__path__:
        for file in Path(root).rglob("*_service_pb2.py"):
            module = importlib.import_module(".".join(["bulkhead", *file.relative_to(root).with_suffix("").parts]))
            names |= {service.full_name for service in module.DESCRIPTOR.services_by_name.values()}
    return read_policies(sorted(names))


def _names() -> list[str]:
    return [role.name.lower() for role in Role]


def _outside(known: Iterable[MethodPolicy]) -> Iterator[tuple[str, ...]]:
    for policy in known:
        if policy.scope != Scope.SCOPE_TENANT:
            yield code(_short(policy)), WHO[policy.scope]


def _inside(known: Iterable[MethodPolicy]) -> Iterator[tuple[str, ...]]:
    for policy in known:
        if policy.least_role is not None:
            yield code(_short(policy)), *(_word(role >= policy.least_role) for role in Role)


def _reaching(known: Mapping[str, MethodPolicy]) -> Iterator[str]:
    for method, (heading, row) in REACHING.items():
        least, columns = _least(known, method), [role for role in Role if role <= HIGHEST.get(method, Role.OWNER)]
        yield f"### {heading}"
        yield f"{row} (columns), by her own role (rows): {code(method.partition('/')[2])}."
        yield table(
            ("", *(role.name.lower() for role in columns)),
            ((role.name.lower(), *_up_to(columns, role, least)) for role in Role),
        )
    least = _least(known, CHANGING)
    yield "### Changing a role"
    yield f"Who may make a member of one role into one of another: {code(CHANGING.partition('/')[2])}."
    yield table(
        ("by", "from", *(f"to {name}" for name in _names())),
        (
            (caller.name.lower(), before.name.lower(), *_up_to(Role, caller, least, before))
            for caller in Role
            for before in Role
        ),
    )


def _up_to(columns: Iterable[Role], caller: Role, least: Role, *others: Role) -> Iterator[str]:
    for role in columns:
        yield _word(caller >= least and all(reached <= caller for reached in (role, *others)))


def _least(known: Mapping[str, MethodPolicy], method: str) -> Role:
    least = known[f"{IDENTITY}.{method}"].least_role
    assert least is not None
    return least


def _short(policy: MethodPolicy) -> str:
    """identity.TeamService/GetTeam."""
    _, package, _, rest = policy.method.split(".", 3)
    return f"{package}.{rest}"


def _word(allowed: bool) -> str:
    return "yes" if allowed else "no"
