"""Who plays whom as plain data: what leagues use, and runs whose agents always have the same policies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.nearest import no_such
from outrider.envrunner.policies.function_mapping import no_policy_for
from outrider.envrunner.policies.policy_mapping import Episode

AN_EXAMPLE = "(1.0, {'agent': 'policy'})"


@dataclass(frozen=True, slots=True)
class Matchups:
    """One of these is drawn for each episode.

    Matchups([(3.0, {"red": "main", "blue": "main"}), (1.0, {"red": "main", "blue": "snapshot 4"})])
    """

    matchups: Sequence[tuple[float, Mapping[str, str]]]
    """With which weight which agent is played by which policy. Weights are above 0, and agents all there."""

    def __post_init__(self) -> None:
        """Refuse what is no pair, and weights that are none."""
        if not self.matchups:
            raise ValueError(f"there are no matchups; give at least one, such as {AN_EXAMPLE}")
        pairs: Sequence[Any] = self.matchups
        for each in pairs:
            if not isinstance(each, Sequence) or len(each) != 2 or not isinstance(each[1], Mapping):
                raise ValueError(
                    f"matchup {shortened(each)} is no pair; give a weight and the policy of each agent: "
                    f"{AN_EXAMPLE}"
                )
            weight, _ = each
            if not 0 < weight < math.inf:
                raise ValueError(f"a matchup has weight {weight!r}; it must be above 0 and finite")

    def to_message(self) -> list[Any]:
        """Return plain values."""
        return [[weight, dict(names)] for weight, names in self.matchups]

    @staticmethod
    def from_message(message: Sequence[Any]) -> Matchups:
        """Read what `to_message` returned."""
        return Matchups(tuple((weight, dict(names)) for weight, names in message))


class MatchupMapping:
    """Draws a matchup for each episode. A `PolicyMapping`."""

    def __init__(self, matchups: Matchups, agents: Sequence[str], numbers: Mapping[str, int]) -> None:
        """`agents` are the slots' names, `numbers` those of the policies by name.

        Raises ValueError for a matchup that leaves out an agent, or names an agent or a policy that there
        is not.
        """
        weights = np.array([weight for weight, _ in matchups.matchups], np.float64)
        self._bounds = np.cumsum(weights) / weights.sum()
        self.assigned = [_numbers(names, agents, numbers) for _, names in matchups.matchups]
        """Of each matchup, the policy of each agent slot [A]."""
        self.only = self.assigned[0] if len(self.assigned) == 1 else None
        """The one of all episodes, where there is one."""

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        """Draw one; nothing is drawn where there is one."""
        index = 0
        if len(self.assigned) > 1:
            index = int(np.searchsorted(self._bounds[:-1], episode.rng.random(), side="right"))
        return self.assigned[index]


def _numbers(
    names: Mapping[str, str], agents: Sequence[str], numbers: Mapping[str, int]
) -> NDArray[np.int32]:
    """Return the number of the policy of each agent slot [A]."""
    if others := names.keys() - set(agents):
        other = min(others, key=str)
        raise ValueError(f"a matchup has agent {other!r}, and {no_such('agent', other, agents)}")
    assigned = np.empty(len(agents), np.int32)
    for slot, agent in enumerate(agents):
        if agent not in names:
            raise ValueError(f"a matchup leaves out agent {agent!r}; say in each who plays whom, all agents")
        name: object = names[agent]
        if not isinstance(name, str) or name not in numbers:
            raise no_policy_for(f"a matchup lets {name!r} play agent {agent!r}", name, numbers)
        assigned[slot] = numbers[name]
    return assigned
