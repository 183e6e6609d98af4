"""What runners and their plans are to whoever keeps them going, whether they sample for one agent or many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import Fragment, Weights


class SamplingRunner(Protocol):
    """`EnvRunner` or `MultiAgentRunner`, as far as pools and gateways ask for it."""

    @property
    def version(self) -> int | None:
        """Version of the weights that act; None before the first."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Act with new weights from the next fragment on; a version not newer than the present is skipped."""
        ...

    def sample(self) -> Fragment:
        """Return the next fragment, which belongs to the caller."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Return a tree of what the next fragment depends on, weights excepted."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned in a runner made with the same arguments."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class SamplingPlan(Protocol):
    """Arguments of all the runners of a run; equal plans make equal runners, wherever they are."""

    @property
    def settings(self) -> EnvRunnerSettings:
        """Of every runner."""
        ...

    @property
    def num_steps(self) -> int:
        """Vector steps of one fragment."""
        ...

    @property
    def first_runner(self) -> int:
        """Number within the run of the runner that `make_runner` knows as 0."""
        ...

    def make_runner(self, index: int, incarnation: int) -> SamplingRunner:
        """Make the runner number `index` of this plan, made `incarnation` times before in the run."""
        ...

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values, and pickles by `dump` of callables."""
        ...
