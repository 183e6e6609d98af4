"""Episodes that nobody plays, to find out what a mapping of agents does before any is played."""

from __future__ import annotations

from collections.abc import Iterator

from outrider.envrunner.policy_mapping import Episode

NUM_IMAGINED_EPISODES = 100
MAX_ASKED = 20_000
"""Most agents that a mapping is asked for, over all imagined episodes."""


def num_imagined(num_agents: int) -> int:
    """Return how many episodes are imagined: a hundred, or fewer where there are many agents."""
    return max(1, min(NUM_IMAGINED_EPISODES, MAX_ASKED // num_agents))


def imagined_episodes(num_agents: int) -> Iterator[Episode]:
    """Yield the first episodes of as many environments."""
    for number in range(num_imagined(num_agents)):
        yield Episode(id_=f"imagined-{number}", environment=number, number=0, seed=(number,))
