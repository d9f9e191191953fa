"""Header forms and limits: what is malformed is refused by name, before anything else happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from bulkhead_kit import metadata
from bulkhead_kit.errors import InvalidArgument
from google.rpc.error_details_pb2 import ErrorInfo
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.rpc.calls import detail_of, failed, invoke, reason_of
from tests.kit.rpc.probe import KINDS
from tests.kit.rpc.world import Person, World, running

TENANT = "0190163d-8694-739b-aea5-966c26f8ad93"


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with running() as made:
        yield made


@pytest.fixture(scope="module")
async def stub(world: World) -> AsyncIterator[Any]:
    async with world.stub() as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    world.servicer.reset()


MALFORMED = [
    ("authorization", ""),
    ("authorization", "Bearer"),
    ("authorization", "Bearer "),
    ("authorization", "Basic dXNlcjpwYXNz"),
    ("authorization", "bearer "),
    ("authorization", "Bearer: abc"),
    ("authorization", "Bearerabc"),
    ("authorization", "Bearer two words"),
    ("x-tenant-id", ""),
    ("x-tenant-id", "acme"),
    ("x-tenant-id", TENANT.replace("-", "")),
    ("x-tenant-id", f"{{{TENANT}}}"),
    ("x-tenant-id", f"urn:uuid:{TENANT}"),
    ("x-tenant-id", TENANT + "0"),
    ("x-request-id", ""),
    ("x-request-id", "two words"),
    ("x-request-id", "x" * 65),
    ("x-forwarded-for", "1" * 1025),
]


@pytest.mark.parametrize(("key", "value"), MALFORMED)
async def test_malformed_metadata_are_refused_by_name(world: World, stub: Any, key: str, value: str) -> None:
    entries = [entry for entry in Person().metadata() if entry[0] != key]
    answer = await failed(stub, "Ask", metadata=[*entries, (key, value)])
    assert (answer.code().name, reason_of(answer)) == ("INVALID_ARGUMENT", "INVALID_METADATA")
    assert dict(detail_of(answer, ErrorInfo).metadata) == {"key": key}
    assert world.servicer.requests == []


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "bEaReR ", "Bearer    "])
async def test_the_scheme_has_no_case_and_blanks_behind_it(world: World, stub: Any, scheme: str) -> None:
    await invoke(stub, "Ask", metadata=[("authorization", scheme + Person().token())])
    assert len(world.servicer.requests) == 1


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("key", ["authorization", "x-tenant-id", "x-request-id"])
async def test_nobody_is_two_callers(world: World, stub: Any, method: str, key: str) -> None:
    """Two proxies may take different ones of two equal headers."""
    person = Person()
    entries = person.metadata(x_tenant_id=str(person.tenant_id), x_request_id="r1")
    again = [value for name, value in entries if name == key]
    answer = await failed(stub, method, metadata=[*entries, (key, again[0])])
    assert reason_of(answer) == "INVALID_METADATA"
    assert dict(detail_of(answer, ErrorInfo).metadata) == {"key": key}
    assert world.servicer.requests == []


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("size", [8_000, 8_193, 10_000, 15_000, 25_000])
async def test_metadata_have_a_limit_that_is_always_the_same(world: World, stub: Any, method: str, size: int) -> None:
    """grpc refuses at random between its two limits; ours are one. 20 calls each, as chance is what must be out."""
    entries = Person().metadata()
    used = sum(len(key) + len(value) + 32 for key, value in entries)
    agent = 150  # what the client adds of its own
    filler = ("x-filler", "x" * (size - used - len("x-filler") - 32 - agent * (size < 8_192)))
    for _ in range(20):
        if size < 8_192:
            assert (await invoke(stub, method, metadata=[*entries, filler]))[-1] == "hi"
        else:
            answer = await failed(stub, method, metadata=[*entries, filler])
            assert reason_of(answer) == "INVALID_METADATA"
            assert "8192 are allowed" in (answer.details() or "")


async def test_far_too_many_metadata_cost_the_server_nothing_else(world: World, stub: Any) -> None:
    entries = [*Person().metadata(), ("x-filler", "x" * 60_000)]
    for _ in range(5):
        answer = await failed(stub, "Ask", metadata=entries)
        assert answer.code().name in ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    assert await invoke(stub, "Ask") == ["hi"]


async def test_a_request_id_is_kept_or_made(world: World, stub: Any) -> None:
    for given_id in ("r", "x" * 64, "0190163d-8694-739b-aea5-966c26f8ad93", "!~#$%&'*+/=?^_`{|}"):
        await invoke(stub, "Ask", metadata=Person().metadata(x_request_id=given_id))
        assert world.servicer.callers[-1].request_id == given_id
    await invoke(stub, "Ask")
    await invoke(stub, "Ask")
    made = [caller.request_id for caller in world.servicer.callers[-2:]]
    assert made[0] != made[1]
    assert [UUID(one).version for one in made] == [7, 7]


async def test_a_broken_traceparent_is_no_reason_to_refuse(world: World, stub: Any) -> None:
    for broken in ("", "garbage", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "x" * 2000):
        assert await invoke(stub, "Ask", metadata=Person().metadata(traceparent=broken)) == ["hi"]


def test_an_upper_case_tenant_is_the_same_tenant() -> None:
    assert metadata.read([("x-tenant-id", TENANT.upper())]).tenant_id == UUID(TENANT)


def test_bytes_are_no_text() -> None:
    for key in ("authorization", "x-tenant-id", "x-request-id", "traceparent"):
        with pytest.raises(InvalidArgument) as caught:
            metadata.read([(key, b"\xff")])
        assert caught.value.metadata == {"key": key}


def test_unknown_entries_count_by_size_only() -> None:
    entry = ("x-other-bin", b"\x00" * 100)
    assert metadata.read([entry] * 10).token is None
    with pytest.raises(InvalidArgument):
        metadata.read([entry] * 60)


def test_a_user_agent_is_cut_and_made_printable() -> None:
    assert metadata.read([("user-agent", "curl/8\x1b[31m\n")]).user_agent == "curl/8?[31m?"
    assert len(metadata.read([("user-agent", "x" * 4000)]).user_agent or "") == 512


keys = st.sampled_from(
    ["authorization", "x-tenant-id", "x-request-id", "traceparent", "x-forwarded-for", "user-agent", "x-other"]
)
entries = st.lists(st.tuples(keys, st.one_of(st.text(max_size=80), st.binary(max_size=80))), max_size=12)


@given(entries)
def test_any_metadata_are_read_or_refused_with_a_reason(found: list[metadata.Entry]) -> None:
    refusal = None
    try:
        read = metadata.read(found)
    except InvalidArgument as error:
        refusal = error
    if refusal is None:
        assert 1 <= len(read.request_id) <= 64
        assert read.request_id.isascii()
    else:
        assert refusal.reason_name == "INVALID_METADATA"
        assert refusal.metadata["key"] in {key for key, _ in found} | {"*"}


def test_what_goes_out_comes_back() -> None:
    sent = metadata.outgoing(token="abc", tenant_id=UUID(TENANT), request_id="r1", traceparent="00-x")
    read = metadata.read(sent)
    assert (read.token, read.tenant_id, read.request_id, read.traceparent) == ("abc", UUID(TENANT), "r1", "00-x")
    assert list(metadata.outgoing(token=None)) == []
