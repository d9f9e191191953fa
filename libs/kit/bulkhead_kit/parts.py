"""What a service's processes are made of, from its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bulkhead_kit.caller import Caller
from bulkhead_kit.client import Channel, connect
from bulkhead_kit.db import Database, PoolSettings
from bulkhead_kit.keyfiles import load_signer
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.services_auth import ServiceTokens
from bulkhead_kit.settings import ServiceSettings

Close = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Parts:
    """What servicers are made of. Everything is made on first use, so that a service pays for what it uses."""

    settings: ServiceSettings
    database: Database
    closing: list[Close] = field(default_factory=list)
    databases: list[Database] = field(default_factory=list)
    """Others than the service's own, opened with it."""

    @cached_property
    def page_tokens(self) -> PageTokens:
        return PageTokens(self.settings.page_token_secret())

    @cached_property
    def service_tokens(self) -> ServiceTokens:
        name = self.settings.service
        return ServiceTokens(name, load_signer(self.settings.keys_dir, name))

    def other_database(self, role: str) -> Database:
        """A small pool under another role, from the setting `<role>_database_url`; opened and closed with the rest."""
        settings = self.settings.model_copy(update={"pool_min": 0, "pool_max": min(4, self.settings.pool_max)})
        database = open_database(settings, f"{role}_database_url", application=f"bulkhead_{role}")
        self.databases.append(database)
        self.closing.append(database.close)
        return database

    def channel(self, service: str, address: str, contracts: Sequence[str]) -> Channel:
        """A channel to another service, on which we prove ourselves; closed with the process."""
        tokens = self.service_tokens
        self.settings.demand_protected_call(service)

        def token(caller: Caller | None) -> str:
            return tokens.token(service, caller.tenant_id if caller is not None else None)

        channel = connect(address, service=service, contracts=contracts, token=token, tls=self.settings.tls())
        self.closing.append(channel.close)
        return channel


def open_database(settings: ServiceSettings, url: str = "database_url", *, application: str = "") -> Database:
    """The pool for one of the settings' URLs, not yet connecting."""
    pool = PoolSettings(
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        wait=settings.pool_wait_seconds,
        safe_only=settings.is_production,
        login=settings.login(url),
        pooler=settings.database_pooler,
        pooler_setting=settings.variable("database_pooler"),
    )
    return Database(settings.conninfo(url), pool, application=application or f"bulkhead_{settings.service}")
