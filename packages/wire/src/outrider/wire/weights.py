"""Weights: the named, versioned tensors that a learner hands to runners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsStack:
    """Policies of one architecture, whose tensors are stacked along a first axis P."""

    name: str
    """Tensor t of these policies stands under "name/t", [P, ...]. Not empty and without "/"."""
    fingerprint: str
    """Of the architecture; equal to that of its policy graph."""
    policies: NDArray[np.int32]
    """[P] number of each policy within the run, ascending."""
    versions: NDArray[np.int64]
    """[P] version of the weights at which each last changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """A module's tensors at one version. The receiver must not change them."""

    version: int
    """Counts publications of a run from 0; larger is newer."""
    fingerprint: str
    """Of the module that they fit, equal to that of its policy graph; a `joint_fingerprint` with `stacks`."""
    tensors: Mapping[str, NDArray[Any]]
    """By name, the observation normaliser's statistics among them."""
    stacks: tuple[WeightsStack, ...] = ()
    """Where there are several policies: all that these are the weights of, by architecture. Policies left
    out have not changed since the receiver got them, or are none that it plays."""
