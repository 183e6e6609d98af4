"""Says who acts for whom, episode by episode. Axes: E = copies, A = agent slots, S = e * A + a."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.matchups import MatchupMapping
from outrider.envrunner.policies.policy_fit import PolicyFit
from outrider.envrunner.policies.policy_mapping import Episode, PolicyMapping

_EPISODES = 4
"""What random numbers are for, so that no two draw the same ones."""
Indices = NDArray[np.intp]


class AgentPolicies:
    """The policies of all slots, as a mapping assigns them when an episode begins."""

    def __init__(
        self, mapping: PolicyMapping, num_envs: int, num_agents: int, *, seed: int, first_environment: int
    ) -> None:
        """Assign nothing yet. Call `allow` before the first episode."""
        self._mapping = mapping
        self._seed, self._first = seed, first_environment
        self._shape = (num_envs, num_agents)
        self.policy_S = np.full(num_envs * num_agents, -1, np.int32)
        """[S] numbers; another array when one changes."""
        self.num_episodes_E = np.zeros(num_envs, np.int64)
        """[E] episodes that have begun."""
        self._assigned: list[NDArray[np.int32] | None] = [None] * num_envs
        """What the mapping said last of each copy: most mappings say the same array again."""
        self._ahead: dict[str, NDArray[np.int32]] = {}
        """By id, what it said of episodes that have not begun."""
        self._is_settled = False
        """Whether every copy has what the mapping will always say: nobody is asked then."""

    def allow(self, fit: PolicyFit) -> None:
        """Assign these policies only."""
        self.fit = fit
        self._forget()

    def ask(self, mapping: PolicyMapping) -> None:
        """Ask another mapping from now on."""
        self._mapping = mapping
        self._forget()

    def resume(self, policy_S: NDArray[np.int32]) -> None:
        """Continue with policies that were assigned before."""
        self.policy_S = policy_S
        self._forget()

    def stacks(self) -> Indices:
        """Return [S] the index of the stack of each slot's policy."""
        return self.fit.stacks_of(self.policy_S)

    def begin_episodes(self, environments: Indices, incarnation: int) -> Indices:
        """Ask who acts for whom in copies that were reset; return the slots where somebody else does.

        Raises ValueError for a policy that does not fit its agent.
        """
        if self._is_settled:
            self.num_episodes_E[environments] += 1
            return _NOBODY
        before_S = self.policy_S
        policy_EA = before_S.reshape(self._shape)
        for environment in environments.tolist():
            policy = self._assign(self._episode(environment, incarnation))
            self.num_episodes_E[environment] += 1
            if policy is self._assigned[environment]:
                continue
            self._assigned[environment] = policy
            if not np.array_equal(policy, policy_EA[environment]):
                self.fit.require(policy)
                if self.policy_S is before_S:
                    self.policy_S = before_S.copy()
                    policy_EA = self.policy_S.reshape(self._shape)
                policy_EA[environment] = policy
        if isinstance(self._mapping, MatchupMapping) and self._mapping.only is not None:
            self._is_settled = all(policy is self._mapping.only for policy in self._assigned)
        return _NOBODY if self.policy_S is before_S else np.flatnonzero(self.policy_S != before_S)

    def next_policies(self, incarnation: int) -> NDArray[np.int32]:
        """Return who plays in the next episodes of all copies, as far as that is known now.

        Matchups say it. A function may look at what happens until then.
        """
        if not isinstance(self._mapping, MatchupMapping):
            return np.zeros(0, np.int32)
        episodes = [self._episode(environment, incarnation) for environment in range(self._shape[0])]
        self._ahead = {episode.id_: self._assign(episode) for episode in episodes}
        return np.concatenate(list(self._ahead.values()))

    def _assign(self, episode: Episode) -> NDArray[np.int32]:
        ahead = self._ahead.get(episode.id_)
        return self._mapping.assign(episode) if ahead is None else ahead

    def _forget(self) -> None:
        """Ask the mapping of every copy again."""
        self._assigned = [None] * len(self._assigned)
        self._ahead = {}
        self._is_settled = False

    def _episode(self, environment: int, incarnation: int) -> Episode:
        copy, number = self._first + environment, int(self.num_episodes_E[environment])
        return Episode(
            id_=f"{copy}-{incarnation}-{number}",
            environment=copy,
            number=number,
            seed=(self._seed, copy, _EPISODES, incarnation, number),
        )


_NOBODY = np.zeros(0, np.intp)
