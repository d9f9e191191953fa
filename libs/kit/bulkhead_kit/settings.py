"""Settings from environment variables, one prefix a service: BULKHEAD_ISSUES_DATABASE_URL. Nobody else reads them.

Every variable may be given as a file instead: BULKHEAD_ISSUES_DATABASE_URL_FILE names a file that holds the value,
which is how secrets reach a container. An empty variable counts as absent.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bulkhead_kit import exposure
from bulkhead_kit.keyfiles import LEAST_SECRET, load_page_token_key
from bulkhead_kit.poolers import Pooler
from bulkhead_kit.rates.rate import ANY_METHOD, MINUTE, MethodRatesSetting, Rate, RateSetting
from bulkhead_kit.start_error import StartError
from bulkhead_kit.tls import TlsFiles

_address_form = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]*):([0-9]{1,5})", re.ASCII).fullmatch


class SettingsError(StartError):
    """Names every wrong variable and what would be right; never a value."""


def _is_tcp(text: str) -> bool:
    found = _address_form(text)
    return found is not None and int(found[2]) <= 65535


def _address(text: str) -> str:
    if not text.startswith("unix:") and not _is_tcp(text):
        raise ValueError("must be host:port, such as 127.0.0.1:7101 or [::1]:7101, or unix:/path")
    return text


def _tcp_address(text: str) -> str:
    if not _is_tcp(text):
        raise ValueError("must be host:port, such as 127.0.0.1:9101 or [::1]:9101")
    return text


Address = Annotated[str, AfterValidator(_address)]
TcpAddress = Annotated[str, AfterValidator(_tcp_address)]


class _Environment(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = _variable(self.settings_cls, field_name)
        value, path = os.environ.get(name) or None, os.environ.get(f"{name}_FILE")
        if not path:
            return value, name, False
        if value is not None:
            raise SettingsError(f"{name} and {name}_FILE are both set: unset one of them")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE names a file that cannot be read: {path}: {error}") from None

    def __call__(self) -> dict[str, Any]:
        found = ((name, self.get_field_value(field, name)[0]) for name, field in _fields(self.settings_cls))
        return {name: value for name, value in found if value is not None}


class Settings(BaseSettings):
    """Fields with their help texts; `load()` reads them."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid", validate_default=True)
    prefix: ClassVar[str] = "BULKHEAD_"
    common: ClassVar[Mapping[str, str]] = {}
    """Variables that all services read alike, by field."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls)

    @classmethod
    def load(cls) -> Self:
        try:
            return cls()
        except ValidationError as error:
            lines = [f"  {cls._complaint(str(one['loc'][0]), one['type'], one['msg'])}" for one in error.errors()]
            raise SettingsError("\n".join(["these settings are missing or wrong:", *lines])) from None

    @classmethod
    def variable(cls, field: str) -> str:
        return _variable(cls, field)

    @classmethod
    def unknown_variables(cls) -> list[str]:
        """Variables of this prefix that nobody reads, for a warning: not an error, or an older release could not run
        with a newer one's settings."""
        known = {_variable(cls, name) + suffix for name in cls.model_fields for suffix in ("", "_FILE")}
        unknown = [name for name in os.environ if name.startswith(cls.prefix) and name not in known]
        return [f"{name} is not a setting{cls._similar(name, known)}" for name in sorted(unknown)]

    @classmethod
    def _similar(cls, name: str, known: set[str]) -> str:
        endings = [one.removeprefix(cls.prefix) for one in known]
        close = difflib.get_close_matches(name.removeprefix(cls.prefix), endings, 1)
        return f", did you mean {cls.prefix}{close[0]}?" if close else ""

    def secret(self, field: str) -> str:
        """A secret that this command needs and others may not."""
        value = getattr(self, field)
        if value is None:
            raise SettingsError(f"these settings are missing or wrong:\n  {self._complaint(field, 'missing', '')}")
        assert isinstance(value, SecretStr)
        return value.get_secret_value()

    @classmethod
    def _complaint(cls, field: str, kind: str, message: str) -> str:
        name = cls.variable(field)
        text = cls.model_fields[field].description or ""
        if kind == "missing":
            return f"{name} is not set. {text} Set it, or set {name}_FILE to a file that holds it."
        return f"{name}: {message.removeprefix('Value error, ')}. {text}"


