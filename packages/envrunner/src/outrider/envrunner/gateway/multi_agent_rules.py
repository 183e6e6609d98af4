"""What fragments of several policies look like, to check those that come from elsewhere.

Axes: N = rows, S = streams, K = episodes of agents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.gateway.column_rules import ColumnRules, check_finite
from outrider.envrunner.gateway.known_players import KnownPlayers
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.wire import AgentEpisodes, Fragment, Limits, all_parts

_EPISODE_BYTES = 64
"""Of an episode's statistics and an agent's in a header, at most."""


class MultiAgentRules:
    """What a runner was told to sample. What holds for every fragment was checked when it was decoded."""

    def __init__(
        self,
        *,
        columns: Mapping[str, ColumnRules],
        policies: Iterable[PolicyEntry],
        players: KnownPlayers,
        num_agents: int,
        num_steps: int,
        num_environments: int,
        has_central_critic: bool,
        num_critic_numbers: int | None = None,
    ) -> None:
        """Expect for the policies of each stack its columns, and critic states of so many numbers each.

        `players` says who may play for whom, as far as that is known.
        """
        self._columns = dict(columns)
        self._stack_of = {policy.number: policy.stack for policy in policies}
        self._players = players
        self._num_agents = num_agents
        self._num_environments = num_environments
        self._has_central_critic = has_central_critic
        self._critic_shape = None if num_critic_numbers is None else (num_critic_numbers,)
        # A row that was open when the fragment before ended comes with this one.
        self._num_rows = (num_steps + 1) * num_environments * num_agents

    def also(self, columns: Mapping[str, ColumnRules], policies: Iterable[PolicyEntry]) -> None:
        """Expect more policies. Those that are gone may still come, in what was asked for before."""
        self._columns |= columns
        self._stack_of |= {policy.number: policy.stack for policy in policies}

    @property
    def policies(self) -> Collection[int]:
        """Numbers of those that may come."""
        return self._stack_of.keys()

    def limits(self, limits: Limits) -> Limits:
        """Return what need not be exceeded by what was asked for, however much else may come.

        Episodes of agents are listed in the header, which grows with what was asked for.
        """
        row_bytes = max(columns.row_bytes + columns.stream_bytes for columns in self._columns.values())
        max_header_bytes = limits.max_header_bytes + _EPISODE_BYTES * self._num_rows
        most_bytes = self._num_rows * row_bytes
        if self._has_central_critic:  # states are as large as the environment has them
            most_bytes = limits.max_message_bytes
        return replace(
            limits,
            max_header_bytes=max_header_bytes,
            max_message_bytes=min(limits.max_message_bytes, most_bytes + 2 * max_header_bytes),
            max_decompressed_bytes=min(limits.max_decompressed_bytes, most_bytes + 1),
            max_rows=min(limits.max_rows, self._num_rows),
            max_streams=min(limits.max_streams, self._num_rows),
            max_episodes=min(limits.max_episodes, self._num_rows),
        )

    def check(self, fragment: Fragment, *, runner: int) -> None:
        """Raise ValueError with the first rule that a fragment of this runner of the run breaks."""
        parts = all_parts(fragment)
        num_rows = sum(part.num_rows for part in parts)
        if num_rows > self._num_rows:
            raise ValueError(f"it has {num_rows} rows and at most {self._num_rows} were asked for")
        first = runner * self._num_environments
        seen: set[str] = set()
        for part in parts:
            self._check_places("streams", part.streams.environment, part.streams.agent, first)
            if part.num_rows:
                stack = self._stack(part.streams.policy)
                if stack in seen:
                    raise ValueError(f"it has two parts of stack {stack!r}; one has all of its rows")
                seen.add(stack)
                self._columns[stack].check(part)
                self._players.check("streams", stack, part.streams.agent, part.streams.policy)
            self._check_critic(part)
            self._check_episodes(part.episodes.agents, first)
        check_finite("the returns of episodes", fragment.episodes.returns)

    def check_versions(self, fragment: Fragment, oldest: int, newest: int) -> int | None:
        """Return the newest version of the weights that acted, None where there are no rows.

        A row that was open when the fragment before ended may be older than all that was asked for since;
        how old is the learner's to judge. Raises ValueError for weights that were not sent yet.
        """
        versions = [part.policy_version for part in all_parts(fragment) if part.num_rows]
        if not versions:
            return None
        first, last = (int(bound) for bound in (min(map(np.min, versions)), max(map(np.max, versions))))
        if not 0 <= first <= last <= newest:
            raise ValueError(f"versions {first} to {last} of the weights acted, and {newest} is the newest")
        return last

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError for a runner's state in which somebody plays whose rows `check` would refuse."""
        self._players.check_playing(self._playing(state))

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Let those who play in a state that a runner is given hand in what comes of it.

        It may be older than the matchups that there are now.
        """
        self._players.also_playing(self._playing(state))

    def _playing(self, state: Mapping[str, Any]) -> NDArray[np.int32]:
        """Return who plays in the slots of all copies; nobody where the state has no environments."""
        policy_S = state.get("policy")
        if policy_S is None:
            return np.zeros(0, np.int32)
        num_slots = self._num_environments * self._num_agents
        if (
            not isinstance(policy_S, np.ndarray)
            or policy_S.dtype.kind != "i"
            or policy_S.shape != (num_slots,)
        ):
            raise ValueError(
                f"its policies are no {num_slots} whole numbers, one for each agent of each copy"
            )
        if unknown := set(np.unique(policy_S).tolist()) - self._stack_of.keys():
            raise ValueError(f"policy {min(unknown)} plays, which the run does not have")
        return policy_S.astype(np.int32)

    def _by_stack(self, policy_K: NDArray[np.int32]) -> dict[str, NDArray[np.bool_]]:
        """Return for each stack which of these policies belong to it."""
        numbers = np.unique(policy_K).tolist()
        if unknown := set(numbers) - self._stack_of.keys():
            raise ValueError(f"an episode is of policy {min(unknown)}, which the run does not have")
        stacks: dict[str, list[int]] = {}
        for number in numbers:
            stacks.setdefault(self._stack_of[number], []).append(number)
        return {stack: np.isin(policy_K, members) for stack, members in stacks.items()}

    def _stack(self, policy_S: NDArray[np.int32]) -> str:
        """Return the stack that all these policies belong to."""
        stacks = {}
        for number in np.unique(policy_S).tolist():
            if number not in self._stack_of:
                raise ValueError(f"it has policy {number}, which the run does not have")
            stacks[self._stack_of[number]] = number
        if len(stacks) > 1:
            raise ValueError(f"policies {sorted(stacks.values())} share a part and not a stack")
        return next(iter(stacks))

    def _check_places(
        self, name: str, environment: NDArray[np.int32], agent: NDArray[np.int32], first: int
    ) -> None:
        last = first + self._num_environments - 1
        if environment.size and not first <= environment.min() <= environment.max() <= last:
            raise ValueError(
                f"its {name} are of environment copies {environment.min()} to {environment.max()}, and the "
                f"runner's are {first} to {last}: its number times num_environments, and those after it"
            )
        if agent.size and not 0 <= agent.min() <= agent.max() < self._num_agents:
            raise ValueError(
                f"its {name} are of agents {agent.min()} to {agent.max()}, and there are {self._num_agents}"
            )

    def _check_critic(self, part: Fragment) -> None:
        if part.num_rows and bool(part.critic_states) != self._has_central_critic:
            found = "has" if part.critic_states else "has no"
            raise ValueError(f"it {found} critic states, and the run's critics are of the other kind")
        for path, column in part.critic_states.items():
            if self._critic_shape is not None and column.shape[1:] != self._critic_shape:
                raise ValueError(
                    f"critic states {path!r} have shape {column.shape[1:]} each and should have "
                    f"{self._critic_shape}"
                )
            check_finite(f"critic states {path!r}", column)

    def _check_episodes(self, agents: AgentEpisodes | None, first: int) -> None:
        if agents is None:
            raise ValueError("it has no episodes of agents, and the run has several; update the runner")
        if len(agents.returns) > self._num_rows:  # one who never acts may win, too
            raise ValueError(
                f"{len(agents.returns)} episodes of agents ended and at most {self._num_rows} were asked for"
            )
        self._check_places("episodes", agents.environment, agents.agent, first)
        for stack, episodes in self._by_stack(agents.policy).items():
            self._players.check("episodes", stack, agents.agent[episodes], agents.policy[episodes])
        check_finite("the returns of agents", agents.returns)
