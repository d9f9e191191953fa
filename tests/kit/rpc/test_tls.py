"""TLS on both ends: who proves herself the gateway by certificate, and certificates renewed without a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from bulkhead_kit.client import connect
from bulkhead_kit.server import ServerOptions
from bulkhead_kit.transport import TlsFiles

from tests.kit.rpc.calls import invoke
from tests.kit.rpc.probe import SERVICE, ProbeStub, Request
from tests.kit.rpc.world import FRIEND, named, running, service_token
from tests.support.certificates import Authority

FORWARDED = {"x_forwarded_for": "203.0.113.7", "x_forwarded_user_agent": "Firefox"}


def options(files: TlsFiles) -> ServerOptions:
    return ServerOptions(tls=files, drain_delay=0.0, grace=1.0)


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
        good = grpc.aio.secure_channel(local(world.address), authority.issue("friend").channel_credentials())
        bad = grpc.aio.secure_channel(local(world.address), stranger.channel_credentials())
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
            credentials = authority.issue(name).channel_credentials()
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
        async with grpc.aio.secure_channel(local(world.address), client.channel_credentials()) as channel:
            assert await invoke(ProbeStub(channel), "Ask") == ["hi"]
        # A new authority altogether: the old one's certificates would no longer be believed.
        renewed = Authority(tmp_path)
        renewed.issue("probe")
        os.utime(files.certificate, ns=(1, 1))
        client = renewed.issue("friend")
        for _ in range(3):
            async with grpc.aio.secure_channel(local(world.address), client.channel_credentials()) as channel:
                assert await invoke(ProbeStub(channel), "Ask") == ["hi"]


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