def _fields(settings: type[BaseSettings]) -> Iterator[tuple[str, FieldInfo]]:
    yield from settings.model_fields.items()


def _variable(settings: type[BaseSettings], field: str) -> str:
    assert issubclass(settings, Settings)
    return settings.common.get(field) or settings.prefix + field.upper()


class ServiceSettings(Settings):
    """What every service has. A subclass names itself and its port:

    class IssuesSettings(ServiceSettings, service="issues"):
        listen: Address = "127.0.0.1:7102"
    """

    service: ClassVar[str]
    common: ClassVar[Mapping[str, str]] = {"redis_url": "BULKHEAD_REDIS_URL"}

    environment: Literal["development", "production"] = Field(
        "development", description="In production what is unsafe is refused, not warned of, and there is no reflection."
    )
    listen: Address = Field(description="Where the service answers.")
    share_port: bool = Field(False, description="Whether several processes listen on one port.")
    metrics_listen: TcpAddress | None = Field(
        None, description="Where GET /metrics answers, without TLS; unset: nowhere."
    )
    max_message_bytes: int = Field(1_048_576, ge=65_536, description="Longest request and reply.")
    max_calls: int = Field(200, ge=1, description="Short calls in work at once.")
    max_streams: int = Field(500, ge=1, description="Streams open at once.")
    rate_limits: bool = Field(True, description="Whether calls are counted against the rates below.")
    rate_per_ip: RateSetting = Field(
        Rate(600, MINUTE), description="Calls of an address that names no principal, or off."
    )
    rate_per_principal: RateSetting = Field(Rate(6000, MINUTE), description="Calls of a person or an API key, or off.")
    rate_per_tenant: RateSetting = Field(Rate(30_000, MINUTE), description="Calls of all members of a tenant, or off.")
    rate_failed_keys: RateSetting = Field(
        Rate(300, MINUTE), description="API keys of an address that are not valid, or off."
    )
    rate_refused: RateSetting = Field(
        Rate(300, MINUTE),
        description="Calls of an address or a person that are refused for their token or a missing right, or off.",
    )
    rate_per_method: MethodRatesSetting = Field(
        {ANY_METHOD: Rate(300, MINUTE)},
        description="Calls of public methods by an address, of others by a person; * is any other public method.",
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis that counts calls for all processes; unset: each counts its own."
    )
    drain_seconds: float = Field(
        0.5,
        ge=0,
        description="Time between saying NOT_SERVING and refusing calls, for clients and load balancers to notice;"
        " where they still call then, at most 2 s more; with SHARE_PORT until they are silent, at most 2 s.",
    )
    grace_seconds: float = Field(10.0, ge=0, description="Time that running calls get to end at a stop.")
    tls_certificate: Path | None = Field(None, description="PEM file shown to every other side; with TLS_KEY: TLS.")
    tls_key: Path | None = Field(None, description="PEM file with the certificate's key.")
    tls_ca: Path | None = Field(None, description="PEM file; every other side must show a certificate signed by it.")

    tls_elsewhere: bool = Field(
        False,
        description="Whether something else, such as a proxy or a mesh, encrypts what is in clear here; else production"
        " refuses clear text over a network.",
    )

    database_url: SecretStr | None = Field(None, description="PostgreSQL URL of bulkhead_<service>_app; for serve.")
    relay_database_url: SecretStr | None = Field(
        None, description="PostgreSQL URL of bulkhead_<service>_relay; for relay."
    )
    worker_database_url: SecretStr | None = Field(
        None, description="PostgreSQL URL of bulkhead_<service>_worker; for work."
    )
    migration_database_url: SecretStr | None = Field(
        None, description="PostgreSQL URL of an administrator; for migrate."
    )
    database_password: SecretStr | None = Field(None, description="Password for a URL above that has none.")
    database_pooler: Pooler = Field(
        "none",
        description="pool_mode of a pooler, such as PgBouncer, before the database of serve and work; relay and migrate"
        " go past it.",
    )
    pool_min: int = Field(2, ge=0, description="Database connections kept open.")
    pool_max: int = Field(16, ge=1, description="Database connections at most.")
    pool_wait_seconds: float = Field(2.0, gt=0, description="How long a call waits for one.")

    identity_address: Address = Field("127.0.0.1:7101", description="Where others find identity.")
    issues_address: Address = Field("127.0.0.1:7102", description="Where others find issues; none asks yet.")
    audit_address: Address = Field("127.0.0.1:7103", description="Where others find audit.")
    keys_dir: Path = Field(description="Folder with the key files, as `bulkhead keys` makes them.")
    token_issuer: str = Field("bulkhead", min_length=1, description="iss of people's tokens.")
    token_audience: str = Field("bulkhead", min_length=1, description="aud of people's tokens.")
    page_token_key: SecretStr | None = Field(
        None,
        min_length=LEAST_SECRET,
        description="Signs page tokens, at least 32 characters, alike on every replica; unset: KEYS_DIR has it.",
    )

    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    def __init_subclass__(cls, *, service: str = "", **kwargs: Any) -> None:
        if service:
            cls.service = service
            cls.prefix = f"BULKHEAD_{service.upper()}_"

    @property
    def is_production(self) -> bool:
        return self.environment == "production"

    def conninfo(self, field: str = "database_url") -> str:
        """What psycopg connects with; the password is put in where the URL has none."""
        url = self.secret(field)
        try:
            parts = conninfo_to_dict(url)
        except ProgrammingError:
            raise SettingsError(f"{self.variable(field)} is not a PostgreSQL URL") from None
        self._demand_protected(field, exposure.database_in_clear(parts), "add sslmode=verify-full to it")
        if self.database_password is not None and not parts.get("password"):
            return make_conninfo(url, password=self.database_password.get_secret_value())
        return url

    def login(self, field: str) -> str:
        """The database role that is meant for the setting."""
        kind = field.removesuffix("database_url").removesuffix("_")
        if kind in ("worker", "relay"):
            return f"bulkhead_{self.service}_{kind}"
        return f"bulkhead_{kind or self.service}_app"

    def demand_protected_listener(self) -> None:
        """In production nobody between a caller and us reads tokens."""
        clear = exposure.leaves_this_host(self.listen) and self.tls() is None
        self._demand_protected("listen", clear, self._mend_tls())

    def demand_inner_metrics(self) -> None:
        metrics = self.metrics_listen
        everywhere = metrics is not None and exposure.is_everywhere(metrics)
        self._demand_protected("metrics_listen", everywhere, "name an inner address, as metrics are told without TLS")

    def demand_protected_call(self, service: str) -> None:
        field = f"{service}_address"
        clear = exposure.leaves_this_host(getattr(self, field)) and self.tls() is None
        self._demand_protected(field, clear, self._mend_tls())

    def demand_protected_redis(self) -> None:
        clear = self.redis_url is not None and exposure.redis_in_clear(self.redis_url.get_secret_value())
        self._demand_protected("redis_url", clear, "use rediss://")

    def _demand_protected(self, field: str, clear: bool, mend: str) -> None:
        if clear and self.is_production and not self.tls_elsewhere:
            elsewhere = self.variable("tls_elsewhere")
            raise SettingsError(
                f"{self.variable(field)} would show what is secret to the network: {mend}; "
                f"or set {elsewhere}=true if something else encrypts it"
            )

    def _mend_tls(self) -> str:
        return f"give {self.variable('tls_certificate')} and {self.variable('tls_key')}, or stay on 127.0.0.1"

    def tls(self) -> TlsFiles | None:
        if self.tls_certificate is None and self.tls_key is None:
            return None
        if self.tls_certificate is None or self.tls_key is None:
            names = f"{self.variable('tls_certificate')} and {self.variable('tls_key')}"
            raise SettingsError(f"{names} belong together: set both or none")
        for field in ("tls_certificate", "tls_key", "tls_ca"):
            self._demand_readable(field)
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_ca)

    def _demand_readable(self, field: str) -> None:
        path: Path | None = getattr(self, field)
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"{self.variable(field)} names a file that cannot be read: {path}: {error.strerror}"
            ) from None

    def method_rates(self) -> Mapping[str, Rate | None]:
        """What is set stands over the defaults, and in place of all of them when it says what any other method gets."""
        defaults = type(self).model_fields["rate_per_method"].default
        chosen = self.rate_per_method
        return chosen if ANY_METHOD in chosen else {**defaults, **chosen}

    def page_token_secret(self) -> bytes:
        if self.page_token_key is not None:
            return self.page_token_key.get_secret_value().encode()
        return load_page_token_key(self.keys_dir)


def inherited_environment() -> dict[str, str]:
    """For programs started by ours: they need PATH, HOME and the like."""
    return dict(os.environ)
