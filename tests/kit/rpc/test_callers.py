"""Who may call what, and who the handler is told has called."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import clock
from bulkhead_kit.api_keys import KeyOwner
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.clock import ManualClock
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.ids import new_id
from bulkhead_kit.server import ServerOptions
from google.rpc.error_details_pb2 import ErrorInfo

from tests.kit.rpc.calls import detail_of, failed, invoke, reason_of
from tests.kit.rpc.probe import KINDS, SERVICE, ProbeStub
from tests.kit.rpc.world import (
    FRIEND,
    Person,
    World,
    make_chain,
    make_signer,
    named,
    running,
    service_metadata,
    service_token,
)

API_KEY = "bh_test_0123456789"
KEY_TENANT = new_id()
KEY_USER = new_id()
KEY_MAKER = new_id()


async def api_keys(key: str, nobody: Caller) -> KeyOwner:
    assert (nobody.actor_type, nobody.user_id, nobody.tenant_id) == ("anonymous", None, None)
    assert nobody.ip in ("127.0.0.1", "::1")
    if key != API_KEY:
        raise Unauthenticated(ErrorReason.TOKEN_INVALID, "no such API key")
    return KeyOwner(KEY_TENANT, KEY_USER, Role.MEMBER, 7, 1_800_000_000.5, KEY_MAKER)


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with running(chain=make_chain(api_keys=api_keys)) as made:
        yield made


@pytest.fixture(scope="module")
async def stub(world: World) -> AsyncIterator[Any]:
    async with world.stub() as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    world.servicer.reset()


Metadata = list[tuple[str, str]]
TENANT = new_id()
# Made when they are sent: a long run would outlive tokens made at its beginning.
CALLERS: dict[str, Callable[[], Metadata]] = {
    "nobody": list,
    "without tenant": lambda: Person(tenant_id=None).metadata(),
    "viewer": lambda: Person(TENANT, Role.VIEWER).metadata(),
    "member": lambda: Person(TENANT, Role.MEMBER).metadata(),
    "owner": lambda: Person(TENANT, Role.OWNER).metadata(),
    "platform": lambda: Person(tenant_id=None, platform_admin=True).metadata(),
    "api key": lambda: named({"authorization": f"Bearer {API_KEY}"}),
    "friend": lambda: service_metadata(FRIEND, x_tenant_id=str(TENANT)),
    "stranger": lambda: service_metadata("stranger", x_tenant_id=str(TENANT)),
}
MISSING, NO_TENANT, NOT_YOU, TOO_LOW = "TOKEN_MISSING", "TENANT_NOT_SELECTED", "CALLER_NOT_ALLOWED", "ROLE_TOO_LOW"
MATRIX = {
    "AsAnyone": {},
    "AsUser": {
        "nobody": MISSING,
        "api key": NOT_YOU,
        "friend": NOT_YOU,
        "stranger": NOT_YOU,
    },
    "Ask": {
        "nobody": MISSING,
        "without tenant": NO_TENANT,
        "platform": NO_TENANT,
        "stranger": NOT_YOU,
    },
    "AsOwner": {
        "nobody": MISSING,
        "without tenant": NO_TENANT,
        "platform": NO_TENANT,
        "viewer": TOO_LOW,
        "member": TOO_LOW,
        "api key": TOO_LOW,
        "friend": NOT_YOU,
        "stranger": NOT_YOU,
    },
    "AsService": {who: NOT_YOU for who in CALLERS if who != "friend"} | {"nobody": MISSING},
    "AsPlatform": {who: NOT_YOU for who in CALLERS if who != "platform"} | {"nobody": MISSING},
}


@pytest.mark.parametrize(("method", "who"), list(itertools.product(MATRIX, CALLERS)))
async def test_who_may_call_what(world: World, stub: Any, method: str, who: str) -> None:
    refusal = MATRIX[method].get(who)
    if refusal is None:
        assert await invoke(stub, method, metadata=CALLERS[who]()) == ["hi"]
        return
    answer = await failed(stub, method, metadata=CALLERS[who]())
    assert reason_of(answer) == refusal
    unknown = refusal in (MISSING, NO_TENANT)
    assert answer.code().name == ("UNAUTHENTICATED" if unknown else "PERMISSION_DENIED")
    if refusal == TOO_LOW:
        assert dict(detail_of(answer, ErrorInfo).metadata) == {"least_role": "OWNER"}
    assert world.servicer.requests == []


@pytest.mark.parametrize("method", KINDS)
async def test_every_kind_of_method_is_guarded(world: World, stub: Any, method: str) -> None:
    assert reason_of(await failed(stub, method, metadata=[])) == MISSING
    assert world.servicer.requests == []


async def test_the_handler_is_told_of_a_person(world: World, stub: Any) -> None:
    person = Person(TENANT, Role.MANAGER)
    await invoke(stub, "Ask", metadata=person.metadata(x_tenant_id=str(TENANT), x_request_id="r1"))
    caller = world.servicer.callers[-1]
    assert (caller.actor_type, caller.tenant_id, caller.user_id, caller.role, caller.membership_version) == (
        "person",
        TENANT,
        person.user_id,
        Role.MANAGER,
        3,
    )
    assert (caller.session_id, caller.service, caller.is_platform_admin) == (person.session_id, None, False)
    assert (caller.rpc, caller.request_id, caller.ip) == (f"{SERVICE}/Ask", "r1", "127.0.0.1")
    assert (caller.user_agent or "").startswith("grpc-python-asyncio/")


async def test_the_handler_is_told_of_a_service_and_its_tenant(world: World, stub: Any) -> None:
    await invoke(stub, "AsService", metadata=service_metadata(FRIEND))
    await invoke(stub, "Ask", metadata=service_metadata(FRIEND, x_tenant_id=str(TENANT)))
    first, second = world.servicer.callers
    assert (first.actor_type, first.service, first.tenant_id) == ("service", FRIEND, None)
    assert (second.actor_type, second.service, second.tenant_id, second.role) == ("service", FRIEND, TENANT, None)


async def test_the_handler_is_told_of_an_api_key(world: World, stub: Any) -> None:
    await invoke(stub, "Ask", metadata=CALLERS["api key"]())
    caller = world.servicer.callers[-1]
    assert (caller.actor_type, caller.tenant_id, caller.user_id) == ("service_account", KEY_TENANT, KEY_USER)
    assert (caller.role, caller.membership_version, caller.session_id) == (Role.MEMBER, 7, None)
    assert caller.token_expires_at == 1_800_000_000.5
    assert caller.shares() == (KEY_TENANT.int, KEY_MAKER.int)
    wrong = await failed(stub, "Ask", metadata=[("authorization", "Bearer bh_wrong_0123456789")])
    assert reason_of(wrong) == "TOKEN_INVALID"


async def test_a_server_without_api_keys_refuses_them() -> None:
    async with running() as world, world.stub() as stub:
        assert reason_of(await failed(stub, "Ask", metadata=CALLERS["api key"]())) == "TOKEN_INVALID"
        assert await invoke(stub, "AsAnyone", metadata=CALLERS["api key"]()) == ["hi"]
        assert world.servicer.callers[-1].actor_type == "anonymous"


@pytest.mark.parametrize("method", ["Ask", "AsOwner", "AsUser"])
async def test_another_tenant_in_the_metadata_is_refused(world: World, stub: Any, method: str) -> None:
    person = Person(TENANT, Role.OWNER)
    answer = await failed(stub, method, metadata=person.metadata(x_tenant_id=str(new_id())))
    assert (answer.code().name, reason_of(answer)) == ("UNAUTHENTICATED", "TENANT_MISMATCH")
    api_key = await failed(stub, "Ask", metadata=[*CALLERS["api key"](), ("x-tenant-id", str(TENANT))])
    assert reason_of(api_key) == "TENANT_MISMATCH"
    without = Person(tenant_id=None).metadata(x_tenant_id=str(TENANT))
    assert reason_of(await failed(stub, "AsUser", metadata=without)) == "TENANT_NOT_SELECTED"


async def test_a_service_must_name_the_tenant_and_may_be_bound_to_one(world: World, stub: Any) -> None:
    answer = await failed(stub, "Ask", metadata=service_metadata(FRIEND))
    assert reason_of(answer) == "INVALID_METADATA"
    assert dict(detail_of(answer, ErrorInfo).metadata) == {"key": "x-tenant-id"}
    bound = [("authorization", f"Bearer {service_token(FRIEND, TENANT)}")]
    assert await invoke(stub, "Ask", metadata=[*bound, ("x-tenant-id", str(TENANT))]) == ["hi"]
    for elsewhere in ([*bound, ("x-tenant-id", str(new_id()))], bound):
        assert reason_of(await failed(stub, "Ask", metadata=elsewhere)) == "TENANT_MISMATCH"


def forged() -> dict[str, str]:
    real = Person(TENANT, Role.OWNER).token()
    header, payload, signature = real.split(".")
    other = Person(TENANT, Role.OWNER).token().split(".")
    stranger = make_signer("access:1")
    return {
        "cut": real[:-1],
        "longer": real + "A",
        "another's signature": f"{header}.{payload}.{other[2]}",
        "another's payload": f"{header}.{other[1]}.{signature}",
        "unsigned": f"{header}.{payload}.",
        "an unknown key of a known name": stranger.sign({"iss": "x"}, "at+jwt"),
        "no JWT": "abc",
        "long": "a" * 5000,
    }


FORGED = forged()


@pytest.mark.parametrize("what", FORGED)
async def test_forged_tokens_are_refused_alike(world: World, stub: Any, what: str) -> None:
    entries = [("authorization", f"Bearer {FORGED[what]}")]
    answer = await failed(stub, "Ask", metadata=entries)
    assert (answer.code().name, reason_of(answer)) == ("UNAUTHENTICATED", "TOKEN_INVALID")
    assert answer.details() == "the token is not valid"
    # Who signs in may send any old token along.
    assert await invoke(stub, "AsAnyone", metadata=entries) == ["hi"]
    caller = world.servicer.callers[-1]
    assert (caller.actor_type, caller.user_id, caller.tenant_id) == ("anonymous", None, None)


async def test_an_expired_token_says_so(world: World, stub: Any) -> None:
    with clock.replaced(ManualClock(clock.now() - timedelta(seconds=400))):
        entries = Person(TENANT).metadata()
    answer = await failed(stub, "Ask", metadata=entries)
    assert reason_of(answer) == "TOKEN_EXPIRED"


async def test_nobody_names_a_tenant_without_a_token(world: World, stub: Any) -> None:
    await invoke(stub, "AsAnyone", metadata=[("x-tenant-id", str(TENANT))])
    assert world.servicer.callers[-1].tenant_id is None


FORWARDED = {"x_forwarded_for": "198.51.100.9, 203.0.113.7", "x_forwarded_user_agent": "Firefox"}


async def test_forwarded_addresses_are_believed_from_the_gateway_only(world: World, stub: Any) -> None:
    for entries in (
        Person(TENANT).metadata(**FORWARDED),
        service_metadata(FRIEND, x_tenant_id=str(TENANT), **FORWARDED),
        named(FORWARDED),
    ):
        await invoke(stub, "AsAnyone", metadata=entries)
        caller = world.servicer.callers[-1]
        assert caller.ip == "127.0.0.1"
        assert (caller.user_agent or "").startswith("grpc-python")
    await invoke(stub, "AsAnyone", metadata=service_metadata("gateway", **FORWARDED))
    caller = world.servicer.callers[-1]
    # The last one is what the gateway saw; the first is whatever the client wrote.
    assert (caller.ip, caller.user_agent) == ("203.0.113.7", "Firefox")


@pytest.mark.parametrize(
    ("forwarded", "ip"),
    [
        ("2001:db8::1", "2001:db8::1"),
        ("1.2.3.4, ", "127.0.0.1"),
        ("'; drop table", "127.0.0.1"),
        ("1.2.3.4:5", "127.0.0.1"),
    ],
)
async def test_a_forwarded_address_is_an_address(world: World, stub: Any, forwarded: str, ip: str) -> None:
    await invoke(stub, "AsAnyone", metadata=service_metadata("gateway", x_forwarded_for=forwarded))
    assert world.servicer.callers[-1].ip == ip


async def test_a_call_by_socket_has_no_address(world: World, tmp_path: Any) -> None:
    path = f"unix:{tmp_path}/probe.sock"
    async with running(options=ServerOptions(address=path, drain_delay=0.0)) as own:
        async with grpc.aio.insecure_channel(path) as channel:
            assert await invoke(ProbeStub(channel), "Ask") == ["hi"]
        assert own.servicer.callers[-1].ip is None
