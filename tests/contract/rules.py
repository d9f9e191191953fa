"""What every contract keeps. A rule yields the name of what breaks it and how; test_contract.py runs them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from buf.validate import validate_pb2
from bulkhead.rpc.v1 import options_pb2
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from tests.contract.protos import Contract, Method

Findings = Iterator[tuple[str, str]]
Scope = options_pb2.Scope
STRING, BYTES, ENUM = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES, FieldDescriptorProto.TYPE_ENUM
INT32 = FieldDescriptorProto.TYPE_INT32
REASONS = set(ErrorReason.keys())
READS = ("Get", "List", "Count", "Lookup", "Search", "Export", "BatchGet")
_CODES = (
    "INVALID_ARGUMENT|UNAUTHENTICATED|PERMISSION_DENIED|NOT_FOUND|ALREADY_EXISTS|ABORTED|FAILED_PRECONDITION"
    "|RESOURCE_EXHAUSTED|UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL"
)
_LISTED_REASONS = re.compile(rf"\b(?:{_CODES})\s*\(([^)]*)\)")
_PATH = re.compile(r"/v1(/([a-z][A-Za-z]*|\{\})(:[a-z][A-Za-z]*)?)+")


@dataclass(frozen=True)
class ContractRule:
    name: str
    check: Callable[[Contract], Findings]
    allowed: Mapping[str, str] = field(default_factory=dict)
    """What need not keep the rule, by full name, a message for all its fields; one that is not needed fails."""

    def broken(self, contract: Contract) -> list[str]:
        return [f"{name}: {what}" for name, what in self.check(contract) if self.entry(name) is None]

    def entry(self, name: str) -> str | None:
        return next((entry for entry in self.allowed if name == entry or name.startswith(f"{entry}.")), None)


def commented(contract: Contract) -> Findings:
    for name, comment in contract.comments.items():
        plain = name in contract.messages and name.endswith(("Request", "Response"))
        if not comment and not plain:
            yield name, "has no comment"


def rpc_prose(contract: Contract) -> Findings:
    """Who may call, which errors with their reasons, and whether a repeat is safe."""
    for method in contract.methods:
        comment = contract.comments[method.name]
        for word in ("Permission", "Errors:"):
            if word not in comment:
                yield method.name, f"its comment has no {word!r}"
        if not re.search(r"repeat|idempotent|again", comment, re.IGNORECASE):
            yield method.name, "its comment does not say what a repeat does"


def known_reasons(contract: Contract) -> Findings:
    for name, comment in contract.comments.items():
        if ".ErrorReason" in name:
            continue
        for listed in _LISTED_REASONS.findall(comment):
            for reason in re.findall(r"\b[A-Z][A-Z_]{3,}[A-Z]\b", listed):
                if reason not in REASONS:
                    yield name, f"names {reason}, which is no ErrorReason"


def reasons_explained(contract: Contract) -> Findings:
    for value in contract.enums["bulkhead.rpc.v1.ErrorReason"].value:
        name = f"bulkhead.rpc.v1.ErrorReason.{value.name}"
        if value.number and not re.match(rf"({_CODES})\.", contract.comments[name]):
            yield name, "its comment does not open with its gRPC code"


def policies(contract: Contract) -> Findings:
    for method in contract.methods:
        policy = method.policy
        if not policy.scope:
            yield method.name, "has no scope"
        if (policy.scope == Scope.SCOPE_TENANT) != bool(policy.least_role):
            yield method.name, "has a least_role if and only if its scope is SCOPE_TENANT: here it is otherwise"


def reads_are_safe(contract: Contract) -> Findings:
    for method in contract.methods:
        reads = method.proto.name.startswith(READS)
        if reads and (method.policy.audited or not method.policy.idempotent):
            yield method.name, "reads, so it is idempotent and not audited"


def http_mapped(contract: Contract) -> Findings:
    """Every RPC a web client may call; none that only services may."""
    for method in contract.methods:
        mapped = bool(_route(method))
        if method.policy.scope == Scope.SCOPE_SERVICE:
            if mapped:
                yield method.name, "has a google.api.http mapping, but only services may call it"
        elif not mapped and not method.proto.client_streaming:
            yield method.name, "has no google.api.http mapping"


def http_unique(contract: Contract) -> Findings:
    seen: dict[tuple[str, str], str] = {}
    for method in contract.methods:
        if not (route := _route(method)):
            continue
        verb, path = route
        shape = (verb, re.sub(r"\{[^}]*\}", "{}", path))
        if shape in seen:
            yield method.name, f"{verb} {path} is also {seen[shape]}"
        seen[shape] = method.name


def http_styled(contract: Contract) -> Findings:
    for method in contract.methods:
        route = _route(method)
        if route and not _PATH.fullmatch(re.sub(r"\{[^}]*\}", "{}", route[1])):
            yield method.name, f"{route[1]} is not made of lowerCamelCase words below /v1"


def http_sound(contract: Contract) -> Findings:
    for method in contract.methods:
        if not (route := _route(method)):
            continue
        verb, path = route
        http = method.proto.options.Extensions[annotations_pb2.http]
        if verb in {"post", "patch", "put"} and not http.body:
            yield method.name, "its mapping has no body"
        if verb in {"get", "delete"} and http.body:
            yield method.name, "its mapping has a body"
        for variable in re.findall(r"\{([^}=]*)", path):
            if not _has_field(contract, method.request, variable):
                yield method.name, f"{variable} in its path is no field of the request"


def _route(method: Method) -> tuple[str, str] | None:
    http = method.proto.options.Extensions[annotations_pb2.http]
    verb = http.WhichOneof("pattern")
    return (str(verb), str(getattr(http, verb))) if verb else None


def _has_field(contract: Contract, message: str, path: str) -> bool:
    for name in path.split("."):
        found = next((f for f in contract.messages[message].field if f.name == name), None)
        if found is None:
            return False
        message = found.type_name.removeprefix(".")
    return True


def request_ids(contract: Contract) -> Findings:
    for method in contract.methods:
        message = contract.messages[method.request]
        found = any(f.name == "request_id" and _validated_as_uuid(f) for f in message.field)
        if method.policy.audited and not method.streams and not found:
            yield method.name, "changes state and takes no request_id that is a UUID"


def lists_are_paged(contract: Contract) -> Findings:
    for method in contract.methods:
        if not method.proto.name.startswith("List") or method.streams:
            continue
        request = {f.name: f for f in contract.messages[method.request].field}
        reply = {f.name: f for f in contract.messages[method.reply].field}
        if "page_size" not in request or request["page_size"].type != INT32 or "page_token" not in request:
            yield method.name, "takes no page_size and page_token"
        if "next_page_token" not in reply:
            yield method.name, "gives no next_page_token"


def updates_take_a_mask(contract: Contract) -> Findings:
    for method in contract.methods:
        if not re.fullmatch(r"Update(?!Me$).*", method.proto.name):
            continue
        names = {f.name for f in contract.messages[method.request].field}
        if "update_mask" not in names:
            yield method.name, "takes no update_mask"
        resource = next((f for f in contract.messages[method.request].field if f.type_name), None)
        inside = contract.messages.get(resource.type_name.removeprefix(".")) if resource else None
        if "etag" not in names and not (inside and any(f.name == "etag" for f in inside.field)):
            yield method.name, "takes no etag"


def ids_are_uuids(contract: Contract) -> Findings:
    for name, each in contract.request_fields():
        named_so = re.search(r"(?<!external)_ids?$", each.name) and not _output_only(each)
        if each.type == STRING and named_so and not _validated_as_uuid(each):
            yield name, "is an id without (buf.validate.field).string.uuid"


def ids_say_what_they_name(contract: Contract) -> Findings:
    """The isolation probes send another tenant's id in every such field, so they must know its kind."""
    people = [method for method in contract.methods if method.policy.scope != Scope.SCOPE_SERVICE]
    for name, each in contract.request_fields(people):
        if _validated_as_uuid(each) and each.name != "request_id" and not _refers_to(each):
            yield name, "is an id without (bulkhead.rpc.v1.refers_to)"


