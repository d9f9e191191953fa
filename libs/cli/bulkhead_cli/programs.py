"""Which programs make up an installation, and what each is told. The one place that knows the services' variables."""

import sys
from collections.abc import Mapping
from pathlib import Path

from bulkhead_kit.settings import inherited_environment

from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.settings import CliSettings
from bulkhead_cli.supervisor import Program

SERVICES = ("identity", "issues", "audit")
# Service, what of it, the login with just the rights for that, and the variable that names it.
PARTS = (
    ("identity", "serve", "identity_app", "DATABASE_URL"),
    ("issues", "serve", "issues_app", "DATABASE_URL"),
    ("audit", "serve", "audit_app", "DATABASE_URL"),
    ("identity", "relay", "identity_relay", "RELAY_DATABASE_URL"),
    ("issues", "relay", "issues_relay", "RELAY_DATABASE_URL"),
    ("identity", "work", "identity_worker", "WORKER_DATABASE_URL"),
    ("audit", "work", "audit_worker", "WORKER_DATABASE_URL"),
)


def programs(settings: CliSettings, endpoints: Endpoints) -> list[Program]:
    return [
        Program(
            f"{service}.{part}",
            [sys.executable, "-m", f"bulkhead_{service}", part],
            {
                f"BULKHEAD_{service.upper()}_LOG_FORMAT": "console",
                **inherited_environment(),
                **environment(settings, endpoints, service, {variable: endpoints.database_roles[role]}),
            },
        )
        for service, part, role, variable in PARTS
    ]


def environment(
    settings: CliSettings, endpoints: Endpoints, service: str, database: Mapping[str, str]
) -> Mapping[str, str]:
    own = {
        **database,
        "LISTEN": endpoints.services[service],
        "KEYS_DIR": endpoints.keys,
        "ENVIRONMENT": settings.environment,
        **{f"{other}_address".upper(): endpoints.services[other] for other in SERVICES if other != service},
    }
    if service == "identity":
        own |= {"PLATFORM_DATABASE_URL": endpoints.database_roles["platform_app"], "MAIL_DIR": endpoints.mail}
    return {
        "PYTHONUNBUFFERED": "1",
        **{f"BULKHEAD_{service.upper()}_{name}": value for name, value in own.items()},
    }


def folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
