"""The issues service's settings: BULKHEAD_ISSUES_*."""

from __future__ import annotations

from bulkhead_kit.settings import Address, ServiceSettings
from pydantic import Field


class IssuesSettings(ServiceSettings, service="issues"):
    listen: Address = Field("127.0.0.1:7102", description="Where the service answers.")
    expire_every_seconds: float = Field(
        600.0, gt=0, description="How often the worker removes what has been kept long enough."
    )
    import_patience_seconds: float = Field(
        60.0, gt=0, description="How long an import may send nothing before it is ended."
    )