def bounded(contract: Contract) -> Findings:
    """Texts, bytes and lists that a client sends."""
    for name, each in contract.request_fields():
        rules = each.options.Extensions[validate_pb2.field]
        if each.label == FieldDescriptorProto.LABEL_REPEATED and not _is_map(contract, each):
            if not rules.repeated.max_items:
                yield name, "is a list without max_items"
            rules = rules.repeated.items
        if each.type in {STRING, BYTES} and not _is_bounded(rules, each):
            yield name, "has no limit on its length"


def _is_bounded(rules: validate_pb2.FieldRules, each: FieldDescriptorProto) -> bool:
    if each.type == BYTES:
        return bool(rules.bytes.max_len or rules.bytes.len)
    text = rules.string
    limited = text.max_len or text.max_bytes or text.len or text.const or getattr(text, "in") or text.uuid
    # The kit knows the form of an etag and refuses any other.
    return bool(limited or _is_finite(text.pattern) or _output_only(each) or each.name == "etag")


def _is_finite(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$") and not re.search(r"[*+]|,\}", pattern)


def _output_only(each: FieldDescriptorProto) -> bool:
    return field_behavior_pb2.OUTPUT_ONLY in each.options.Extensions[field_behavior_pb2.field_behavior]


def _is_map(contract: Contract, each: FieldDescriptorProto) -> bool:
    message = contract.messages.get(each.type_name.removeprefix("."))
    return message is not None and message.options.map_entry


