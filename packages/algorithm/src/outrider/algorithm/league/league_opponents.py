"""Which snapshots of a league a policy plays how often. Axes: O opponents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

OpponentRule = Literal["uniform", "hard", "even"]
_WEIGHT: Mapping[OpponentRule, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "uniform": np.ones_like,
    "hard": lambda win_O: (1 - win_O) ** 2,
    "even": lambda win_O: win_O * (1 - win_O),
}
"""Of the probability to win against each opponent. The last two are prioritised fictitious self-play, f_hard
and f_var of Vinyals et al. 2019 (AlphaStar)."""
OPPONENT_RULES = tuple(_WEIGHT)

Matchup = tuple[float, dict[str, str]]


def opponent_shares(win_probabilities: NDArray[np.float64], rule: OpponentRule) -> NDArray[np.float64]:
    """Return [O] shares of games, which sum to 1."""
    weights_O = _WEIGHT[rule](win_probabilities)
    shares_O: NDArray[np.float64] = weights_O / weights_O.sum()
    return shares_O


def matchups_of(
    policy: str,
    opponents: Sequence[str],
    shares: Sequence[float],
    sides: Sequence[Sequence[str]],
    *,
    self_play_share: float,
) -> list[Matchup]:
    """Return matchups whose weights sum to 1: a policy against itself, and on both sides of all opponents."""
    against_itself = self_play_share if len(opponents) else 1.0
    matchups = [(against_itself, _acting(sides, policy, policy))]
    for opponent, share in zip(opponents, shares, strict=True):
        weight = (1 - against_itself) * share / 2
        matchups.append((weight, _acting(sides, policy, opponent)))
        matchups.append((weight, _acting(sides, opponent, policy)))
    return [(float(weight), by) for weight, by in matchups if weight > 0]


def _acting(sides: Sequence[Sequence[str]], first: str, second: str) -> dict[str, str]:
    return dict.fromkeys(sides[0], first) | dict.fromkeys(sides[1], second)
