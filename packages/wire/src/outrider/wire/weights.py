"""Weights: the named, versioned tensors that a learner hands to runners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """A module's tensors at one version. The receiver must not change them."""

    version: int
    """Counts publications of a run from 0; larger is newer."""
    fingerprint: str
    """Of the module that they fit; equal to that of its policy graph."""
    tensors: Mapping[str, NDArray[Any]]
    """By name, the observation normaliser's statistics among them."""
