"""What every handler of this service does alike: repeats of a call."""

from __future__ import annotations

from bulkhead_kit.idempotency import RequestIds

REQUEST_IDS = RequestIds("issues")
