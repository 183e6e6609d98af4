"""Fragments and weights wherever they are, to be handed on without being read.

    runner --- FragmentReference ---> training loop --- FragmentReference ---> learner, which loads it
    learner --- WeightsReference ---> training loop --- WeightsReference ---> runner, which loads it

The training loop reads the summary and the version, and nothing else. In one process a reference
holds the object itself; on Ray it holds an object reference (`outrider.transport.ray_references`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from outrider.wire import Fragment, FragmentSummary, Weights, summarise


class FragmentReference(Protocol):
    """A fragment somewhere."""

    @property
    def summary(self) -> FragmentSummary:
        """What is known of it without loading it."""
        ...

    def load(self) -> Fragment:
        """Return the fragment, whose arrays may be read-only; may block while it is fetched.

        Raises ConnectionError where it is gone, with the process or node that held it.
        """
        ...


class WeightsReference(Protocol):
    """Weights somewhere."""

    @property
    def version(self) -> int:
        """Version of these weights."""
        ...

    def load(self) -> Weights:
        """Return the weights, whose arrays may be read-only; may block while they are fetched.

        Raises ConnectionError where they are gone, with the process or node that held them.
        """
        ...


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LocalFragment:
    """A fragment in this process."""

    fragment: Fragment

    @property
    def summary(self) -> FragmentSummary:
        """What is known of it without loading it."""
        return summarise(self.fragment)

    def load(self) -> Fragment:
        """Return the very object."""
        return self.fragment


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LocalWeights:
    """Weights in this process."""

    weights: Weights

    @property
    def version(self) -> int:
        """Version of these weights."""
        return self.weights.version

    def load(self) -> Weights:
        """Return the very object."""
        return self.weights
