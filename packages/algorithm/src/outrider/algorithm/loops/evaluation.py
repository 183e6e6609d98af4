"""Evaluations: episodes with fixed seeds, apart from training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outrider.algorithm.loops.evaluation_pace import EvaluationPace

if TYPE_CHECKING:
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.envrunner import ActingPolicy
    from outrider.envrunner.sampling.video import FilmedEpisode
    from outrider.wire import ActionHead, EpisodeStatistics, Weights


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

    def evaluate(self, weights: Weights, *, num_episodes: int, seed: int, explore: bool) -> dict[str, Any]:
        """Play episodes from `seed` on and return their metrics."""
        from outrider.envrunner.sampling.evaluation import evaluate

        episodes = evaluate(
            self._acting(weights),
            self._settings.environment,
            self._settings.env_runners,
            action_heads=self._action_heads,
            num_episodes=num_episodes,
            num_envs=self._settings.evaluation.evaluation_num_envs,
            seed=seed,
            explore=explore,
            on_step=EvaluationPace(num_episodes),
        )
        return metrics_of(episodes)

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


def metrics_of(episodes: EpisodeStatistics) -> dict[str, Any]:
    """Return the metrics of an evaluation. Standard deviations divide by N."""
    return {
        "num_episodes": len(episodes.returns),
        "episode_return_mean": float(episodes.returns.mean()),
        "episode_return_std": float(episodes.returns.std()),
        "episode_return_min": float(episodes.returns.min()),
        "episode_return_max": float(episodes.returns.max()),
        "episode_length_mean": float(episodes.lengths.mean()),
    }
