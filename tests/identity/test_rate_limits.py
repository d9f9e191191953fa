"""Identity's own limits: its public methods by address, before any password is looked at."""

from __future__ import annotations

import secrets
from collections import Counter
from pathlib import Path

import grpc.aio
import pytest
from bulkhead_identity.settings import IdentitySettings
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.settings import SettingsError
from prometheus_client import REGISTRY
from pydantic import SecretStr

from tests.support.client import Client, reason_of
from tests.support.house import House
from tests.support.redis import RedisServer, needs_redis


def round_trips() -> float:
    return REGISTRY.get_sample_value("bulkhead_db_round_trips_total", {"pool": "identity"}) or 0.0


@pytest.mark.parametrize("guesses", [1000, pytest.param(5000, marks=pytest.mark.soak)])
async def test_guesses_over_many_accounts_from_one_address_are_refused_before_the_database(
    house: House, guesses: int
) -> None:
    service = house.build("identity", {}, rate_per_method="Login=20/hour")
    address = await service.start()
    outcomes: Counter[str] = Counter()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            stranger = Client({"identity": channel}, lambda _: ())
            for n in range(guesses):
                if n == 20:
                    before = round_trips()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stranger.identity.Login(email=f"nobody{n}@example.com", password="a guess of somebody")
                outcomes[reason_of(caught.value)] += 1
            spent = round_trips() - before
    finally:
        await service.stop()
    print(f"{guesses} guesses from one address: {dict(outcomes)}, {spent:.0f} round trips for those refused")
    assert outcomes == {"CREDENTIALS_INVALID": 20, "RATE_LIMITED": guesses - 20}
    # Health looks in on the database now and then.
    assert spent < 20


async def test_guessed_api_keys_are_refused_before_the_database(house: House) -> None:
    service = house.build("identity", {}, rate_failed_keys="20/hour")
    address = await service.start()
    outcomes: Counter[str] = Counter()
    before = round_trips()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            nobody = Client({"identity": channel}, lambda _: ())
            for _ in range(500):
                key = f"bh_abcdefgh_{secrets.token_urlsafe(32)}"
                guesser = nobody.with_metadata(("authorization", f"Bearer {key}"))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await guesser.identity.GetTenant()
                outcomes[reason_of(caught.value)] += 1
            spent = round_trips() - before
    finally:
        await service.stop()
    print(f"500 guessed keys from one address: {dict(outcomes)}, {spent:.0f} round trips")
    assert outcomes == {"TOKEN_INVALID": 20, "RATE_LIMITED": 480}
    assert 20 <= spent < 30


@needs_redis
async def test_replicas_with_redis_refuse_as_one(house: House, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        url = SecretStr(redis.url)
        replicas = [house.build("identity", {}, rate_per_method="GetJwks=30/hour", redis_url=url) for _ in range(3)]
        channels = [grpc.aio.insecure_channel(await replica.start()) for replica in replicas]
        try:
            callers = [Client({"identity": channel}, lambda _: ()) for channel in channels]
            outcomes = Counter([await jwks(callers[n % 3]) for n in range(200)])
            redis.kill()
            # Each remembers what they said together, and goes on from there alone.
            outcomes_alone = Counter([await jwks(callers[n % 3]) for n in range(200)])
        finally:
            for channel in channels:
                await channel.close()
            for replica in replicas:
                await replica.stop()
    print(f"200 calls over three replicas: {dict(outcomes)}, and when Redis was gone {dict(outcomes_alone)}")
    assert outcomes == {"OK": 30, "RATE_LIMITED": 170}
    assert outcomes_alone == {"RATE_LIMITED": 200}


async def jwks(caller: Client) -> str:
    try:
        await caller.identity.GetJwks()
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "OK"


async def test_a_service_starts_and_works_without_the_redis_it_was_told_of(house: House) -> None:
    service = house.build("identity", {}, redis_url=SecretStr("redis://127.0.0.1:1/0"))
    address = await service.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            assert [await jwks(Client({"identity": channel}, lambda _: ())) for _ in range(20)] == ["OK"] * 20
    finally:
        await service.stop()


async def test_a_redis_url_that_is_none_is_refused_without_showing_it(house: House) -> None:
    with pytest.raises(SettingsError) as caught:
        house.build("identity", {}, redis_url=SecretStr("http://:secret@redis"))
    assert "BULKHEAD_REDIS_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_rate_for_a_method_that_is_not_there_is_no_rate(house: House) -> None:
    with pytest.raises(SettingsError, match=r"IDENTITY_RATE_PER_METHOD names .* of identity: ListIssues, Log$"):
        house.build("identity", {}, rate_per_method="Log=20/hour,ListIssues=1/hour,Login=5/minute,GetMe=9/minute")


async def test_the_defaults_name_methods_that_are_there(house: House) -> None:
    defaults = IdentitySettings.model_fields["rate_per_method"].default
    assert defaults["Login"] == Rate(60, 60)
    assert house.build("identity", {}, rate_per_method=defaults) is not None
