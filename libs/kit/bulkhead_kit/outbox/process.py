"""The relay's process: one of several is active, the others stand by and take over within a second."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Final

import psycopg
import structlog

from bulkhead_kit import clock
from bulkhead_kit.keyfiles import load_signer
from bulkhead_kit.outbox.calls import Append, AuditClient
from bulkhead_kit.outbox.relay import Relay, Tuning
from bulkhead_kit.outbox.rows import Outbox, connect
from bulkhead_kit.outbox.tenants import pause
from bulkhead_kit.poolers import NotDirectError
from bulkhead_kit.roles import RolesRefusedError
from bulkhead_kit.services_auth import ServiceTokens
from bulkhead_kit.settings import ServiceSettings
from bulkhead_kit.starting import start_logging, start_metrics
from bulkhead_kit.telemetry import RelayMetrics

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.relay")

STAND_BY_SECONDS: Final = 0.5
STEADY_SECONDS: Final = 10.0
"""Active for so long, a relay that fails counts as one that had worked."""


def run_relay(settings: ServiceSettings) -> None:
    """Until SIGTERM or SIGINT. For a service's __main__: `python -m bulkhead_issues relay`."""
    start_logging(settings)
    asyncio.run(_run(settings))


def retry_parked(settings: ServiceSettings) -> None:
    """Has the active relay try every parked tenant again within a second."""
    start_logging(settings)
    log.info("parked_tried_again", tenants=asyncio.run(_retry(settings)))


async def _run(settings: ServiceSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings.demand_protected_call("audit")
    start_metrics(settings)
    tokens = ServiceTokens(settings.service, load_signer(settings.keys_dir, settings.service))
    audit = AuditClient(settings.audit_address, tokens, settings.tls())
    try:
        url = settings.conninfo("relay_database_url")
        await keep_delivering(url, settings.service, audit, RelayMetrics(), stop, Tuning())
    finally:
        await audit.close()


async def keep_delivering(
    url: str, schema: str, append: Append, metrics: RelayMetrics, stop: asyncio.Event, tuning: Tuning
) -> None:
    """Through every loss of the database: the lock is had anew, or another relay has it by then."""
    failures = 0
    while not stop.is_set():
        started = clock.monotonic()
        try:
            await _mandate(url, schema, append, metrics, stop, tuning)
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("relay_lost_database", error=str(error).strip())
        except NotDirectError as error:
            log.error("relay_behind_pooler", detail=str(error), setting=_setting(schema))
        except RolesRefusedError as error:
            # It tries again, later and later: `bulkhead doctor` says what to do meanwhile.
            log.error("roles_refused", detail=str(error))
        except Exception as error:  # a supervisor loop: a relay that died of a fault would stop the whole trail
            log.error("relay_failed", exc_info=error)
        finally:
            metrics.active.set(0)
        failures = 1 if clock.monotonic() - started > STEADY_SECONDS else failures + 1
        await _wait(stop, pause(failures))


async def _mandate(
    url: str, schema: str, append: Append, metrics: RelayMetrics, stop: asyncio.Event, tuning: Tuning
) -> None:
    """From one connection to its end."""
    connection = await connect(url, _setting(schema))
    try:
        outbox = Outbox(connection, schema)
        if faults := await outbox.role_faults():
            raise RolesRefusedError(faults)
        if not await _stand_by(outbox, stop):
            return
        metrics.active.set(1)
        log.info("relay_active", outbox=schema)
        await Relay(outbox, append, metrics, tuning).run(stop)
    finally:
        await connection.close()


def _setting(schema: str) -> str:
    return f"BULKHEAD_{schema.upper()}_RELAY_DATABASE_URL"


async def _stand_by(outbox: Outbox, stop: asyncio.Event) -> bool:
    """Until this relay is the active one. False when told to stop before."""
    waited = False
    while not stop.is_set():
        if await outbox.try_lock():
            return True
        if not waited:
            log.info("relay_stands_by")
            waited = True
        await _wait(stop, STAND_BY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - so that two do not ask in step
    return False


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def _retry(settings: ServiceSettings) -> int:
    connection = await connect(settings.conninfo("relay_database_url"), settings.variable("relay_database_url"))
    try:
        return await Outbox(connection, settings.service).retry(None)
    finally:
        await connection.close()
