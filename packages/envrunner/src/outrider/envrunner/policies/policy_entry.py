"""A policy as runners know it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyEntry:
    """What a policy is called, its number within the run, and the stack that it is in."""

    name: str
    """As mappings and messages call it."""
    number: int
    """From 0, never used again in a run."""
    stack: str
    """Name of its stack."""
