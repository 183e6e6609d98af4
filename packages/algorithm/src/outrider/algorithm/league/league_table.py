"""Who won how often against whom in a league, and how strong each player is.

Elo: a player of rating R is expected to score 1 / (1 + 10 ** ((R' - R) / 400)) against one of rating R';
after each game both move by k times what the score was above or below that (Elo 1978).

Axes: P players.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.algorithm.league.league_games import Games


class LeagueTable:
    """Games between the players of a league; those of a policy against itself do not count."""

    def __init__(self, *, elo_k: float, num_recent_games: int) -> None:
        """Nobody plays yet. Win rates are of about the `num_recent_games` newest games of a pair."""
        self._elo_k, self._num_recent_games = elo_k, num_recent_games
        self.names: list[str] = []
        """[P] in the order in which they came."""
        self.num_games: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        """[P, P] games of each pair, in both places."""
        self.elo: NDArray[np.float64] = np.zeros(0)
        """[P] ratings; the first players began at 0."""
        self._numbers: NDArray[np.int64] = np.zeros(0, np.int64)
        self.recent_games: NDArray[np.float64] = np.zeros((0, 0))
        """[P, P] games of each pair that win rates are of."""
        self._scores: NDArray[np.float64] = np.zeros((0, 0))

    def add(self, name: str, number: int, *, elo: float = 0.0) -> None:
        """Add a player with the number of its policy."""
        self.names.append(name)
        self._numbers = np.append(self._numbers, number)
        self.elo = np.append(self.elo, elo)
        self.num_games = np.pad(self.num_games, (0, 1))
        self.recent_games, self._scores = np.pad(self.recent_games, (0, 1)), np.pad(self._scores, (0, 1))

    def remove(self, name: str) -> None:
        """Strike a player out, and its games."""
        place = self.place(name)
        del self.names[place]
        self._numbers, self.elo = np.delete(self._numbers, place), np.delete(self.elo, place)
        self.num_games = _without(self.num_games, place)
        self.recent_games, self._scores = _without(self.recent_games, place), _without(self._scores, place)

    def place(self, name: str) -> int:
        """Return the row of a player. Raises ValueError."""
        return self.names.index(name)

    def record(self, games: Games) -> int:
        """Count games and return how many counted: those of two different players of this table."""
        before, news = self.recent_games.copy(), np.zeros_like(self.recent_games)
        won = np.zeros_like(self._scores)
        place_of = {number: place for place, number in enumerate(self._numbers.tolist())}
        num_counted = 0
        for (first, second), score in zip(games.policies.tolist(), games.scores.tolist(), strict=True):
            one, other = place_of.get(first), place_of.get(second)
            if one is None or other is None or one == other:
                continue
            num_counted += 1
            news[one, other] += 1
            won[one, other] += score
            won[other, one] += 1 - score
            gain = self._elo_k * (score - expected_score(self.elo[one] - self.elo[other]))
            self.elo[one] += gain
            self.elo[other] -= gain
        news += news.T
        # Old games fade so that old and new ones together are no more than the recent ones.
        kept = np.clip((self._num_recent_games - news) / np.maximum(before, 1), 0, 1)
        self.recent_games, self._scores = before * kept + news, self._scores * kept + won
        self.num_games += news.astype(np.int64)
        return num_counted

    def win_rates(self) -> NDArray[np.float64]:
        """Return [P, P] what the player of a row scored recently against that of a column, a draw a half.

        It is nan where they have not played.
        """
        with np.errstate(invalid="ignore"):
            return np.divide(self._scores, self.recent_games)

    def win_probabilities(self) -> NDArray[np.float64]:
        """Return [P, P] likewise as it is expected next: as if each pair had won and lost one game more."""
        return (self._scores + 1) / (self.recent_games + 2)

    def get_state(self) -> dict[str, Any]:
        """Return everything, for a checkpoint."""
        return {
            "names": list(self.names),
            "numbers": self._numbers.copy(),
            "elo": self.elo.copy(),
            "num_games": self.num_games.copy(),
            "recent_games": self.recent_games.copy(),
            "recent_scores": self._scores.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self.names = list(state["names"])
        self._numbers, self.elo = state["numbers"].copy(), state["elo"].copy()
        self.num_games = state["num_games"].copy()
        self.recent_games, self._scores = state["recent_games"].copy(), state["recent_scores"].copy()


def _without(column_PP: NDArray[Any], place: int) -> NDArray[Any]:
    return np.delete(np.delete(column_PP, place, 0), place, 1)


def expected_score(difference: float) -> float:
    """Return what a player whose rating is higher by `difference` scores on average."""
    return float(1 / (1 + 10 ** (-difference / 400)))
