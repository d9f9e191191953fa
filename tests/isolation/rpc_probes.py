"""Calls with another tenant's ids, and calls by those who may not make them.

A denial must be the same as for an id that nobody has, byte for byte. It counts only if the same call with the
caller's own id, or by the right caller, goes through: its twin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from bulkhead.rpc.v1.options_pb2 import Scope
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.policy import MethodPolicy, read_policies
from google.protobuf.descriptor import MethodDescriptor

from tests.isolation.bending import NAMES, IdField, as_new, bend, id_fields
from tests.isolation.callers import Caller, right_caller, wrong_callers
from tests.isolation.outcomes import Outcome, call
from tests.isolation.samples import SAMPLES, Request
from tests.isolation.world import Company
from tests.support.client import Client, methods

NAME_KINDS = {kind for kind, _ in NAMES.values()}
IDS_A_KIND = 3
"""Of each kind of thing, this many of the other tenant's ids are tried: live, archived, deleted."""


def name_of(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def policy_of(method: MethodDescriptor) -> MethodPolicy:
    return read_policies([method.containing_service.full_name])[name_of(method)]


@dataclass
class Findings:
    denied: int = 0
    leaks: list[str] = field(default_factory=list)

    def leak(self, *parts: object) -> None:
        self.leaks.append(" ".join(map(str, parts)))


BY_PERSONS_ONLY = {"CreateApiKey", "InviteMember", "EnableMember", "ChangeRole"}
"""What lets somebody in or gives her more is refused to keys: tests/identity/api_key tries that."""


class RpcProber:
    """`ours` does the asking, `theirs` must not notice."""

    def __init__(self, ours: Company, theirs: Company) -> None:
        self.ours = ours
        self.theirs = theirs
        self.found = Findings()

    async def probe(self, method: MethodDescriptor) -> Findings:
        policy = policy_of(method)
        if policy.scope == Scope.SCOPE_TENANT:
            for role in Role:
                await self.as_role(method, policy, role)
            if method.name not in BY_PERSONS_ONLY:
                # The account of the key is an admin.
                key = self.ours.tenant.house.with_token(self.ours.keys["live"])
                await self.as_role(method, policy, Role.ADMIN, client=key)
        await self._as_wrong_callers(method, policy)
        return self.found

    async def as_role(
        self, method: MethodDescriptor, policy: MethodPolicy, role: Role, *, client: Client | None = None
    ) -> None:
        """Every id field with ids of theirs; then the twin, which is itself a probe where the role is too low.

        By the member of that role, or by another client that has it.
        """
        least = policy.least_role or Role.VIEWER
        sample = SAMPLES[name_of(method)]
        request = await sample.request(method, self.ours, max(role, least))
        client = client or self.ours.client(role)
        pending = 0
        for bent in id_fields(method.input_type):
            for theirs in islice(self.theirs.things[bent.kind], IDS_A_KIND):
                if method.name.startswith(("Create", "Import")):
                    # What is made has a name or number of its own, so it can be made once only.
                    again = [await sample.request(method, self.ours, max(role, least)) for _ in range(2)]
                    pending += await self._is_denied(client, method, again, bent, theirs)
                else:
                    pending += await self._is_denied(client, method, [request, request], bent, theirs)
        twin = await self._call(client, method, request)
        if role < least:
            expected = Outcome("PERMISSION_DENIED", "ROLE_TOO_LOW")
            if (twin.code, twin.reason) != (expected.code, expected.reason):
                self.found.leak(method.name, "as", role.name.lower(), "gave", twin, "not", expected)
            self.found.denied += 1 + pending
        elif twin.code == sample.expects:
            self.found.denied += pending
        else:
            self.found.leak(method.name, "as", role.name.lower(), "should go through, but gave", twin)

    async def _is_denied(
        self, client: Client, method: MethodDescriptor, requests: list[Request], bent: IdField, theirs: str
    ) -> bool:
        denied = await self._call(client, method, bend(requests[0], bent, theirs))
        nobody = bent.unknown or str(new_id())
        unknown = await self._call(client, method, bend(requests[1], bent, nobody))
        if denied == unknown:
            return True
        if not policy_of(method).audited and denied.without(theirs) == unknown.without(nobody):
            # Apart from the id itself, which the caller has sent, as in a list of those that are missing.
            return True
        if method.name.startswith("Import") and denied.without_numbers() == unknown.without_numbers():
            # A report names the number that an issue of our own project has, which an import before has given it.
            return True
        if (denied.code, denied.reason) != (unknown.code, unknown.reason) or not denied.ok:
            self.found.leak(method.name, bent, "of theirs gave", denied, "an unknown one", unknown)
        elif not policy_of(method).audited or method.name.startswith("Import"):
            self.found.leak(method.name, bent, "of theirs gave another answer than an unknown one")
        elif bent.names_what_is_made(method):
            # Both are free in our tenant: that one is in use elsewhere does not show.
            return True
        elif theirs.encode() in denied.body:
            self.found.leak(method.name, bent, "of theirs was taken")
        # Passed over, like the unknown one: no harm, but no denial either.
        return False

    async def _as_wrong_callers(self, method: MethodDescriptor, policy: MethodPolicy) -> None:
        sample = SAMPLES[name_of(method)]
        request = await sample.request(method, self.ours, policy.least_role or Role.OWNER)
        callers = await wrong_callers(self.ours, self.theirs, method, policy)
        refused = 0
        for caller in callers:
            if await self._is_refused(caller, method, request):
                refused += 1
        twin = await self._call(await right_caller(self.ours, method, policy), method, request)
        if twin.code != sample.expects:
            self.found.leak(method.name, "by the right caller should give", sample.expects, "but gave", twin)
        self.found.denied += refused

    async def _is_refused(self, caller: Caller, method: MethodDescriptor, request: Request) -> bool:
        got = await self._call(caller.client, method, request)
        if (got.code, got.reason) == caller.expects:
            return True
        self.found.leak(method.name, "by", caller.name, "gave", got, "not", *caller.expects)
        return False

    async def _call(self, client: Client, method: MethodDescriptor, request: Request) -> Outcome:
        """Nothing of theirs is ever in an answer to us, and no call ends in a fault of ours."""
        got = await call(client, method, as_new(request))
        if self.theirs.canary.encode() in got.body:
            self.found.leak(method.name, "shows texts of theirs")
        sent = b"".join(m.SerializeToString() for m in (request if isinstance(request, list) else [request]))
        for kind, ids in self.theirs.things.items():
            if kind not in NAME_KINDS and any(each.encode() in got.body and each.encode() not in sent for each in ids):
                self.found.leak(method.name, "shows an id of theirs:", kind)
        if got.code in {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DEADLINE_EXCEEDED", "UNAVAILABLE"}:
            self.found.leak(method.name, "failed:", got)
        return got


def methods_to_probe() -> list[MethodDescriptor]:
    return sorted(methods(), key=name_of)
