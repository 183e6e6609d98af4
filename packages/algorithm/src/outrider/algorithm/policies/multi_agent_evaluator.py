"""Evaluations of several agents: episodes with fixed seeds, apart from training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from outrider.algorithm.loops.evaluation import metrics_of
from outrider.algorithm.loops.evaluation_pace import EvaluationPace
from outrider.algorithm.policies.policy_returns import NUM_SHOWN, spread_of
from outrider.envrunner.policies.acting_weights import ActingWeights

if TYPE_CHECKING:
    from outrider.algorithm.policies.current_mapping import CurrentMapping
    from outrider.algorithm.policies.policy_book import BookedPolicy, PolicyBook
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
    from outrider.envrunner.environments.sync_vector import OnFailure
    from outrider.envrunner.policies.acting_stack import ActingStack
    from outrider.wire import AgentEpisodes, Weights

MakeCopies = "Callable[[int, OnFailure], MultiAgentVector]"


class MultiAgentEvaluator:
    """Plays all policies in environments that are made for each evaluation and closed after it."""

    def __init__(
        self,
        settings: RunSettings,
        make_vector: Callable[[int, OnFailure], MultiAgentVector],
        make_stack: Callable[[str, Sequence[BookedPolicy]], ActingStack],
        mapping: CurrentMapping,
        book: PolicyBook,
    ) -> None:
        """`make_stack` makes what acts for a stack, called once for each; `mapping` says who plays."""
        self._settings = settings
        self._make_vector, self._make_stack = make_vector, make_stack
        self._mapping, self._book = mapping, book
        self._stacks: dict[str, ActingStack] = {}
        self._weights = ActingWeights()

    def evaluate(self, weights: Weights, *, num_episodes: int, seed: int, explore: bool) -> dict[str, Any]:
        """Play episodes from `seed` on and return their metrics; returns are sums over all agents.

        Those of each policy are means over the episodes of the agents that it acted for.
        """
        from outrider.envrunner.sampling.multi_agent_evaluation import evaluate_agents

        episodes = evaluate_agents(
            self._make_vector,
            self._acting(weights),
            self._mapping,
            [policy.entry for policy in self._book],
            num_episodes=num_episodes,
            num_envs=self._settings.evaluation.evaluation_num_envs,
            seed=seed,
            max_env_restarts=self._settings.env_runners.max_env_restarts,
            explore=explore,
            on_step=EvaluationPace(num_episodes),
        )
        assert episodes.agents is not None
        return metrics_of(episodes) | self._of_policies(episodes.agents)

    def record_video(self, weights: Weights, path: Path, *, seed: int) -> NoReturn:
        """Refuse."""
        raise ValueError(
            "episodes of several agents cannot be filmed yet; evaluate them without a video, or render the "
            "environment in a script of your own with algorithm.policies"
        )

    def _acting(self, weights: Weights) -> list[ActingStack]:
        made = self._stacks
        self._stacks = {
            name: made[name] if name in made else self._make_stack(name, policies)
            for name, policies in self._book.by_stack().items()
        }
        stacks = list(self._stacks.values())
        self._weights.act_with([policy.entry for policy in self._book], stacks)
        self._weights.begin_anew()
        self._weights.take(weights)
        return stacks

    def _of_policies(self, agents: AgentEpisodes) -> dict[str, float]:
        size = self._book.next_number
        num_episodes = np.bincount(agents.policy, minlength=size)
        with np.errstate(invalid="ignore"):  # nan where a policy did not play
            means = np.bincount(agents.policy, agents.returns, minlength=size) / num_episodes
            lengths = np.bincount(agents.policy, agents.lengths, minlength=size) / num_episodes
        result = {"num_policies": len(self._book)} | spread_of(means[num_episodes > 0])
        for _, policy in zip(range(NUM_SHOWN), self._book, strict=False):
            start = f"policies/{policy.name}"
            result[f"{start}/episode_return_mean"] = float(means[policy.number])
            result[f"{start}/episode_length_mean"] = float(lengths[policy.number])
            result[f"{start}/num_episodes"] = int(num_episodes[policy.number])
        return result
