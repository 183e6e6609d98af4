"""Evaluations: episodes with fixed seeds and no exploration, apart from training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider.algorithm.loops.evaluation_pace import EvaluationPace

if TYPE_CHECKING:
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.envrunner import ActingPolicy
    from outrider.envrunner.sampling.video import FilmedEpisode
    from outrider.wire import ActionHead, Weights

MAX_SEED = 2**31
"""Environments in other languages take a seed as a signed number of 32 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """How the policy is evaluated, apart from its training."""

    evaluation_interval: int = 0
    """Iterations between two evaluations during a run. 0: only where a stop condition asks for one, and
    at the end."""
    evaluation_duration: int = 100
    """Number of episodes of an evaluation."""
    evaluation_num_envs: int = 16
    """Environment copies that play these episodes side by side, at most one for each; in vectorize mode
    ASYNC each has a process. The number does not change the episodes."""
    evaluation_seed: int = 10_000
    """Seed of the first episode, 0 or above; the others take the numbers that follow."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.evaluation_interval < 0:
            raise ValueError(
                f"evaluation_interval={self.evaluation_interval} is negative; give iterations, or 0 for none"
            )
        check_evaluation_seed(self.evaluation_seed)
        for name in ("evaluation_duration", "evaluation_num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is too few; give at least 1")


def check_evaluation_seed(seed: int) -> None:
    """Raise ValueError where environments would refuse the seed, which is long after the start."""
    if not 0 <= seed < MAX_SEED:
        raise ValueError(
            f"the evaluation seed {seed} is out of range; give a whole number from 0 to {MAX_SEED - 1}"
        )


class Evaluator:
    """Plays a policy in environments that are made for each evaluation and closed after it."""

    def __init__(
        self,
        settings: RunSettings,
        make_policy: Callable[[], ActingPolicy],
        action_heads: tuple[ActionHead, ...],
    ) -> None:
        """`make_policy` makes what acts; it is called once, at the first evaluation."""
        self._settings = settings
        self._make_policy = make_policy
        self._action_heads = action_heads
        self._policy: ActingPolicy | None = None

    def evaluate(self, weights: Weights, *, num_episodes: int, seed: int) -> dict[str, Any]:
        """Play episodes from `seed` on and return their metrics. Standard deviations divide by N."""
        from outrider.envrunner.sampling.evaluation import evaluate

        episodes = evaluate(
            self._acting(weights),
            self._settings.environment,
            self._settings.env_runners,
            action_heads=self._action_heads,
            num_episodes=num_episodes,
            num_envs=self._settings.evaluation.evaluation_num_envs,
            seed=seed,
            on_step=EvaluationPace(num_episodes),
        )
        return {
            "num_episodes": len(episodes.returns),
            "episode_return_mean": float(episodes.returns.mean()),
            "episode_return_std": float(episodes.returns.std()),
            "episode_return_min": float(episodes.returns.min()),
            "episode_return_max": float(episodes.returns.max()),
            "episode_length_mean": float(episodes.lengths.mean()),
        }

    def record_video(self, weights: Weights, path: Path, *, seed: int) -> FilmedEpisode:
        """Film the episode that an evaluation starts from `seed`."""
        from outrider.envrunner.sampling.video import record_video

        return record_video(
            self._acting(weights),
            self._settings.environment,
            self._settings.env_runners,
            action_heads=self._action_heads,
            path=path,
            seed=seed,
        )

    def _acting(self, weights: Weights) -> ActingPolicy:
        if self._policy is None:
            self._policy = self._make_policy()
        self._policy.set_weights(weights)
        return self._policy
