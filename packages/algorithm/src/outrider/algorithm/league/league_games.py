"""Puts the episodes of agents together to games of two sides.

    environment 3, episode 7     side 0  return  1.0     score 1.0: won
                                 side 1  return -1.0

Axes: K games, N episodes of agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import AgentEpisodes

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True, slots=True)
class Games:
    """Games that are over."""

    policies: NDArray[np.int32]
    """[K, 2] number of the policy that played each side."""
    scores: NDArray[np.float64]
    """[K] of side 0: 1 where its return was higher, 0.5 where both were equal, 0 otherwise."""


class GamesInProgress:
    """Remembers what agents did whose games go on.

    A game is over when an episode of each agent is. One in which somebody neither acted nor got anything
    does not count, nor one with a return that is not finite.
    """

    def __init__(self, sides: Sequence[Sequence[int]]) -> None:
        """`sides` are the slots of the agents on each of two sides."""
        self._first_slots = [side[0] for side in sides]
        self._num_agents = sum(map(len, sides))
        self._side_of = np.zeros(1 + max(max(side) for side in sides), np.intp)
        self._side_of[list(sides[1])] = 1
        self._waiting = _nothing()

    def add(self, episodes: Sequence[AgentEpisodes]) -> Games:
        """Take in what ended, fragment by fragment, and return the games that are over by that."""
        games = [self._add(ended) for ended in episodes if len(ended.agent)]
        return Games(
            policies=np.concatenate([np.zeros((0, 2), np.int32), *(each.policies for each in games)]),
            scores=np.concatenate([np.zeros(0), *(each.scores for each in games)]),
        )

    def get_state(self) -> dict[str, Any]:
        """Return what waits."""
        return {each.name: getattr(self._waiting, each.name) for each in fields(AgentEpisodes)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._waiting = AgentEpisodes(**state)

    def _add(self, ended: AgentEpisodes) -> Games:
        every = _joined([self._waiting_before(ended), ended])
        order = np.lexsort((every.agent, every.episode, every.environment))
        every = _chosen(every, order)
        begins_N = np.ones(len(every.agent), np.bool_)
        begins_N[1:] = (np.diff(every.environment) != 0) | (np.diff(every.episode) != 0)
        game_N = np.cumsum(begins_N) - 1
        is_first_N = begins_N.copy()  # of its agent, which may have come and gone several times
        is_first_N[1:] |= np.diff(every.agent) != 0
        is_over_K = np.bincount(game_N[is_first_N]) == self._num_agents
        # Of a copy only the newest game can go on.
        newest_K = np.append(np.diff(every.environment[begins_N]) != 0, np.ones(1, np.bool_))
        self._waiting = _chosen(every, (newest_K & ~is_over_K)[game_N])
        return self._scored(every, game_N, is_first_N, is_over_K)

    def _waiting_before(self, ended: AgentEpisodes) -> AgentEpisodes:
        """Leave out what waits in copies that have gone back to an episode before it.

        A runner that is made anew counts the episodes of its copies from 0 again, and games of the one
        before it never end.
        """
        waiting = self._waiting
        first_E = np.full(1 + max(waiting.environment.max(initial=0), ended.environment.max()), _NEVER)
        np.minimum.at(first_E, ended.environment, ended.episode)
        return _chosen(waiting, waiting.episode <= first_E[waiting.environment])

    def _scored(
        self,
        every: AgentEpisodes,
        game_N: NDArray[np.intp],
        is_first_N: NDArray[np.bool_],
        is_over_K: NDArray[np.bool_],
    ) -> Games:
        returns = np.zeros((len(is_over_K), 2))
        np.add.at(returns, (game_N, self._side_of[every.agent]), every.returns)
        policies = np.zeros((len(is_over_K), 2), np.int32)
        for side, slot in enumerate(self._first_slots):
            played = is_first_N & (every.agent == slot)
            policies[game_N[played], side] = every.policy[played]
        counts_K = is_over_K & np.isfinite(returns).all(1)
        difference = returns[counts_K, 0] - returns[counts_K, 1]
        return Games(policies=policies[counts_K], scores=(np.sign(difference) + 1) / 2)


def _joined(episodes: Sequence[AgentEpisodes]) -> AgentEpisodes:
    names = [each.name for each in fields(AgentEpisodes)]
    return AgentEpisodes(**{name: np.concatenate([getattr(one, name) for one in episodes]) for name in names})


def _chosen(episodes: AgentEpisodes, which: NDArray[Any]) -> AgentEpisodes:
    return AgentEpisodes(**{each.name: getattr(episodes, each.name)[which] for each in fields(AgentEpisodes)})


def _nothing() -> AgentEpisodes:
    return AgentEpisodes(
        policy=np.zeros(0, np.int32),
        agent=np.zeros(0, np.int32),
        returns=np.zeros(0, np.float32),
        lengths=np.zeros(0, np.int64),
        environment=np.zeros(0, np.int32),
        episode=np.zeros(0, np.int64),
    )
