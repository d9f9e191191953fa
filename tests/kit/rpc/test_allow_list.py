from __future__ import annotations

import pytest
from bulkhead_kit.interceptors.base import Chain
from bulkhead_kit.interceptors.caller import Callers
from bulkhead_kit.interceptors.limits import Limits
from bulkhead_kit.interceptors.telemetry import RpcMetrics
from bulkhead_kit.services_auth import ServiceAllowList
from prometheus_client import CollectorRegistry

from tests.kit.rpc.probe import SERVICE
from tests.kit.rpc.world import FRIEND, authenticator, running


def chain(method: str) -> Chain:
    return Chain(
        callers=Callers(authenticator()),
        services=ServiceAllowList({FRIEND: [f"{SERVICE}/{method}"]}),
        limits=Limits(calls=1, streams=1),
        metrics=RpcMetrics(CollectorRegistry()),
    )


async def test_a_server_starts_when_every_method_of_its_allow_list_exists() -> None:
    async with running(chain=chain("AsService")) as world:
        assert world.address


async def test_a_server_whose_allow_list_names_no_method_of_its_own_does_not_start() -> None:
    with pytest.raises(ValueError, match="AsServise"):
        async with running(chain=chain("AsServise")):
            pass
