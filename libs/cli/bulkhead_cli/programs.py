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
    ("identity", "serve", "bulkhead_identity_app", "DATABASE_URL"),
    ("issues", "serve", "bulkhead_issues_app", "DATABASE_URL"),
    ("audit", "serve", "bulkhead_audit_app", "DATABASE_URL"),
    ("identity", "relay", "bulkhead_identity_relay", "RELAY_DATABASE_URL"),
    ("issues", "relay", "bulkhead_issues_relay", "RELAY_DATABASE_URL"),
    ("identity", "work", "bulkhead_identity_worker", "WORKER_DATABASE_URL"),
    ("issues", "work", "bulkhead_issues_worker", "WORKER_DATABASE_URL"),
    ("audit", "work", "bulkhead_audit_worker", "WORKER_DATABASE_URL"),
)


NAMES = tuple(f"{service}.{part}" for service, part, *_ in PARTS)


def programs(settings: CliSettings, endpoints: Endpoints) -> list[Program]:
    made = []
    for name, (service, part, role, variable) in zip(NAMES, PARTS, strict=True):
        told = {
            **shared(settings, endpoints, service),
            variable: endpoints.database_roles[role],
            "METRICS_LISTEN": endpoints.metrics[name],
        }
        if (service, part) == ("identity", "serve"):
            told["PLATFORM_DATABASE_URL"] = endpoints.database_roles["bulkhead_platform_app"]
        environment = {
            "PYTHONUNBUFFERED": "1",
            f"BULKHEAD_{service.upper()}_LOG_FORMAT": "console",
            # What the user says about a service stands, unless an installation depends on it.
            **inherited_environment(),
            **{f"BULKHEAD_{service.upper()}_{key}": value for key, value in told.items()},
        }
        made.append(Program(name, [sys.executable, "-m", f"bulkhead_{service}", part], environment))
    return made


def shared(settings: CliSettings, endpoints: Endpoints, service: str) -> Mapping[str, str]:
    """What all programs of one service are told."""
    told = {f"{other}_address".upper(): address for other, address in endpoints.services.items()}
    told |= {
        "LISTEN": endpoints.services[service],
        "KEYS_DIR": endpoints.keys,
        "ENVIRONMENT": settings.environment,
    }
    if service == "identity":
        told["MAIL_DIR"] = endpoints.mail
    return told


def folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
