"""Randomness that can be replayed: every random test draws from one seed, and a failure prints it."""

from __future__ import annotations

import os
import random
import secrets
from typing import Any

import pytest

SEED = int(os.environ.get("BULKHEAD_TEST_SEED") or secrets.randbelow(2**32))
"""Hypothesis draws from it too, unless --hypothesis-seed was given."""


def generator(nodeid: str) -> random.Random:
    """The same numbers for the same seed and test, whichever other tests run."""
    return random.Random(f"{SEED}:{nodeid}")


def is_random(item: pytest.Item) -> bool:
    function: Any = getattr(item, "obj", None)
    return "rng" in getattr(item, "fixturenames", ()) or hasattr(function, "hypothesis")


def replay_note(item: pytest.Item) -> str:
    return f"replay with: BULKHEAD_TEST_SEED={SEED} pytest '{item.nodeid}'"
