"""Whether a service can serve: its health probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
from prometheus_client import Gauge
from psycopg.errors import UndefinedTable

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, ServerState
from bulkhead_kit.db.database import known_holes
from bulkhead_kit.errors import DeadlineExceeded, PermissionDenied, Unavailable
from bulkhead_kit.revisions import head
from bulkhead_kit.roles import said
from bulkhead_kit.settings import ServiceSettings

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.program")

PROBE_SECONDS: Final = 1.5
"""Less than health's own patience, so that it hears what is missing."""
CLOCK_SECONDS: Final = 5.0
"""How far our clock and the database's may be apart before the log warns."""
WARN_SECONDS: Final = 60.0
"""Until a warning is repeated."""

_clock_offset = Gauge("bulkhead_clock_offset_seconds", "How far our clock is ahead of the database's.")
_read_only = Gauge("bulkhead_db_read_only", "1 while the database takes no writes.")


class Readiness:
    """Database reachable, login, schema and roles as they must be, no known holes."""

    def __init__(self, settings: ServiceSettings, database: Database, others: Sequence[Database] = ()) -> None:
        self._settings = settings
        self._database = database
        self._others = others
        self._head = head(settings.service)
        self._opened = False
        self._warned: dict[str, float] = {}
        self._roles_are_ours = False

    async def __call__(self) -> str | None:
        if not self._opened:
            for database in (self._database, *self._others):
                await database.open()
            self._opened = True
        try:
            if faults := await self._login():
                return faults
            state = await self._database.state(self._settings.service, _probe_caller(self._settings.service))
        except (Unavailable, DeadlineExceeded):
            refused = (database.refused for database in (self._database, *self._others))
            return next(filter(None, refused), "the database cannot be reached")
        except (PermissionDenied, UndefinedTable):
            return self._behind("is not there")
        self._warn_of(state)
        if state.is_read_only:
            # A session that began as a reader stays one; whether the database takes writes again, new ones will tell.
            for database in (self._database, *self._others):
                await database.renew()
        return self._schema(state) or await self._roles()

    async def _login(self) -> str | None:
        """At each look: a login that is given a power while we run is outside the walls from then on."""
        for database in (self._database, *self._others):
            if faults := await database.login_faults(_probe_caller(self._settings.service)):
                return f"the login is not to be trusted: {said(faults)}"
        return None

    async def _roles(self) -> str | None:
        """Until they are in order once: what is done to them later is for `bulkhead doctor`, no reason to stop."""
        if self._roles_are_ours:
            return None
        faults = await self._database.role_faults(_probe_caller(self._settings.service))
        self._roles_are_ours = not faults
        return f"roles are not to be trusted, bulkhead doctor says what to do: {said(faults)}" if faults else None

    def _schema(self, state: ServerState) -> str | None:
        # A newer schema is fine: `pre` migrations run before the release that needs them.
        return self._behind(f"is at {state.revision}") if state.revision < self._head else None

    def _behind(self, where: str) -> str:
        return f"schema {self._settings.service} {where}, this code needs {self._head}: run bulkhead migrate"

    def _warn_of(self, state: ServerState) -> None:
        """What a call may fail for although we serve. In production a server with holes is not even connected to."""
        _read_only.set(state.is_read_only)
        offset = clock.unix() - state.unix
        _clock_offset.set(offset)
        if text := known_holes(state.server_version):
            self._warn("unsafe_postgresql", text, every=float("inf"))
        if state.is_read_only:
            self._warn("database_read_only", "the database takes no writes: it is a standby or set to read only")
        if abs(offset) > CLOCK_SECONDS:
            where = "ahead of" if offset > 0 else "behind"
            self._warn(
                "clock_differs",
                f"our clock is {abs(offset):.0f} s {where} the database's, by which tokens are refused",
            )

    def _warn(self, event: str, detail: str, *, every: float = WARN_SECONDS) -> None:
        now = clock.monotonic()
        if now - self._warned.get(event, -float("inf")) >= every:
            self._warned[event] = now
            log.warning(event, detail=detail)


def _probe_caller(service: str) -> Caller:
    return Caller(
        actor_type="system", rpc=f"{service}/probe", request_id="probe", deadline=clock.monotonic() + PROBE_SECONDS
    )
