"""How the policies of a run with several agents do. Axes: K episodes of agents, P policies by number.

num_policies                        policies that there are now
num_diverged_policies               of these, how many were frozen because they diverged, and not thawed since
policy_return_p10, _p50, _p90       of the policies' mean returns: a tenth of the policies, half of them,
                                    nine tenths are below; nan before an agent's first episode ended
policies/NAME/episode_return_mean   over the last 100 training episodes of agents that this policy acted for,
                                    whose return is finite; nan before the first one ended. This and what
                                    follows is there for the 32 policies of lowest number
policies/NAME/episode_length_mean   likewise, in actions of the agent
policies/NAME/num_episodes          such episodes so far
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from outrider.algorithm.policies.policy_book import PolicyBook
    from outrider.wire import AgentEpisodes

NUM_EPISODES = 100
"""Returns of a policy are averaged over this many episodes, as those of the run are."""
NUM_SHOWN = 32
"""Policies with metrics of their own in a result; a line of a thousand would be 100 kB."""
SPREAD = (10, 50, 90)
"""Percentiles."""


class PolicyReturns:
    """Remembers the last episodes that each policy acted in."""

    def __init__(self) -> None:
        """Nobody has played yet."""
        self._num_episodes_P = np.zeros(0, np.int64)
        self._returns = np.zeros((0, NUM_EPISODES), np.float32)
        self._lengths = np.zeros((0, NUM_EPISODES), np.int64)

    def add(self, episodes: Iterable[AgentEpisodes | None]) -> None:
        """Take in what ended, in this order."""
        for one in episodes:
            if one is not None and len(one.policy):
                self._add(one)

    def results(self, book: PolicyBook) -> dict[str, Any]:
        """Return the metrics of the policies that there are now."""
        of_all = self.metrics(book)
        returns = of_all["episode_return_mean"]
        result: dict[str, Any] = {"num_policies": len(book)}
        result |= spread_of(returns[np.isfinite(returns)])
        for index, policy in zip(range(NUM_SHOWN), book, strict=False):
            result |= {
                f"policies/{policy.name}/{name}": column[index].item() for name, column in of_all.items()
            }
        return result

    def metrics(self, book: PolicyBook) -> dict[str, NDArray[Any]]:
        """Return the metrics of each policy, [P] in the order of the book; nan where nothing ended yet."""
        self._make_room(book.next_number)
        numbers = np.fromiter((policy.number for policy in book), np.intp, len(book))
        num_episodes = self._num_episodes_P[numbers]
        num_kept = np.minimum(num_episodes, NUM_EPISODES)
        is_kept = np.arange(NUM_EPISODES) < num_kept[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            returns = np.where(is_kept, self._returns[numbers], 0).sum(1, dtype=np.float64) / num_kept
            lengths = np.where(is_kept, self._lengths[numbers], 0).sum(1) / num_kept
        return {
            "episode_return_mean": returns,
            "episode_length_mean": lengths,
            "num_episodes": num_episodes,
        }

    def get_state(self) -> dict[str, Any]:
        """Return everything, for a checkpoint."""
        return {
            "num_episodes": self._num_episodes_P.copy(),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._num_episodes_P = state["num_episodes"].copy()
        self._returns, self._lengths = state["returns"].copy(), state["lengths"].copy()

    def _add(self, episodes: AgentEpisodes) -> None:
        finite = np.isfinite(episodes.returns)
        policy_K = episodes.policy[finite]
        if not len(policy_K):
            return
        order = np.argsort(policy_K, kind="stable")
        policy_K = policy_K[order]
        self._make_room(int(policy_K[-1]) + 1)
        rank_K = np.arange(len(policy_K)) - np.searchsorted(policy_K, policy_K)
        place_K = (self._num_episodes_P[policy_K] + rank_K) % NUM_EPISODES
        # Where one policy has more episodes than are kept, places come twice, and the last one stays.
        self._returns[policy_K, place_K] = episodes.returns[finite][order]
        self._lengths[policy_K, place_K] = episodes.lengths[finite][order]
        self._num_episodes_P += np.bincount(policy_K, minlength=len(self._num_episodes_P))

    def _make_room(self, num_policies: int) -> None:
        missing = num_policies - len(self._num_episodes_P)
        if missing > 0:
            self._num_episodes_P = np.pad(self._num_episodes_P, (0, missing))
            self._returns = np.pad(self._returns, ((0, missing), (0, 0)))
            self._lengths = np.pad(self._lengths, ((0, missing), (0, 0)))


def spread_of(returns: NDArray[Any]) -> dict[str, float]:
    """Return the percentiles of the mean returns of those policies that have played; nan where none has."""
    percentiles = np.percentile(returns, SPREAD) if len(returns) else np.full(len(SPREAD), np.nan)
    return {f"policy_return_p{p}": float(x) for p, x in zip(SPREAD, percentiles, strict=True)}
