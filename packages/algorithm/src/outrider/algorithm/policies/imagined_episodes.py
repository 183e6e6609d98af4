"""Episodes that nobody plays, to find out what a mapping of agents does before any is played."""

from __future__ import annotations

from collections.abc import Iterator

from outrider.envrunner.policies.policy_mapping import Episode

NUM_IMAGINED_EPISODES = 100
"""At least, so that mappings that draw have drawn what they mostly draw."""
MAX_ASKED = 20_000
"""Most agents that a mapping is asked for, over all imagined episodes."""
NUM_NUMBERS = 8
"""An environment's episodes go by numbers; so many of the first are imagined."""


def num_imagined(num_agents: int, num_policies: int = 1) -> int:
    """Return how many episodes are imagined: a hundred, or one for each policy where there are more.

    They are fewer where there are many agents.
    """
    return max(1, min(max(NUM_IMAGINED_EPISODES, num_policies), MAX_ASKED // num_agents))


def imagined_episodes(num_agents: int, num_policies: int = 1) -> Iterator[Episode]:
    """Yield episodes of as many environments, by turns their first, their second and so on."""
    for index in range(num_imagined(num_agents, num_policies)):
        number = index // 2 % NUM_NUMBERS  # odd and even for odd and even environments
        yield Episode(id_=f"imagined-{index}", environment=index, number=number, seed=(index,))
