"""What the issues service does by itself when it is due."""

from __future__ import annotations

from bulkhead_kit import working
from bulkhead_kit.parts import Parts
from bulkhead_kit.worker import Duty

from bulkhead_issues.expiry.actions import expire
from bulkhead_issues.settings import IssuesSettings


def duties(parts: Parts) -> list[Duty]:
    assert isinstance(parts.settings, IssuesSettings)
    every = parts.settings.expire_every_seconds
    return [Duty("expire", every, lambda caller: expire(parts.database, caller))]


def work(settings: IssuesSettings) -> None:
    working.work(settings, duties)
