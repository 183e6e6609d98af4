"""A runner pool is where a training loop gets its fragments from, wherever the runners are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.weights_loading import saying_that_weights_are_lost
from outrider.envrunner.sampling.runner_protocol import SamplingRunner
from outrider.transport import FragmentReference, LocalFragment, LocalWeights, WeightsReference
from outrider.wire import Frame, decode_weights, encode_weights


class WaitInterruptedError(RuntimeError):
    """Raised by a pool that was interrupted while it waited for runners to join or to start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolStatistics:
    """What happened to the runners of a pool since it was made."""

    num_runners: int
    """Runners that are up."""
    num_runner_restarts: int = 0
    """Runners made anew, because their process ended or did not answer."""
    num_lost_rows: int = 0
    """Rows that such runners were asked for and did not deliver."""
    num_late_fragments: int = 0
    """Fragments that an update did not wait for any longer; they came with a later one."""
    num_farm_runners: int = 0
    """Runners from elsewhere that are up."""
    num_joined: int = 0
    """Runners from elsewhere that came up; one that comes again after it was lost counts again."""
    num_left: int = 0
    """Runners from elsewhere that left after they came up, or were lost."""
    num_refused: int = 0
    """Peers from elsewhere that did not fit: another protocol, other spaces."""
    num_cut_off: int = 0
    """Peers from elsewhere that were sent away because they broke a rule."""
    num_duplicates: int = 0
    """Fragments that came again after a connection broke, and were dropped."""


class RunnerPool(Protocol):
    """Runners from which every update gets a fixed set of fragments.

    `outrider.testing.runner_pool_conformance` tests what is said here.
    """

    def sample(self, weights: WeightsReference) -> Sequence[FragmentReference]:
        """Have every runner sample one fragment with these weights, and wait for all.

        A pool that was made to sample ahead returns, from its second call on, what the runners sampled
        meanwhile with the weights of the call before: a lag of one update, always the same.

        A runner that has a version already does not load it again; every fragment says which version
        acted. Fragments come in the order of their environments and belong to the caller. Raises
        EnvironmentsFailedError where an environment fails again and again, ValueError for weights of
        another module, and LostWeightsError for weights that are gone where somebody has no others; it may
        be called again with others then.
        """
        ...

    def interrupt(self) -> None:
        """Wait for no runner any more that has not started: raise WaitInterruptedError instead.

        Safe in a signal handler. What runners were asked for is still waited for.
        """
        ...

    def statistics(self) -> PoolStatistics:
        """Return the counts so far."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Return a tree of what the next fragments depend on, weights excepted."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned in a pool made with the same arguments."""
        ...

    def close(self) -> None:
        """Close all environments. Closing twice does nothing."""
        ...


class AsyncRunnerPool(Protocol):
    """Runners that sample without pause, each with the newest weights that it holds."""

    def offer(self, weights: WeightsReference) -> None:
        """Let newer weights act from each runner's next fragment on; returns at once.

        Raises LostWeightsError for weights that are gone, where it loads them.
        """
        ...

    def collect(self, *, at_most: int, timeout_s: float) -> Sequence[FragmentReference]:
        """Return finished fragments, oldest first, and wait up to `timeout_s` for the first.

        What is over `at_most` stays for the next call, and a runner whose fragments are not taken
        samples no further: nothing piles up. Raises as `RunnerPool.sample` does.
        """
        ...

    def interrupt(self) -> None:
        """See `RunnerPool.interrupt`."""
        ...

    def statistics(self) -> PoolStatistics:
        """Return the counts so far."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Return a tree with which later runners play no episode again; episodes at hand are not in it."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Start after what `get_state` returned, before the first `collect`."""
        ...

    def close(self) -> None:
        """Close all environments. Closing twice does nothing."""
        ...


class LocalRunnerPool:
    """Runners in the calling process, one after the other."""

    def __init__(self, *runners: SamplingRunner, sample_ahead: bool = False) -> None:
        """Take over the runners, in the order of their environments: closing the pool closes them."""
        self._runners = runners
        self._sample_ahead = sample_ahead
        self._before: LocalWeights | None = None

    def sample(self, weights: WeightsReference) -> list[FragmentReference]:
        """Sample one fragment with each runner."""
        with saying_that_weights_are_lost():
            given = LocalWeights(weights.load())  # by the next call they may be gone
        acting = self._before or given
        self._before = given if self._sample_ahead else None
        for runner in self._runners:
            runner.set_weights(acting.weights)
        return [LocalFragment(runner.sample()) for runner in self._runners]

    def interrupt(self) -> None:
        """Do nothing: nobody is waited for."""

    def statistics(self) -> PoolStatistics:
        """Return the number of runners."""
        return PoolStatistics(num_runners=len(self._runners))

    def get_state(self) -> dict[str, Any]:
        """Return the runners' states, and the weights that act next where they are not the given ones."""
        return {
            "runners": [runner.get_state() for runner in self._runners],
            "before": self._before and as_array(encode_weights(self._before.weights)),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        check_num_states(state["runners"], len(self._runners))
        for runner, runner_state in zip(self._runners, state["runners"], strict=True):
            runner.set_state(runner_state)
        before = state["before"]
        self._before = None if before is None else LocalWeights(decode_weights(before.tobytes()))

    def close(self) -> None:
        """Close the environments."""
        for runner in self._runners:
            runner.close()


def as_array(frame: Frame) -> NDArray[np.uint8]:
    """Return a message in the form that checkpoints take."""
    return np.frombuffer(frame.to_bytes(), np.uint8)


def check_num_states(states: Sequence[object], num_runners: int) -> None:
    """Raise ValueError unless there is one saved state for each runner."""
    if len(states) != num_runners:
        raise ValueError(
            f"the saved state is of {len(states)} runners and this pool has {num_runners}; resume with the "
            "settings of the run that saved it"
        )
