from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from bulkhead_kit import assembly, settings, starting
from bulkhead_kit.keyfiles import generate_keys
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.settings import Address, ServiceSettings, Settings, SettingsError
from bulkhead_kit.start_error import AddressError
from bulkhead_kit.tls import TlsFiles
from pydantic import Field

SECRET = "s3cr3t-that-must-not-show"


class ToolSettings(Settings):
    listen: Address = "127.0.0.1:1"
    size: int = Field(3, ge=1, description="How many.")


class ProbeSettings(ServiceSettings, service="probe"):
    listen: Address = "127.0.0.1:7199"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("BULKHEAD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BULKHEAD_PROBE_KEYS_DIR", str(tmp_path))


def test_defaults_suit_development() -> None:
    loaded = ProbeSettings.load()
    assert loaded.service == "probe"
    assert loaded.listen == "127.0.0.1:7199"
    assert not loaded.is_production
    assert loaded.audit_address == "127.0.0.1:7103"
    assert ProbeSettings.variable("pool_max") == "BULKHEAD_PROBE_POOL_MAX"


def test_every_setting_has_a_help_text() -> None:
    assert [name for name, field in ServiceSettings.model_fields.items() if not field.description] == []


def test_variables_are_read_and_empty_ones_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_ENVIRONMENT", "production")
    monkeypatch.setenv("BULKHEAD_PROBE_POOL_MAX", "40")
    monkeypatch.setenv("BULKHEAD_PROBE_SHARE_PORT", "true")
    monkeypatch.setenv("BULKHEAD_PROBE_LISTEN", "")
    monkeypatch.setenv("BULKHEAD_ISSUES_POOL_MAX", "7")
    loaded = ProbeSettings.load()
    assert (loaded.is_production, loaded.pool_max, loaded.share_port) == (True, 40, True)
    assert loaded.listen == "127.0.0.1:7199"


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"postgresql://app:{SECRET}@db/bulkhead\n")
    monkeypatch.setenv("BULKHEAD_PROBE_DATABASE_URL_FILE", str(file))
    loaded = ProbeSettings.load()
    assert loaded.conninfo() == f"postgresql://app:{SECRET}@db/bulkhead"
    assert SECRET not in repr(loaded) + str(loaded) + loaded.model_dump_json()


def test_both_forms_at_once_or_a_missing_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_DATABASE_URL_FILE", "/nowhere/url")
    with pytest.raises(SettingsError, match=r"BULKHEAD_PROBE_DATABASE_URL_FILE names a file .* /nowhere/url"):
        ProbeSettings.load()
    monkeypatch.setenv("BULKHEAD_PROBE_DATABASE_URL", SECRET)
    with pytest.raises(SettingsError, match="both set") as caught:
        ProbeSettings.load()
    assert SECRET not in str(caught.value)


