"""docs/settings.md names every variable, with words for each; that it is the code's latest is held by test_drift."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from bulkhead_cli.programs import SERVICES
from bulkhead_cli.schema import settings
from bulkhead_cli.settings import CliSettings
from bulkhead_kit.rates.rate import MINUTE, Rate, RateSetting
from bulkhead_kit.settings import Address, ServiceSettings, Settings
from pydantic import Field, SecretStr

from tests.schema.conftest import ROOT

EVERY: tuple[type[Settings], ...] = (*map(settings.of_service, SERVICES), CliSettings)


class Sample(Settings):
    key: SecretStr | None = Field(None, description="A <b> key.")
    where: Address = Field(description="A place.")
    rate: RateSetting = Field(Rate(7, MINUTE), description="Calls.")
    pause_seconds: float = Field(2.0, gt=0, le=9, description="A pause.")
    kind: Literal["one", "two"] = Field("one", description="A kind.")
    folder: Path | None = Field(None, description="A folder.")


@pytest.mark.parametrize("of", EVERY)
def test_every_setting_is_on_the_page(of: type[Settings]) -> None:
    page = (ROOT / settings.PAGE).read_text(encoding="utf-8")
    for name, field in of.model_fields.items():
        assert field.description, name
        inherited = issubclass(of, ServiceSettings) and name not in settings.own(of)
        shown = settings.variable(ServiceSettings if inherited else of, name)
        assert f"| `{shown}` |" in page


def test_forms_defaults_and_limits_are_as_they_would_be_set() -> None:
    rows = settings.rows(Sample, Sample.model_fields)
    assert [row[1:] for row in rows] == [
        ("**secret**", "", "A \\<b> key."),
        ("`host:port`", "**required**", "A place."),
        ("rate", "`7/minute`", "Calls."),
        ("seconds, more than 0, at most 9", "`2`", "A pause."),
        ("`one`, `two`", "`one`", "A kind."),
        ("path", "", "A folder."),
    ]
