"""TLS on both ends: who proves herself the gateway by certificate, and certificates renewed without a restart."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from bulkhead_kit import clock
from bulkhead_kit.client import connect
from bulkhead_kit.server import ServerOptions
from bulkhead_kit.transport import TlsFiles
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.kit.rpc.calls import invoke
from tests.kit.rpc.probe import SERVICE, ProbeStub, Request
from tests.kit.rpc.world import FRIEND, named, running, service_token

FORWARDED = {"x_forwarded_for": "203.0.113.7", "x_forwarded_user_agent": "Firefox"}


class Authority:
    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = folder / f"{name}.ca.pem"
        basics = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self.name, self.key.public_key()).add_extension(basics, critical=True)
        self.path.write_bytes(made.sign(self.key, SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str) -> TlsFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")])
        made = self._builder(subject, key.public_key()).add_extension(names, critical=False)
        certificate, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(made.sign(self.key, SHA256()).public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return TlsFiles(certificate, private, self.path)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = clock.now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
        )


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
