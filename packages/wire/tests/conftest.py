"""How hypothesis draws: the same examples each time, and with no deadline on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("outrider", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("outrider")
