"""TLS on both ends: who proves herself the gateway by certificate, and certificates renewed without a restart."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from bulkhead_kit import clock
from bulkhead_kit.client import connect
from bulkhead_kit.keywatch import LOOK_SECONDS
from bulkhead_kit.server import ServerOptions
from bulkhead_kit.tls import TlsFiles, channel_credentials
from prometheus_client import REGISTRY

from tests.kit.rpc.calls import invoke
from tests.kit.rpc.probe import SERVICE, ProbeStub, Request, echo
from tests.kit.rpc.world import FRIEND, named, running, service_token
from tests.support.certificates import Authority

FORWARDED = {"x_forwarded_for": "203.0.113.7", "x_forwarded_user_agent": "Firefox"}


def options(files: TlsFiles) -> ServerOptions:
    return ServerOptions(tls=files, drain_delay=0.0, grace=1.0)


@contextmanager
def time_passes(seconds: float) -> Iterator[None]:
    """On the monotonic clock, so that files are looked at again."""
    before = clock.monotonic
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "monotonic", lambda: before() + seconds)
        yield


def local(address: str) -> str:
    """By the name the certificates are for."""
    return address.replace("127.0.0.1", "localhost")


async def test_only_a_certificate_of_the_authority_gets_in(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other", "other")
    stranger = other.issue("friend")
    # It believes the server, but the server does not believe it.
    stranger = TlsFiles(stranger.certificate, stranger.key, authority.path)
    async with running(options=options(authority.issue("probe"))) as world:
        good = grpc.aio.secure_channel(local(world.address), channel_credentials(authority.issue("friend").read()))
        bad = grpc.aio.secure_channel(local(world.address), channel_credentials(stranger.read()))
        plain = grpc.aio.insecure_channel(world.address)
        async with good, bad, plain:
            assert await invoke(ProbeStub(good), "Ask") == ["hi"]
            for channel in (bad, plain):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await invoke(ProbeStub(channel), "Ask")
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert len(world.servicer.requests) == 1


async def test_the_gateway_proves_itself_by_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running(options=options(authority.issue("probe"))) as world:
        seen: dict[str, Any] = {}
        for name in ("gateway", "friend", "gateway.example"):
            credentials = channel_credentials(authority.issue(name).read())
            async with grpc.aio.secure_channel(local(world.address), credentials) as channel:
                await invoke(ProbeStub(channel), "AsAnyone", metadata=named(FORWARDED))
            seen[name] = (world.servicer.callers[-1].ip, world.servicer.callers[-1].user_agent)
        assert seen["gateway"] == ("203.0.113.7", "Firefox")
        for name in ("friend", "gateway.example"):
            assert seen[name][0] in ("127.0.0.1", "::1")
            assert seen[name][1].startswith("grpc-python")


async def test_a_renewed_certificate_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("probe")
    client = authority.issue("friend")
    async with running(options=options(files)) as world:
        async with grpc.aio.secure_channel(local(world.address), channel_credentials(client.read())) as channel:
            assert await invoke(ProbeStub(channel), "Ask") == ["hi"]
        # A new authority altogether: the old one's certificates would no longer be believed.
        renewed = Authority(tmp_path)
        renewed.issue("probe")
        os.utime(files.certificate, ns=(1, 1))
        client = renewed.issue("friend")
        for _ in range(3):
            async with grpc.aio.secure_channel(local(world.address), channel_credentials(client.read())) as channel:
                assert await invoke(ProbeStub(channel), "Ask") == ["hi"]


async def test_a_client_takes_up_renewed_files_and_goes_on(tmp_path: Path) -> None:
    """By the next call; one that is on its way ends on the connection it began on."""
    authority = Authority(tmp_path)
    files, own = authority.issue("probe"), authority.issue("friend")
    async with running(options=options(files)) as world:
        async with connect(
            local(world.address),
            service="probe",
            contracts=[SERVICE],
            token=lambda caller: service_token(FRIEND),
            tls=own,
        ) as channel:
            stub = ProbeStub(channel)
            before: Any = await channel.call(stub.AsService, Request(text="hi"), caller=None)
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def slow(_request: Any) -> str:
                begun.set()
                await go_on.wait()
                return "finished"

            world.servicer.script = slow
            running_call = asyncio.create_task(channel.call(stub.AsService, Request(text="slow"), caller=None))
            await begun.wait()
            world.servicer.script = echo
            # A new authority altogether: the server believes nothing that the old one has signed.
            renewed = Authority(tmp_path)
            renewed.issue("probe")
            renewed.issue("friend")
            with time_passes(LOOK_SECONDS):
                after: Any = await channel.call(stub.AsService, Request(text="hi"), caller=None)
            go_on.set()
            assert (await running_call).text == "finished"
        assert before.text == after.text == "hi"


async def test_half_of_a_renewal_changes_nothing(tmp_path: Path) -> None:
    """A certificate whose key has not come yet: both ends go on with what they have, and say so."""
    authority = Authority(tmp_path)
    files, own = authority.issue("probe"), authority.issue("friend")
    keys = {path: path.read_bytes() for path in (files.key, own.key)}
    async with (
        running(options=options(files)) as world,
        connect(
            local(world.address), service="probe", contracts=[SERVICE], token=lambda _: service_token(FRIEND), tls=own
        ) as channel,
    ):
        stub = ProbeStub(channel)
        await channel.call(stub.AsService, Request(text="hi"), caller=None)
        for name in ("probe", "friend"):
            authority.issue(name)
        for path, text in keys.items():
            path.write_bytes(text)
        with structlog.testing.capture_logs() as lines, time_passes(LOOK_SECONDS):
            await channel.call(stub.AsService, Request(text="hi"), caller=None)
            async with grpc.aio.insecure_channel(local(world.address)) as stranger:
                with pytest.raises(grpc.aio.AioRpcError):
                    await invoke(ProbeStub(stranger), "Ask")
        said = [line["reason"] for line in lines if line["event"] == "tls_files_not_reloaded"]
        assert f"{own.key} is not the key of {own.certificate}" in said
        assert f"{files.key} is not the key of {files.certificate}" in said


async def test_log_and_metrics_name_what_is_used(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("probe")
    with structlog.testing.capture_logs() as lines:
        async with running(options=options(files)):
            pass
    leaf = files.read().leaf
    (line,) = (one for one in lines if one["event"] == "tls_certificate")
    assert (line["subject"], line["issuer"]) == ("CN=probe", "CN=authority")
    assert (line["not_before"], line["not_after"]) == (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    # It is valid for an hour.
    assert "tls_certificate_ends_soon" in [one["event"] for one in lines]
    name = "bulkhead_tls_certificate_not_after_timestamp_seconds"
    ends = REGISTRY.get_sample_value(name, {"file": str(files.certificate)})
    assert ends == leaf.not_valid_after_utc.timestamp()


async def test_an_expired_certificate_is_an_error_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Authority(tmp_path).issue("probe")
    later = datetime.now(UTC) + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    with structlog.testing.capture_logs() as lines:
        files.watch()
    assert [one["log_level"] for one in lines if one["event"] == "tls_certificate_not_valid_now"] == ["error"]


async def test_services_speak_tls_to_each_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with running(options=options(authority.issue("probe"))) as world:
        files = authority.issue("friend")
        async with connect(
            local(world.address),
            service="probe",
            contracts=[SERVICE],
            token=lambda caller: service_token(FRIEND),
            tls=files,
        ) as channel:
            reply: Any = await channel.call(ProbeStub(channel).AsService, Request(text="hi"), caller=None)
            assert reply.text == "hi"
