"""Self-play with a league: policies that learn play themselves and frozen snapshots of what they were.

    main  ----learns---->  main  ----learns---->  main  ...
      |                      |                      |
      v                      v                      v
    main@0               main@10                main@20        frozen; play, and stay as they are

It adds and freezes policies and sets matchups, which is all that it does to a run. It draws nothing itself:
the runner draws the matchup of each game by its weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from outrider.algorithm.league.league_games import GamesInProgress
from outrider.algorithm.league.league_opponents import (
    OPPONENT_RULES,
    Matchup,
    OpponentRule,
    matchups_of,
    opponent_shares,
)
from outrider.algorithm.league.league_table import LeagueTable
from outrider.algorithm.policies.policy_returns import NUM_SHOWN
from outrider.envrunner.nearest import did_you_mean, no_such

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from outrider.algorithm.algorithm import Algorithm

NUM_WAITED_GAMES = 20
"""Recent games against each snapshot before the win rate may add one: of players who are equally strong, one
wins 80 % of so many by chance once in 170 times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeagueSettings:
    """Who plays whom, and when snapshots are added and removed."""

    main: Sequence[str] | None = None
    """Names of the policies that learn and of which snapshots are made. None: all that are not frozen."""
    sides: Sequence[Sequence[str]] | None = None
    """The agents on each of the two sides of a game. None: there are two agents, and each is a side."""
    snapshot_interval: int | None = None
    """Iterations between two snapshots of a policy. Range >= 1. None: only the win rate adds them."""
    snapshot_win_rate: float | None = None
    """A snapshot is added when a policy's mean win rate against the snapshots is at least this. Range (0, 1].
    None: only the interval adds them. At least one of both is given."""
    max_snapshots: int = 20
    """Snapshots that are played at most. Range >= 1."""
    removed: Literal["oldest", "weakest"] = "oldest"
    """Which one goes when there are more; the weakest has the lowest Elo."""
    opponents: OpponentRule = "hard"
    """How often which snapshot is played: "uniform", all alike; or, with the probability p to win against it,
    by prioritised fictitious self-play (Vinyals et al. 2019): "hard" by (1 - p)^2, those that are lost to;
    "even" by p (1 - p), equals."""
    self_play_share: float = 0.5
    """Share of the games that a policy plays against itself. Range [0, 1]."""
    elo_k: float = 16.0
    """Most points that one game moves a rating by. Range above 0."""
    num_recent_games: int = 200
    """About as many newest games of a pair make its win rate; older ones fade. Range >= 20."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.snapshot_interval is None and self.snapshot_win_rate is None:
            raise ValueError(
                "neither snapshot_interval nor snapshot_win_rate is given, so that no snapshot would ever be "
                "added; give one, such as snapshot_interval=10"
            )
        if self.snapshot_interval is not None and self.snapshot_interval < 1:
            raise ValueError(f"snapshot_interval={self.snapshot_interval} is out of range; give at least 1")
        if self.snapshot_win_rate is not None and not 0 < self.snapshot_win_rate <= 1:
            raise ValueError(
                f"snapshot_win_rate={self.snapshot_win_rate} is out of range; give above 0 and at most 1"
            )
        if self.max_snapshots < 1:
            raise ValueError(f"max_snapshots={self.max_snapshots} is out of range; give at least 1")
        if self.removed not in ("oldest", "weakest"):
            raise ValueError(f'removed={self.removed!r} is unknown; choose "oldest" or "weakest"')
        if self.opponents not in OPPONENT_RULES:
            near = did_you_mean(str(self.opponents), OPPONENT_RULES)
            raise ValueError(f"opponents={self.opponents!r} is unknown; {near}")
        if not 0 <= self.self_play_share <= 1:
            raise ValueError(f"self_play_share={self.self_play_share} is out of range; give 0 to 1")
        if not 0 < self.elo_k < np.inf:
            raise ValueError(f"elo_k={self.elo_k} is out of range; give a number above 0")
        if self.num_recent_games < NUM_WAITED_GAMES:
            raise ValueError(
                f"num_recent_games={self.num_recent_games} is out of range; give at least {NUM_WAITED_GAMES}"
            )


class League:
    """Lets policies of an algorithm play themselves and their snapshots, on both sides.

    It begins with a snapshot of each. Where the algorithm came from a checkpoint that was saved with a
    league, it goes on as if nothing had been in between.
    """

    def __init__(self, algorithm: Algorithm, settings: LeagueSettings) -> None:
        """Add the first snapshots and set the matchups. Raises ValueError for settings that do not fit."""
        self._algorithm, self._settings = algorithm, settings
        self._main: Sequence[str] = ()
        """Those that learn, or did when the league began."""
        self._sides = _sides(algorithm.agents, settings.sides)
        slots = {agent: slot for slot, agent in enumerate(algorithm.agents)}
        self._in_progress = GamesInProgress([[slots[agent] for agent in side] for side in self._sides])
        self.table = LeagueTable(elo_k=settings.elo_k, num_recent_games=settings.num_recent_games)
        """Ratings, games and win rates of all who play."""
        self._snapshots: list[str] = []
        self._retired: list[str] = []
        """Snapshots that are not drawn any more, but may be in games that go on; removed before the next."""
        self._added_at: dict[str, int] = {}
        self._num_games = 0
        if not algorithm.save_along("league", self):
            self._main = _main(algorithm, settings.main)
            for name in self._main:
                self.table.add(name, algorithm.policy_number(name))
            self.add_snapshots(self._main)

    @property
    def snapshots(self) -> Sequence[str]:
        """Names of the snapshots that are played, the oldest first."""
        return tuple(self._snapshots)

    def update(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Count the games of the newest iteration, add snapshots that are due, and choose opponents anew.

        Returns the result of that iteration with the metrics of the league beside it; see `results`.
        """
        self._num_games += self.table.record(self._in_progress.add(self._algorithm.newest_agent_episodes))
        due = [name for name in self._main if self._is_due(name)]
        frozen = self._algorithm.frozen if due else ()  # a second snapshot of these would be the first again
        if learning := [name for name in due if name not in frozen]:
            self.add_snapshots(learning)
        else:
            self._algorithm.set_matchups(self.matchups())
        return dict(result) | self.results()

    def results(self) -> dict[str, Any]:
        """Return metrics.

        league/num_snapshots        snapshots that are played
        league/num_games            games of two different players so far
        league/NAME/elo             rating, of the 32 newest players and of all that learn
        league/NAME/win_rate        of those that learn, mean over the snapshots of the recent score against
                                    each, a draw a half; absent before a game against one
        """
        result: dict[str, Any] = {
            "league/num_snapshots": len(self._snapshots),
            "league/num_games": self._num_games,
        }
        for name in (*self._main, *self._snapshots[-NUM_SHOWN:]):
            result[f"league/{name}/elo"] = float(self.table.elo[self.table.place(name)])
        for name in self._main:
            rates = self._against(name, self.table.win_rates())
            if (played := rates[np.isfinite(rates)]).size:
                result[f"league/{name}/win_rate"] = float(played.mean())
        return result

    def add_snapshots(self, names: Sequence[str]) -> None:
        """Add a snapshot of each of these policies now, whatever the rules say, unless it has one of now."""
        self._remove_retired()
        algorithm, table = self._algorithm, self.table
        for name in names:
            if self._added_at.get(name) == algorithm.iteration:
                continue
            snapshot = f"{name}@{algorithm.iteration}"
            algorithm.add_policy(snapshot, like=name)
            algorithm.freeze(snapshot)
            table.add(snapshot, algorithm.policy_number(snapshot), elo=float(table.elo[table.place(name)]))
            self._snapshots.append(snapshot)
            self._added_at[name] = algorithm.iteration
            if len(self._snapshots) > self._settings.max_snapshots:
                self._retire()
        algorithm.set_matchups(self.matchups())

    def matchups(self) -> list[Matchup]:
        """Return who plays whom from now on; every policy that learns has an equal share of the games."""
        probabilities = self.table.win_probabilities()
        matchups = []
        for name in self._main:
            shares = opponent_shares(self._against(name, probabilities), self._settings.opponents)
            matchups += matchups_of(
                name,
                self._snapshots,
                shares.tolist(),
                self._sides,
                self_play_share=self._settings.self_play_share,
            )
        return matchups

    def get_state(self) -> dict[str, Any]:
        """Return everything, for a checkpoint."""
        return {
            "main": list(self._main),
            "table": self.table.get_state(),
            "in_progress": self._in_progress.get_state(),
            "snapshots": list(self._snapshots),
            "retired": list(self._retired),
            "added_at": dict(self._added_at),
            "num_games": self._num_games,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._main = _known(self._algorithm, self._settings.main or state["main"])
        self.table.set_state(state["table"])
        self._in_progress.set_state(state["in_progress"])
        self._snapshots, self._retired = list(state["snapshots"]), list(state["retired"])
        self._added_at = dict(state["added_at"])
        self._num_games = state["num_games"]

    def _is_due(self, name: str) -> bool:
        settings, now = self._settings, self._algorithm.iteration
        num_waited = now - self._added_at[name]
        if settings.snapshot_interval is not None and num_waited >= settings.snapshot_interval:
            return True
        if settings.snapshot_win_rate is None or not num_waited:
            return False
        if (self._against(name, self.table.recent_games) < NUM_WAITED_GAMES).any():
            return False
        return bool(self._against(name, self.table.win_rates()).mean() >= settings.snapshot_win_rate)

    def _against(self, name: str, of_pairs: NDArray[Any]) -> NDArray[Any]:
        """Return [O] what stands in the row of a player for each snapshot."""
        table = self.table
        row: NDArray[Any] = of_pairs[table.place(name), [table.place(each) for each in self._snapshots]]
        return row

    def _retire(self) -> None:
        """Draw one snapshot no more, but not the newest."""
        candidates = self._snapshots[:-1] or self._snapshots
        chosen = candidates[0]
        if self._settings.removed == "weakest":
            chosen = min(candidates, key=lambda name: float(self.table.elo[self.table.place(name)]))
        self._snapshots.remove(chosen)
        self._retired.append(chosen)

    def _remove_retired(self) -> None:
        for name in self._retired:
            self.table.remove(name)
            self._algorithm.remove_policy(name)
        self._retired = []


def _main(algorithm: Algorithm, names: Sequence[str] | None) -> tuple[str, ...]:
    frozen = algorithm.frozen
    if names is None:
        # Snapshots are frozen.
        names = [name for name in algorithm.policies if name not in frozen]
    for name in _known(algorithm, names):
        if name in frozen:
            raise ValueError(f"main names {name!r}, which is frozen; thaw it, or leave it out")
    if not names:
        raise ValueError("no policy of the league learns; thaw one, or name it in main")
    return tuple(names)


def _known(algorithm: Algorithm, names: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name not in algorithm.policies:
            raise ValueError(f"main names {name!r}, and {no_such('policy', name, algorithm.policies)}")
    return tuple(names)


def _sides(agents: Sequence[str], sides: Sequence[Sequence[str]] | None) -> tuple[tuple[str, ...], ...]:
    if sides is None:
        if len(agents) != 2:
            raise ValueError(
                f"there are {len(agents)} agents ({', '.join(agents[:8])}), and a game has two sides; say "
                "who is on which by sides=[[...], [...]]"
            )
        return ((agents[0],), (agents[1],))
    found = tuple(tuple(side) for side in sides)
    if len(found) != 2 or not all(found):
        raise ValueError(f"sides={sides!r}: a game has two sides, with at least one agent on each")
    placed = [agent for side in found for agent in side]
    for agent in (*agents, *placed):
        if placed.count(agent) != 1 or agent not in agents:
            raise ValueError(
                f"agent {agent!r} is on {placed.count(agent)} sides and the environment has "
                f"{', '.join(agents[:8])}; put each of these on one side"
            )
    return found
