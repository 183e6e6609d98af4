"""An algorithm whose parts are fakes: it counts instead of learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import Algorithm, PPOConfig
from outrider.algorithm.assembly.algorithm_parts import AlgorithmParts
from outrider.algorithm.loops.synchronous import SynchronousLoop
from outrider.envrunner import PoolStatistics, WaitInterruptedError
from outrider.learner.groups.group import LearnerGroupStatistics
from outrider.transport import FragmentReference, LocalFragment, LocalWeights, WeightsReference
from outrider.wire import EpisodeStatistics, Fragment, SamplingStatistics, Streams, Weights


def fragment(num_rows: int = 10, returns: Sequence[float] = ()) -> Fragment:
    """Return a fragment of one stream in which episodes with these returns ended."""
    return Fragment(
        streams=Streams(
            lengths=np.array([num_rows], np.int64),
            policy=np.zeros(1, np.int32),
            environment=np.zeros(1, np.int32),
            agent=np.zeros(1, np.int32),
        ),
        observations={"": np.zeros((num_rows, 2), np.float32)},
        actions={"": np.zeros(num_rows, np.int64)},
        rewards=np.ones(num_rows, np.float32),
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        next_rows=np.array([num_rows - 1], np.int64),
        next_observations={"": np.zeros((1, 2), np.float32)},
        action_log_probs=np.zeros(num_rows, np.float32),
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(
            returns=np.array(returns, np.float32), lengths=np.full(len(returns), 7, np.int64)
        ),
        statistics=SamplingStatistics(environment_s=0.25, policy_s=0.125, total_s=0.5, num_restarts=1),
    )


class FakeRunners:
    """Hands out one fragment of ten rows after the other, and remembers what it was called with."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.num_samples = 0
        self.num_closed = 0
        self.is_interrupted = False
        self.before: Callable[[], None] = lambda: None
        self.returns: Callable[[int], Sequence[float]] = lambda number: [float(number)]

    def sample(self, weights: WeightsReference) -> list[LocalFragment]:
        self.before()
        if self.is_interrupted:
            raise WaitInterruptedError
        self.versions.append(weights.version)
        self.num_samples += 1
        return [LocalFragment(fragment(returns=self.returns(self.num_samples)))]

    def interrupt(self) -> None:
        self.is_interrupted = True

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(num_runners=1)

    def get_state(self) -> dict[str, Any]:
        return {"num_samples": self.num_samples}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.num_samples = state["num_samples"]

    def close(self) -> None:
        self.num_closed += 1


class FakeLearner:
    """Counts its updates; the version is the weight."""

    def __init__(self) -> None:
        self.num_updates = 0

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        self.num_updates += len(fragments)
        return {"loss": 1.0 / self.num_updates}

    def publish(self) -> LocalWeights:
        return LocalWeights(Weights(version=self.num_updates, fingerprint="fake", tensors={}))

    def statistics(self) -> LearnerGroupStatistics:
        return LearnerGroupStatistics()

    def get_state(self) -> dict[str, Any]:
        return {"num_updates": self.num_updates}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.num_updates = state["num_updates"]

    def close(self) -> None: ...


class FakePolicy:
    """Remembers the versions of its weights."""

    def __init__(self) -> None:
        self.versions: list[int] = []

    def load_weights(self, weights: Weights) -> None:
        self.versions.append(weights.version)


class FakeEvaluator:
    """Says that the return is the version of the weights, and remembers the numbers of episodes."""

    def __init__(self) -> None:
        self.num_episodes: list[int] = []
        self.before: Callable[[], None] = lambda: None

    def evaluate(self, weights: Weights, *, num_episodes: int, seed: int, explore: bool) -> dict[str, Any]:
        self.before()
        self.num_episodes.append(num_episodes)
        return {
            "episode_return_mean": float(weights.version),
            "episode_return_std": 0.0,
            "episode_length_mean": 1.0,
            "num_episodes": num_episodes,
        }

    def record_video(self, weights: Weights, path: Path) -> Path:
        return path


class FakeAlgorithm(Algorithm):
    """An algorithm whose parts can be looked at."""

    runners: FakeRunners
    learner: FakeLearner
    evaluator: FakeEvaluator


@pytest.fixture
def make_algorithm() -> Callable[..., FakeAlgorithm]:
    def make(config: PPOConfig | None = None, *, reward_threshold: float | None = None) -> FakeAlgorithm:
        config = config or PPOConfig()
        settings = config.environment("CartPole-v1").settings
        settings = replace(settings, debugging=replace(settings.debugging, seed=1))
        runners, learner, evaluator = FakeRunners(), FakeLearner(), FakeEvaluator()
        to_close = ExitStack()
        to_close.callback(runners.close)
        algorithm = FakeAlgorithm(
            AlgorithmParts(
                settings=settings,
                loop=SynchronousLoop(runners, learner),
                policy=FakePolicy(),  # type: ignore[arg-type]
                evaluator=evaluator,  # type: ignore[arg-type]
                to_close=to_close,
                reward_threshold=reward_threshold,
            )
        )
        algorithm.runners, algorithm.learner, algorithm.evaluator = runners, learner, evaluator
        return algorithm

    return make
