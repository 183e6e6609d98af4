"""Who may play for whom, as far as a gateway knows it: strangers hand in rows of nobody else.

Axes: S = streams, M = matchups, A = agent slots.

    matchups     red: main, blue: old         known    red    main
                 red: main, blue: new                  blue   old, new

Matchups are known, a mapping function is not: of it only that policies fit what their agents see and do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import ActionHead, Agents, Space, action_heads, leaf_dtype, leaf_shape, leaves

Numbers = NDArray[np.int32]
Flags = NDArray[np.bool_]
_SHIFT = 32
"""An agent and a policy are one number, the agent in its upper half."""


class KnownPlayers:
    """The pairs of agent and policy that any matchup of the run has had."""

    def __init__(self, agents: Sequence[str], fitting: Mapping[str, Flags]) -> None:
        """Know of no matchup yet; `agents` are the slots' names.

        `fitting` says of a stack which of them [A] its policies fit; any, where it is not there.
        """
        self._agents = agents
        self._fitting = dict(fitting)
        self._pairs: NDArray[np.int64] | None = np.zeros(0, np.int64)

    def also(self, assigned: Sequence[Numbers] | None, fitting: Mapping[str, Flags]) -> None:
        """Let these matchups [M][A] in, beside those before; None: a function says, and nobody knows."""
        self._fitting |= fitting
        if assigned is None or self._pairs is None:
            self._pairs = None
            return
        slots = np.arange(len(self._agents))
        self._pairs = np.unique(np.concatenate([self._pairs, *(_paired(slots, each) for each in assigned)]))

    def also_playing(self, policy_S: Numbers) -> None:
        """Let these go on, slot after slot of all copies, with the episodes that they are in."""
        if self._pairs is not None:
            self._pairs = np.union1d(self._pairs, self._playing(policy_S))

    def check_playing(self, policy_S: Numbers) -> None:
        """Raise ValueError where these play, slot after slot of all copies, and no matchup has that."""
        unknown = [] if self._pairs is None else np.setdiff1d(self._playing(policy_S), self._pairs).tolist()
        if unknown:
            raise ValueError(self._unknown("episodes under way", unknown[0]))

    def check(self, name: str, stack: str, agent: Numbers, policy: Numbers) -> None:
        """Raise ValueError for an agent whom no matchup gives its policy, all of which are of one stack.

        `name` says what they are of.
        """
        fits_A = self._fitting.get(stack)
        if fits_A is not None and not fits_A[agent].all():
            slot = int(agent[~fits_A[agent]][0])
            raise ValueError(
                f"its {name} let a policy of stack {stack!r} play agent {self._agents[slot]!r}, which sees "
                "or does other things than these policies were made for"
            )
        if self._pairs is None:
            return
        pairs = _paired(agent, policy)
        unknown = pairs[~np.isin(pairs, self._pairs)].tolist()
        if unknown:
            raise ValueError(self._unknown(name, unknown[0]))

    def _playing(self, policy_S: Numbers) -> NDArray[np.int64]:
        return _paired(np.arange(len(policy_S)) % len(self._agents), policy_S)

    def _unknown(self, name: str, pair: int) -> str:
        slot, number = divmod(pair, 1 << _SHIFT)
        return (
            f"its {name} let policy {number} play agent {self._agents[slot]!r}, and no matchup of the run "
            "does; let each episode be played by one of the matchups"
        )


def fitting(agents: Agents, space: Space, heads: Sequence[ActionHead]) -> Flags:
    """Return which agents [A] see and do what a policy with this observation space and these heads does."""
    fits_A = np.zeros(len(agents.names), np.bool_)
    for group in agents.groups:
        does = [(head.path, head.sizes, head.shape) for head in action_heads(group.action_space)]
        fits_A[list(group.slots)] = _forms(group.observation_space) == _forms(space) and does == [
            (head.path, head.sizes, head.shape) for head in heads
        ]
    return fits_A


def _forms(space: Space) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    return {path: (leaf_dtype(leaf), leaf_shape(leaf)) for path, leaf in leaves(space).items()}


def _paired(agent: NDArray[np.integer], policy: Numbers) -> NDArray[np.int64]:
    pairs: NDArray[np.int64] = agent.astype(np.int64) << _SHIFT | policy
    return pairs
