"""docs/settings.md: every variable, from the classes that read them."""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le
from bulkhead_kit.rates.rate import OFF, MethodRatesSetting, Rate, RateSetting
from bulkhead_kit.settings import Address, ServiceSettings, Settings, TcpAddress
from pydantic import SecretStr

from bulkhead_cli.programs import SERVICES
from bulkhead_cli.schema.markdown import code, codes, page, table
from bulkhead_cli.settings import CliSettings

PAGE = Path("docs/settings.md")
NOTE = "<!-- Written by `make schema` from the classes that read them. Never edited. -->"
INTRODUCTION = """\
Environment variables, and nothing else: no file is looked for. What a variable says may stand in a file instead, named
by the variable with `_FILE` behind it, which is how a **secret** reaches a process without being seen beside it; both
at once are refused. An empty variable counts as absent.

A process that misses a setting, or has one of a wrong form, says which and what would be right, and ends with 1. One
that nobody reads is a warning (`unknown_setting`, with what was probably meant), so that an older release runs with a
newer one's settings. None is read again before a restart, but key files and certificates are.

A rate is a number of calls and `second`, `minute` or `hour`, such as `60/minute`, or `off`."""
SHARED = """\
For `<SERVICE>` stands `IDENTITY`, `ISSUES` or `AUDIT`: each service has its own. Which of the database URLs is needed
depends on the command: `serve`, `relay`, `work` or `migrate`."""
COMMAND = """\
Options win over them. `bulkhead up` gives the variables of the services on, but for those an installation depends on:
addresses, database URLs, `KEYS_DIR`, `MAIL_DIR`, `METRICS_LISTEN` and `ENVIRONMENT`."""
FORMS: Mapping[object, str] = {
    bool: "`true` or `false`",
    Path: "path",
    SecretStr: "**secret**",
    Address: "`host:port`",
    TcpAddress: "`host:port`",
    RateSetting: "rate",
    MethodRatesSetting: "`Method=rate,...`",
    str: "text",
    int: "whole number",
    float: "number",
}
UNITS = ("seconds", "minutes", "hours", "days", "bytes")
HEADS = ("variable", "form", "default", "what")


def render() -> str:
    services = [of_service(name) for name in SERVICES]
    # What every service states itself is told of each service only.
    shared = [name for name in ServiceSettings.model_fields if not all(name in own(one) for one in services)]
    return page(
        [
            NOTE,
            "# Settings",
            INTRODUCTION,
            "## Every service",
            SHARED,
            table(HEADS, rows(ServiceSettings, shared)),
            *(part for one in services for part in (f"## {one.service}", table(HEADS, rows(one, own(one))))),
            "## The command bulkhead",
            COMMAND,
            table(HEADS, rows(CliSettings, own(CliSettings))),
        ]
    )


def of_service(name: str) -> type[ServiceSettings]:
    """Found by its name, like a service's migrations: nothing here depends on what is in it."""
    module = importlib.import_module(f"bulkhead_{name}.settings")
    found: type[ServiceSettings] = getattr(module, f"{name.capitalize()}Settings")
    return found


def own(settings: type[Settings]) -> list[str]:
    """What a class states itself, be it anew."""
    return [name for name in settings.__annotations__ if name in settings.model_fields]


def variable(settings: type[Settings], field: str) -> str:
    if settings is ServiceSettings and field not in settings.common:
        return f"BULKHEAD_<SERVICE>_{field.upper()}"
    return settings.variable(field)


def rows(settings: type[Settings], fields: Iterable[str]) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(settings, include_extras=True)
    for name in fields:
        field = settings.model_fields[name]
        default = "**required**" if field.is_required() else code(_text(field.default))
        form = ", ".join(_form(name, hints[name], field.metadata))
        yield code(variable(settings, name)), form, default, (field.description or "").replace("<", "\\<")


def _form(name: str, hint: Any, limits: Iterable[object]) -> Iterator[str]:
    # Of `X | None`, which is not how the settings of rates are made, X.
    [hint] = [one for one in get_args(hint) if one is not type(None)] if type(None) in get_args(hint) else [hint]
    unit = name.rpartition("_")[2]
    if get_origin(hint) is Literal:
        yield codes(get_args(hint))
    else:
        yield unit if unit in UNITS else FORMS.get(hint, "text")
    for limit in limits:
        match limit:
            case Ge(ge=least):
                yield f"at least {least}"
            case Gt(gt=bound):
                yield f"more than {bound}"
            case Le(le=most):
                yield f"at most {most}"


def _text(value: object) -> str:
    """As it would be set."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Rate() | Path() | int() | str():
            return str(value)
        case float():
            return f"{value:g}"
        case Mapping():
            return ",".join(f"{name}={rate or OFF}" for name, rate in value.items())
    raise TypeError(f"no form for {type(value).__name__}")