def test_every_wrong_variable_is_named_with_what_would_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BULKHEAD_PROBE_KEYS_DIR")
    for name, value in {"ENVIRONMENT": "prod", "POOL_MAX": "many", "LISTEN": "7101", "PAGE_TOKEN_KEY": SECRET}.items():
        monkeypatch.setenv(f"BULKHEAD_PROBE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        ProbeSettings.load()
    text = str(caught.value)
    assert "BULKHEAD_PROBE_ENVIRONMENT: Input should be 'development' or 'production'" in text
    assert "BULKHEAD_PROBE_POOL_MAX: Input should be a valid integer" in text
    assert "BULKHEAD_PROBE_LISTEN: must be host:port, such as" in text
    assert (
        "BULKHEAD_PROBE_KEYS_DIR is not set. Folder with the key files, as `bulkhead keys` makes them. Set it, or set"
        in text
    )
    assert SECRET not in text


@pytest.mark.parametrize("text", ["127.0.0.1:7101", ":0", "[::1]:65535", "db-1.example.com:1", "unix:/run/x.sock"])
def test_addresses_that_work(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BULKHEAD_LISTEN", text)
    assert ToolSettings.load().listen == text


@pytest.mark.parametrize(
    "text", ["localhost", "localhost:", "a:b", "h:65536", "http://h:1", "::1:7101", "h:1\n", "h :1"]
)
def test_addresses_that_do_not(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BULKHEAD_LISTEN", text)
    with pytest.raises(SettingsError, match="BULKHEAD_LISTEN: must be host:port"):
        ToolSettings.load()


def test_metrics_are_served_by_tcp_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_METRICS_LISTEN", "unix:/run/metrics.sock")
    with pytest.raises(SettingsError, match="BULKHEAD_PROBE_METRICS_LISTEN: must be host:port, such as"):
        ProbeSettings.load()


def test_a_taken_address_of_metrics_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        address = f"[::1]:{taken.getsockname()[1]}"
        monkeypatch.setenv("BULKHEAD_PROBE_METRICS_LISTEN", address)
        with pytest.raises(AddressError, match=f"METRICS_LISTEN: nothing can listen on {re.escape(address)}"):
            starting.start_metrics(ProbeSettings.load())


def test_a_command_names_the_secret_it_lacks() -> None:
    loaded = ProbeSettings.load()
    with pytest.raises(
        SettingsError,
        match=r"BULKHEAD_PROBE_RELAY_DATABASE_URL is not set\. PostgreSQL URL of bulkhead_<service>_relay",
    ):
        loaded.conninfo("relay_database_url")


def test_a_password_is_put_into_a_url_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_DATABASE_URL", "postgresql://app@db/bulkhead")
    monkeypatch.setenv("BULKHEAD_PROBE_RELAY_DATABASE_URL", "postgresql://relay:own@db/bulkhead")
    monkeypatch.setenv("BULKHEAD_PROBE_DATABASE_PASSWORD", "with space'and quote")
    loaded = ProbeSettings.load()
    assert r"password='with space\'and quote'" in loaded.conninfo()
    assert loaded.conninfo("relay_database_url") == "postgresql://relay:own@db/bulkhead"


def test_a_broken_url_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_DATABASE_URL", f"mysql://u:{SECRET}@db")
    with pytest.raises(SettingsError, match="BULKHEAD_PROBE_DATABASE_URL is not a PostgreSQL URL") as caught:
        ProbeSettings.load().conninfo()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_misspelt_variable_is_reported_with_its_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_POOL_MAXX", "1")
    monkeypatch.setenv("BULKHEAD_PROBE_QQ", "1")
    assert ProbeSettings.unknown_variables() == [
        "BULKHEAD_PROBE_POOL_MAXX is not a setting, did you mean BULKHEAD_PROBE_POOL_MAX?",
        "BULKHEAD_PROBE_QQ is not a setting",
    ]


def test_tls_needs_certificate_and_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.touch()
    assert ProbeSettings.load().tls() is None
    monkeypatch.setenv("BULKHEAD_PROBE_TLS_CERTIFICATE", str(certificate))
    with pytest.raises(
        SettingsError, match="BULKHEAD_PROBE_TLS_CERTIFICATE and BULKHEAD_PROBE_TLS_KEY belong together"
    ):
        ProbeSettings.load().tls()
    monkeypatch.setenv("BULKHEAD_PROBE_TLS_KEY", str(key))
    with pytest.raises(SettingsError, match=r"BULKHEAD_PROBE_TLS_KEY names a file that cannot be read: .*k\.pem"):
        ProbeSettings.load().tls()
    key.touch()
    assert ProbeSettings.load().tls() == TlsFiles(certificate, key)


def test_the_page_token_key_comes_from_the_keys_folder_unless_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    generate_keys(tmp_path)
    first = ProbeSettings.load().page_token_secret()
    assert len(first) == 64
    monkeypatch.setenv("BULKHEAD_PROBE_PAGE_TOKEN_KEY", "k" * 40)
    assert ProbeSettings.load().page_token_secret() == b"k" * 40
    monkeypatch.setenv("BULKHEAD_PROBE_PAGE_TOKEN_KEY", "k" * 31)
    with pytest.raises(SettingsError, match=r"BULKHEAD_PROBE_PAGE_TOKEN_KEY: .* at least 32 characters"):
        ProbeSettings.load()


def test_programs_of_ours_inherit_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/somewhere")
    assert settings.inherited_environment()["PATH"] == "/somewhere"


def test_rates_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"IP": "off", "PRINCIPAL": "5/second", "METHOD": "Login=7/hour"}.items():
        monkeypatch.setenv(f"BULKHEAD_PROBE_RATE_PER_{name}", value)
    loaded = ProbeSettings.load()
    assert (loaded.rate_per_ip, loaded.rate_per_principal, str(loaded.rate_per_tenant)) == (
        None,
        Rate(5, 1),
        "30000/minute",
    )
    # What is named stands over the defaults; a word on all methods stands in their place.
    assert loaded.method_rates() == {"Login": Rate(7, 3600), "*": Rate(300, 60)}
    monkeypatch.setenv("BULKHEAD_PROBE_RATE_PER_METHOD", "*=1/second")
    assert ProbeSettings.load().method_rates() == {"*": Rate(1, 1)}
    monkeypatch.setenv("BULKHEAD_PROBE_RATE_PER_TENANT", "lots")
    with pytest.raises(SettingsError, match="BULKHEAD_PROBE_RATE_PER_TENANT: must be a number of calls and a time"):
        ProbeSettings.load()


def test_redis_is_the_same_for_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_REDIS_URL", "redis://example:6379/0")
    url = ProbeSettings.load().redis_url
    assert url is not None
    assert url.get_secret_value() == "redis://example:6379/0"
    assert ProbeSettings.variable("redis_url") == "BULKHEAD_REDIS_URL"


def refused_in_production(demand: Callable[[ProbeSettings], object], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said; nothing in development, nor where something else encrypts."""
    monkeypatch.setenv("BULKHEAD_PROBE_ENVIRONMENT", "development")
    demand(ProbeSettings.load())
    monkeypatch.setenv("BULKHEAD_PROBE_ENVIRONMENT", "production")
    monkeypatch.setenv("BULKHEAD_PROBE_TLS_ELSEWHERE", "true")
    demand(ProbeSettings.load())
    monkeypatch.delenv("BULKHEAD_PROBE_TLS_ELSEWHERE")
    try:
        demand(ProbeSettings.load())
    except SettingsError as error:
        said = str(error)
    else:
        return "taken"
    assert "BULKHEAD_PROBE_TLS_ELSEWHERE=true" in said
    assert SECRET not in said
    return said.partition(" ")[0].removeprefix("BULKHEAD_PROBE_")


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("0.0.0.0:7101", False),
        (":7101", False),
        ("[::]:7101", False),
        ("10.0.0.7:7101", False),
        ("issues.example:7101", False),
        ("127.0.0.1:7101", True),
        ("127.8.8.8:7101", True),
        ("[::1]:7101", True),
        ("localhost:7101", True),
        ("unix:/run/probe", True),
    ],
)
def test_production_neither_listens_nor_calls_in_clear(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, taken: bool
) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_LISTEN", address)
    monkeypatch.setenv("BULKHEAD_PROBE_AUDIT_ADDRESS", address)
    wanted = ("taken", "taken") if taken else ("LISTEN", "AUDIT_ADDRESS")
    listens = refused_in_production(lambda settings: settings.demand_protected_listener(), monkeypatch)
    calls = refused_in_production(lambda settings: settings.demand_protected_call("audit"), monkeypatch)
    assert (listens, calls) == wanted
    for name in ("CERTIFICATE", "KEY"):
        (tmp_path / name).write_text("PEM")
        monkeypatch.setenv(f"BULKHEAD_PROBE_TLS_{name}", str(tmp_path / name))
    ProbeSettings.load().demand_protected_listener()
    ProbeSettings.load().demand_protected_call("audit")


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        (f"postgresql://app:{SECRET}@db.example/bulkhead", False),
        (f"postgresql://app:{SECRET}@db.example/bulkhead?sslmode=prefer", False),
        (f"postgresql://app:{SECRET}@127.0.0.1,db.example/bulkhead", False),
        (f"postgresql://app:{SECRET}@localhost/bulkhead?hostaddr=10.0.0.7", False),
        (f"postgresql://app:{SECRET}@db.example/bulkhead?sslmode=verify-full", True),
        (f"postgresql://app:{SECRET}@127.0.0.1/bulkhead", True),
        ("postgresql:///bulkhead?host=/run/postgresql", True),
        ("postgresql:///bulkhead", True),
    ],
)
def test_production_asks_no_database_in_clear(monkeypatch: pytest.MonkeyPatch, url: str, taken: bool) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_DATABASE_URL", url)
    said = refused_in_production(lambda settings: settings.conninfo(), monkeypatch)
    assert said == ("taken" if taken else "DATABASE_URL")


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        (f"redis://:{SECRET}@redis.example:6379/0", False),
        (f"rediss://:{SECRET}@redis.example:6379/0", True),
        ("redis://127.0.0.1:6379/0", True),
        ("unix:///run/redis.sock", True),
    ],
)
def test_production_counts_in_no_redis_in_clear(monkeypatch: pytest.MonkeyPatch, url: str, taken: bool) -> None:
    monkeypatch.setenv("BULKHEAD_REDIS_URL", url)
    said = refused_in_production(lambda settings: settings.demand_protected_redis(), monkeypatch)
    assert said == ("taken" if taken else "BULKHEAD_REDIS_URL")


@pytest.mark.parametrize(
    ("address", "taken"), [("0.0.0.0:9101", False), ("[::]:9101", False), (":9101", False), ("10.0.0.7:9101", True)]
)
def test_production_tells_metrics_on_an_inner_address(
    monkeypatch: pytest.MonkeyPatch, address: str, taken: bool
) -> None:
    monkeypatch.setenv("BULKHEAD_PROBE_METRICS_LISTEN", address)
    said = refused_in_production(lambda settings: settings.demand_inner_metrics(), monkeypatch)
    assert said == ("taken" if taken else "METRICS_LISTEN")


def test_who_asks_before_listening_learns_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is opened before: not the database, not the keys."""
    monkeypatch.setenv("BULKHEAD_PROBE_LISTEN", "0.0.0.0:7199")
    monkeypatch.setenv("BULKHEAD_PROBE_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match="BULKHEAD_PROBE_LISTEN would show"):
        assembly.build(ProbeSettings.load(), lambda _parts, _server: None, ServiceAllowList({}))
