"""Policies for stories, whose every choice can be worked out by hand, and who plays whom.

Agents called red are played by policies 0, 2 and 4 of the stack "red", those called blue by 1 and 3 of
"blue"; who plays whom changes with every episode. Axes: N rows, A agent slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.testing.story_teller import action_space, observation_space
from outrider.wire import Columns, TensorSpec, Weights, action_heads

STORY_POLICIES = tuple(
    PolicyEntry(name=f"{team} {number}", number=number, stack=team)
    for number, team in enumerate(("red", "blue", "red", "blue", "red"))
)


def policy_of(agent: str, slot: int, environment: int, episode: int) -> int:
    """Return the number of the policy that plays an agent in an episode of an environment."""
    mixed = environment + episode + slot
    return 1 + 2 * (mixed % 2) if agent.startswith("blue") else 2 * (mixed % 3)


class StoryMapping:
    """A `PolicyMapping` that remembers which episodes it was asked for."""

    def __init__(self, agents: Sequence[str]) -> None:
        """Take the agents by slot."""
        self._agents = tuple(agents)
        self.episodes: list[Episode] = []

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        """Say who plays whom."""
        self.episodes.append(episode)
        numbers = [
            policy_of(agent, slot, episode.environment, episode.number)
            for slot, agent in enumerate(self._agents)
        ]
        return np.array(numbers, np.int32)


class StoryStack:
    """An `ActingStack`. Its state counts the steps that an agent made; its weights are a version."""

    def __init__(self, team: str) -> None:
        """Be the policies of all agents called so."""
        self.name = team
        self.observation_space = space_from_gymnasium(observation_space(team))
        self.action_heads = action_heads(space_from_gymnasium(action_space(team)))
        self.state_spec: Mapping[str, TensorSpec] = {
            "count": TensorSpec(shape=(), dtype=np.dtype(np.float32))
        }
        self._version = 0

    def set_weights(self, weights: Weights) -> None:
        """Take the version."""
        self._version = weights.version

    def forget(self) -> None:
        """Know no version."""
        self._version = 0

    def reserve(self, num_policies: int) -> None:
        """Do nothing."""

    def drop(self, policies: NDArray[np.int32]) -> None:
        """Do nothing: what it knows is of no policy."""

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Prefer by 2 what the sum of all that counts says."""
        assert (np.diff(policy) >= 0).all()
        seen = np.concatenate(list(observations.values()), 1, dtype=np.float64)
        total = seen.sum(1) + 2 * policy + self._version + state["count"]
        parameters = np.zeros((len(policy), self.action_heads[-1].stop), np.float32)
        start = 0
        for size in self.action_heads[0].sizes:
            parameters[np.arange(len(policy)), start + (total % size).astype(np.intp)] = 2.0
            start += size
        return parameters, {"count": state["count"] + 1}


def story_weights(version: int) -> Weights:
    """Weights for all stacks; each version prefers other actions than the one before."""
    return Weights(version=version, fingerprint="", tensors={})
