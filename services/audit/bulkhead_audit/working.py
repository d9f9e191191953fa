"""What the audit service does by itself when it is due."""

from __future__ import annotations

from bulkhead_kit import working
from bulkhead_kit.parts import Parts
from bulkhead_kit.worker import Duty

from bulkhead_audit.partition.worker import Months
from bulkhead_audit.settings import AuditSettings


def duties(parts: Parts) -> list[Duty]:
    settings = parts.settings
    assert isinstance(settings, AuditSettings)
    months = Months(parts.database)
    return [Duty("months", settings.months_every_seconds, months.make_ahead)]


def work(settings: AuditSettings) -> None:
    working.work(settings, duties)
