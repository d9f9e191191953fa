"""One valid request for every RPC, made fresh each time: what a probe bends, and what its twin sends unbent.

A sample is made for a company and a role; what it needs is made on the way, so that it can be sent once and work.
An RPC without a sample fails the suite.
"""

from __future__ import annotations

from tests.isolation.samples import audit, comments, issues, members, projects, sign_in, tenants
from tests.isolation.samples.base import SAMPLES, Request

__all__ = ["SAMPLES", "Request", "audit", "comments", "issues", "members", "projects", "sign_in", "tenants"]
