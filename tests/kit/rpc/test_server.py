"""The life of a service: it starts only with policies, tells its health, and lets calls end before it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit import clock
from bulkhead_kit.interceptors.base import HandlerError
from bulkhead_kit.policy import PolicyError, read_policies
from bulkhead_kit.server import ServerOptions, Service, build_server
from bulkhead_kit.start_error import AddressError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.kit.rpc.calls import failed, invoke, one_by_one, reason_of, replies_of, start
from tests.kit.rpc.probe import KINDS, SERVICE, ProbeServicer, ProbeStub, Reply, Request, add_file, policy
from tests.kit.rpc.world import NAME, make_chain, running

Scope = options_pb2.Scope
Health = health_pb2.HealthCheckResponse

FAULTS: dict[str, tuple[options_pb2.Policy | None, str]] = {
    "NoPolicy": (None, "has no (bulkhead.rpc.v1.policy)"),
    "NoScope": (policy(audited=True), "has no scope"),
    "NoRole": (policy(scope=Scope.SCOPE_TENANT), "needs a least_role"),
    "RoleOfUser": (policy(scope=Scope.SCOPE_USER, least_role=1), "least_role outside SCOPE_TENANT"),
    "RoleOfNobody": (policy(scope=Scope.SCOPE_TENANT, least_role=9), "needs a least_role"),
    "UnknownScope": (policy(scope=99), "has no scope"),
    "NoTime": (policy(scope=Scope.SCOPE_PUBLIC, default=0), "not positive"),
    "ClosingRead": (
        options_pb2.Policy(scope=Scope.SCOPE_USER, allowed_while_suspended=True),
        "allowed_while_suspended, and it changes nothing",
    ),
    "LongDefault": (policy(scope=Scope.SCOPE_PUBLIC, default=60), "above its max_deadline"),
}
for _name, (_policy, _) in FAULTS.items():
    add_file(
        f"bulkhead.broken.{_name.lower()}.v1",
        "BrokenService",
        {"Right": (False, False, policy(scope=Scope.SCOPE_PUBLIC)), _name: (False, False, _policy)},
    )
add_file(
    "bulkhead.times.v1",
    "TimesService",
    {
        "Plain": (False, False, policy(scope=Scope.SCOPE_PUBLIC)),
        "Long": (False, True, policy(scope=Scope.SCOPE_PUBLIC, default=60, longest=600)),
        "Short": (False, False, policy(scope=Scope.SCOPE_PUBLIC, longest=2)),
        "LongOnDemand": (False, False, policy(scope=Scope.SCOPE_PUBLIC, longest=120)),
    },
)


def public_handler(behaviour: Any = None) -> grpc.RpcMethodHandler[Any, Any]:
    async def answer(request: Any, context: Any) -> Any:
        return Reply()

    return grpc.unary_unary_rpc_method_handler(
        behaviour or answer, request_deserializer=Request.FromString, response_serializer=Reply.SerializeToString
    )


@pytest.mark.parametrize("name", FAULTS)
async def test_a_server_with_a_faulty_policy_does_not_start(name: str) -> None:
    server = build_server(make_chain(), ServerOptions())
    service = f"bulkhead.broken.{name.lower()}.v1.BrokenService"
    server.add_registered_method_handlers(service, {"Right": public_handler(), name: public_handler()})
    with pytest.raises(PolicyError) as caught:
        await server.start()
    assert str(caught.value).startswith(f"{service}/{name}: ")
    assert FAULTS[name][1] in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    services = [f"bulkhead.broken.{name.lower()}.v1.BrokenService" for name in FAULTS]
    with pytest.raises(PolicyError) as caught:
        read_policies(services)
    assert all(f"/{name}: " in str(caught.value) for name in FAULTS)
    assert "/Right" not in str(caught.value)


def test_deadlines_of_policies() -> None:
    found = {one.method.partition("/")[2]: one for one in read_policies(["bulkhead.times.v1.TimesService"]).values()}
    times = {name: (one.default_deadline, one.max_deadline) for name, one in found.items()}
    assert times == {"Plain": (10, 10), "Long": (60, 600), "Short": (2, 2), "LongOnDemand": (10, 120)}


async def test_handlers_of_the_wrong_sort_keep_the_server_from_starting() -> None:
    def plain(request: Any, context: Any) -> Any:
        return Reply()

    async def generator(request: Any, context: Any) -> AsyncIterator[Any]:
        yield Reply()

    service = "bulkhead.times.v1.TimesService"
    codecs = {"request_deserializer": Request.FromString, "response_serializer": Reply.SerializeToString}
    for handler in (
        public_handler(plain),
        public_handler(generator),
        grpc.unary_stream_rpc_method_handler(generator, **codecs),
        grpc.unary_unary_rpc_method_handler(generator),
    ):
        server = build_server(make_chain(), ServerOptions())
        server.add_registered_method_handlers(service, {"Plain": handler})
        with pytest.raises(HandlerError, match=f"{service}/Plain: its handler"):
            await server.start()


async def test_nothing_is_served_past_the_policies() -> None:
    server = build_server(make_chain(), ServerOptions())
    handlers = grpc.method_handlers_generic_handler("bulkhead.times.v1.TimesService", {"Plain": public_handler()})
    server.add_generic_rpc_handlers((handlers,))
    with pytest.raises(PolicyError, match="TimesService were not registered by name"):
        await server.start()

    class Anything(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            return public_handler()

    with pytest.raises(PolicyError):
        server.add_generic_rpc_handlers((Anything(),))
    other = build_server(make_chain(), ServerOptions())
    other.add_registered_method_handlers("bulkhead.times.v1.TimesService", {"Undescribed": public_handler()})
    with pytest.raises(PolicyError, match="TimesService/Undescribed: not in the descriptor"):
        await other.start()


async def test_an_unknown_method_is_unimplemented() -> None:
    async with running() as world, grpc.aio.insecure_channel(world.address) as channel:
        for name in (f"/{SERVICE}/Nothing", "/other.Service/Ask"):
            call: Any = channel.unary_unary(name)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", KINDS)
async def test_messages_have_a_limit_both_ways(method: str) -> None:
    async with running() as world, world.stub([("grpc.max_receive_message_length", -1)]) as stub:
        fits = Request(text="hi", payload=b"x" * ((1 << 20) - 100))
        assert (await invoke(stub, method, fits))[-1] == "hi"
        world.servicer.requests.clear()
        answer = await failed(stub, method, Request(text="hi", payload=b"x" * ((1 << 20) + 1)))
        assert answer.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert world.servicer.requests == []

        async def script(request: Any) -> str:
            return "x" * ((1 << 20) + 1)

        world.servicer.script = script
        assert (await failed(stub, method)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        world.servicer.reset()
        assert (await invoke(stub, method))[-1] == "hi"


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    status: int = (
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    ).status
    return status


async def becomes(channel: grpc.aio.Channel, service: str, status: int) -> None:
    give_up = clock.monotonic() + 3
    while await health_of(channel, service) != status:
        assert clock.monotonic() < give_up
        await asyncio.sleep(0.01)


async def test_health_follows_the_probe_and_needs_no_token() -> None:
    down = "the database cannot be reached"
    async with running(missing=down) as world, grpc.aio.insecure_channel(world.address) as channel:
        for service in ("", SERVICE):
            assert await health_of(channel, service) == Health.NOT_SERVING
        # A service that is not ready still answers, with whatever it can say.
        assert await invoke(ProbeStub(channel), "Ask") == ["hi"]
        for missing in (None, down, None, TimeoutError(), None, RuntimeError()):
            world.missing = missing
            for service in ("", SERVICE):
                await becomes(channel, service, Health.SERVING if missing is None else Health.NOT_SERVING)
        assert world.service.health.missing == "the probe failed with RuntimeError"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_of(channel, "unknown.Service")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["Check", "Watch"])
@pytest.mark.parametrize("messages", [(), (b"\xff\xff",)], ids=["none", "broken"])
async def test_a_health_request_that_is_none_is_told_why(method: str, messages: tuple[bytes, ...]) -> None:
    async with running() as world, grpc.aio.insecure_channel(world.address) as channel:
        make: Any = channel.stream_unary if method == "Check" else channel.stream_stream
        call = make(f"/grpc.health.v1.Health/{method}")(one_by_one(messages))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call if method == "Check" else call.read())
        assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_a_probe_that_hangs_is_a_no() -> None:
    options = ServerOptions(probe_every=0.02, probe_timeout=0.05, drain_delay=0.0)

    async def ready() -> str | None:
        await asyncio.sleep(5)
        return None

    service = Service(NAME, chain=make_chain(), options=options, ready=ready, register=ProbeServicer().register)
    began = clock.monotonic()
    await service.start()
    assert clock.monotonic() - began < 1
    assert (service.health.serving, service.health.missing) == (False, "no answer within 0.05 s")
    await service.stop()


async def test_reflection_is_there_in_development_only() -> None:
    async def services(address: str) -> list[str]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            asked = reflection_pb2.ServerReflectionRequest(list_services="")
            replies = [reply async for reply in stub.ServerReflectionInfo(iter([asked]))]
            return [one.name for one in replies[0].list_services_response.service]

    async with running(options=ServerOptions(reflection=True, drain_delay=0.0)) as world:
        assert set(await services(world.address)) >= {SERVICE, "grpc.health.v1.Health"}
    async with running() as world:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services(world.address)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_taken_address_is_named() -> None:
    async with running() as world:
        with pytest.raises(AddressError, match=f"probe cannot listen on {world.address}: is it in use"):
            async with running(options=ServerOptions(address=world.address)):
                pass


async def test_processes_may_share_a_port() -> None:
    options = ServerOptions(address="127.0.0.1:0", share_port=True, drain_delay=0.0)
    async with running(options=options) as first:
        shared = ServerOptions(address=first.address, share_port=True, drain_delay=0.0)
        async with running(options=shared) as second:
            assert first.address == second.address


async def test_a_process_that_leaves_a_shared_port_tells_its_clients_and_no_balancer() -> None:
    options = ServerOptions(address="127.0.0.1:0", share_port=True, drain_delay=60.0)
    async with running(options=options) as world, grpc.aio.insecure_channel(world.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == Health.SERVING
        began = clock.monotonic()
        stopping = asyncio.create_task(world.service.stop())
        assert (await watch.read()).status == Health.NOT_SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status == Health.SERVING
        await stopping
        # Nobody called any more.
        assert clock.monotonic() - began < 30


async def test_a_process_that_cannot_serve_says_so_at_a_shared_port_too() -> None:
    options = ServerOptions(address="127.0.0.1:0", share_port=True, drain_delay=60.0)
    async with (
        running(options=options, missing="the database") as world,
        grpc.aio.insecure_channel(world.address) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == Health.NOT_SERVING
        stopping = asyncio.create_task(world.service.stop())
        await asyncio.sleep(0)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == Health.NOT_SERVING
        await stopping


async def test_what_a_service_opened_is_closed_when_its_address_is_taken() -> None:
    closed = []

    async def close() -> None:
        closed.append(True)

    async with running() as world:
        other = Service(
            "other",
            chain=world.chain,
            options=ServerOptions(address=world.address),
            ready=close,
            register=world.servicer.register,
            close=[close],
        )
        closed.clear()
        with pytest.raises(AddressError):
            await other.start()
        # The look at health, and the end.
        assert closed == [True, True]


class Slow:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = asyncio.Event()

    async def __call__(self, request: Any) -> str:
        self.begun.set()
        await asyncio.sleep(self.seconds)
        return "finished"


@pytest.mark.parametrize("method", KINDS)
async def test_a_running_call_ends_before_the_resources_close(method: str) -> None:
    async with running() as world, world.stub() as stub:
        world.servicer.script = slow = Slow(0.4)
        closed: list[tuple[int, int]] = []

        async def close() -> None:
            closed.append((world.chain.running, world.servicer.ended))

        world.service.close.append(close)
        call = start(stub, method)
        await slow.begun.wait()
        began = clock.monotonic()
        stopping = asyncio.create_task(world.service.stop())
        assert (await replies_of(call, method))[-1] == "finished"
        await stopping
        assert closed == [(0, 1)]
        assert clock.monotonic() - began < 1.5


async def test_draining_says_not_serving_then_refuses_then_stops() -> None:
    options = ServerOptions(drain_delay=0.3, grace=2.0, probe_every=0.05)
    async with (
        running(options=options) as world,
        world.stub() as stub,
        grpc.aio.insecure_channel(world.address) as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == Health.SERVING
        world.servicer.script = slow = Slow(0.8)
        call = start(stub, "Ask")
        await slow.begun.wait()
        began = clock.monotonic()
        stopping = asyncio.create_task(world.service.stop())
        assert (await watch.read()).status == Health.NOT_SERVING
        # Clients that have not noticed yet are still served.
        world.servicer.script = Slow(0.0)
        assert await invoke(stub, "Ask") == ["finished"]
        await asyncio.sleep(0.45)
        async with world.stub() as late:
            assert (await failed(late, "Ask")).code() == grpc.StatusCode.UNAVAILABLE
        assert (await call).text == "finished"
        await stopping
        # The open health watch did not make it wait for the whole grace.
        assert clock.monotonic() - began < 1.6


async def test_a_call_longer_than_the_grace_is_cancelled() -> None:
    async with running(options=ServerOptions(drain_delay=0.0, grace=0.3)) as world, world.stub() as stub:
        world.servicer.script = slow = Slow(5)
        call = start(stub, "Ask")
        await slow.begun.wait()
        began = clock.monotonic()
        await world.service.stop()
        assert clock.monotonic() - began < 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert world.servicer.ended == 1
