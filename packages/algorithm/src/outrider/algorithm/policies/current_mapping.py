"""Who acts for which agent, as it is now: it may be set anew while a run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from outrider.algorithm.policies.imagined_episodes import imagined_episodes
from outrider.algorithm.settings.setting_value import FUNCTION, convert, to_json
from outrider.envrunner.policies.function_mapping import FunctionMapping
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from outrider.envrunner.policies.policy_mapping import Episode, PolicyMapping

MappingFunction = Callable[..., str]
log = logging.getLogger(__name__)


class CurrentMapping:
    """Asks the function, or draws from the matchups, that were set last; obeys `PolicyMapping`."""

    def __init__(
        self, chosen: MappingFunction | Matchups, agents: Sequence[str], numbers: Mapping[str, int]
    ) -> None:
        """`numbers` of policies by name is looked into for every episode."""
        self.agents, self._numbers = agents, numbers
        self._first = chosen
        self.set(chosen)

    def set(
        self,
        chosen: MappingFunction | Matchups,
        *,
        require_fit: Callable[[NDArray[np.int32]], None] = lambda _: None,
    ) -> None:
        """Map episodes that begin from now on. Raises ValueError for a policy that there is not.

        `require_fit` is shown every matchup as numbers [A], and what a function returns for imagined
        episodes. Where it raises, all stays as it was.
        """
        mapping: PolicyMapping
        if isinstance(chosen, Matchups):
            mapping = MatchupMapping(chosen, self.agents, self._numbers)
            for _, names in chosen.matchups:
                require_fit(np.array([self._numbers[names[agent]] for agent in self.agents], np.int32))
        else:
            mapping = FunctionMapping(chosen, self.agents, self._numbers)
            for episode in self._imagined():
                require_fit(mapping.assign(episode))
        self._mapping, self._chosen = mapping, chosen

    @property
    def chosen(self) -> MappingFunction | Matchups:
        """What was set last."""
        return self._chosen

    def agent_of(self, policy: str) -> str | None:
        """Return an agent that a policy acts for: in a matchup, or in imagined episodes; None if in none.

        What else a function returns nobody knows.
        """
        if isinstance(self._chosen, Matchups):
            played = (
                agent for _, by in self._chosen.matchups for agent, name in by.items() if name == policy
            )
            return next(played, None)
        for episode in self._imagined():
            slots = np.flatnonzero(self.assign(episode) == self._numbers[policy])
            if len(slots):
                return self.agents[int(slots[0])]
        return None

    def _imagined(self) -> Iterator[Episode]:
        return imagined_episodes(len(self.agents), len(self._numbers))

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        """Return the numbers [A] of the policies that act in this episode."""
        return self._mapping.assign(episode)

    def get_state(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        if isinstance(self._chosen, Matchups):
            return {"matchups": self._chosen.to_message()}
        return {"function": to_json(self._chosen), "was_set": self._chosen is not self._first}


def recorded_choice(
    state: Mapping[str, Any], of_settings: MappingFunction | Matchups
) -> MappingFunction | Matchups:
    """Read what `CurrentMapping.get_state` returned.

    A function that is part of no module could not be recorded; then it is that of the settings, and the log
    says so where another one had been set.
    """
    if "matchups" in state:
        return Matchups.from_message(state["matchups"])
    if state["function"][FUNCTION] is None:
        if state.get("was_set"):
            log.warning(
                "%s said who acts for whom and is part of no module that could be imported again: the "
                "configuration's policy_mapping_fn acts instead; set_policy_mapping_fn gives it back",
                state["function"]["was"],
            )
        return of_settings
    chosen: MappingFunction = convert(state["function"], MappingFunction)
    return chosen
