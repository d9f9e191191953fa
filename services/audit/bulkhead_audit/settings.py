"""The audit service's settings: BULKHEAD_AUDIT_*."""

from __future__ import annotations

from bulkhead_kit.settings import Address, ServiceSettings
from pydantic import Field


class AuditSettings(ServiceSettings, service="audit"):
    listen: Address = Field("127.0.0.1:7103", description="Where the service answers.")
    months_every_seconds: float = Field(
        3600.0, gt=0, description="How often the worker looks whether the months to come are there."
    )