def enums_are_closed(contract: Contract) -> Findings:
    for name, each in contract.request_fields():
        rules = each.options.Extensions[validate_pb2.field]
        chosen = rules.repeated.items if each.label == FieldDescriptorProto.LABEL_REPEATED else rules
        if each.type == ENUM and not chosen.enum.defined_only and not _output_only(each):
            yield name, "takes values the enum does not define"


def secrets_are_marked(contract: Contract) -> Findings:
    for message_name, message in contract.messages.items():
        for each in message.field:
            secret = re.search(r"password|secret|(?<!page_)token$|private_key", each.name)
            if each.type in {STRING, BYTES} and secret and not each.options.Extensions[options_pb2.sensitive]:
                yield f"{message_name}.{each.name}", "is not marked (bulkhead.rpc.v1.sensitive)"


def _validated_as_uuid(each: FieldDescriptorProto) -> bool:
    rules = each.options.Extensions[validate_pb2.field]
    return rules.string.uuid or rules.repeated.items.string.uuid


def _refers_to(each: FieldDescriptorProto) -> str:
    return str(each.options.Extensions[options_pb2.refers_to])


_IMPORT = "a broken item is named in the report and passed over: it must not end the stream"

RULES = [
    ContractRule("comments", commented),
    ContractRule("prose of RPCs", rpc_prose),
    ContractRule("known reasons", known_reasons),
    ContractRule("reasons explained", reasons_explained),
    ContractRule("policies", policies),
    ContractRule("reads are safe", reads_are_safe),
    ContractRule("http mapped", http_mapped),
    ContractRule("http unique", http_unique),
    ContractRule(
        "http styled",
        http_styled,
        allowed={"bulkhead.identity.v1.AuthService/GetJwks": "whoever reads keys looks for them at this path"},
    ),
    ContractRule("http sound", http_sound),
    ContractRule(
        "request ids",
        request_ids,
        allowed={
            "bulkhead.identity.v1.AuthService/RefreshToken": "the token itself says that a call is a repeat",
            "bulkhead.identity.v1.MembershipService/ImportMembers": "external ids say who has been imported",
        },
    ),
    ContractRule(
        "lists are paged",
        lists_are_paged,
        allowed={
            "bulkhead.identity.v1.PlatformService/ListPlans": "a price list is small",
            "bulkhead.issues.v1.WorkflowService/ListStatuses": "a workflow is small and of use as a whole only",
        },
    ),
    ContractRule("updates take a mask", updates_take_a_mask),
    ContractRule(
        "ids are UUIDs",
        ids_are_uuids,
        allowed={
            "bulkhead.audit.v1.NewEvent.request_id": "what a client sent in x-request-id, of any form",
        },
    ),
    ContractRule("ids say what they name", ids_say_what_they_name),
    ContractRule(
        "bounded",
        bounded,
        allowed={
            "bulkhead.issues.v1.ImportComment": _IMPORT,
            "bulkhead.issues.v1.ImportIssue": _IMPORT,
            "bulkhead.issues.v1.ImportLabel": _IMPORT,
            "bulkhead.issues.v1.ImportMoreComments": _IMPORT,
        },
    ),
    ContractRule(
        "enums are closed",
        enums_are_closed,
        allowed={"bulkhead.issues.v1.ImportComment": _IMPORT, "bulkhead.issues.v1.ImportIssue": _IMPORT},
    ),
    ContractRule("secrets are marked", secrets_are_marked),
]
