"""Which episodes of agents make a game, and who won it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from outrider.algorithm.league.league_games import Games, GamesInProgress
from outrider.wire import AgentEpisodes

MAIN, OLD = 4, 7


def episodes(*played: tuple[int, int, int, int, float]) -> AgentEpisodes:
    """Return episodes of (environment, episode, agent, policy, return)."""
    columns: Any = zip(*played, strict=True) if played else ([],) * 5
    environment, episode, agent, policy, returns = columns
    return AgentEpisodes(
        policy=np.array(policy, np.int32),
        agent=np.array(agent, np.int32),
        returns=np.array(returns, np.float32),
        lengths=np.ones(len(returns), np.int64),
        environment=np.array(environment, np.int32),
        episode=np.array(episode, np.int64),
    )


def told(games: Games) -> list[tuple[list[int], float]]:
    return list(zip(games.policies.tolist(), games.scores.tolist(), strict=True))


@pytest.fixture
def duel() -> GamesInProgress:
    return GamesInProgress([[0], [1]])


def test_the_higher_return_wins(duel: GamesInProgress) -> None:
    won = episodes((0, 0, 0, MAIN, 1.0), (0, 0, 1, OLD, -1.0))
    lost = episodes((0, 1, 0, OLD, 2.0), (0, 1, 1, MAIN, 3.0))
    drawn = episodes((1, 0, 1, OLD, 5.0), (1, 0, 0, MAIN, 5.0))
    assert told(duel.add([won, lost, drawn])) == [
        ([MAIN, OLD], 1.0),
        ([OLD, MAIN], 0.0),
        ([MAIN, OLD], 0.5),
    ]


def test_the_end_of_a_game_may_come_with_a_later_fragment(duel: GamesInProgress) -> None:
    assert told(duel.add([episodes((0, 3, 0, MAIN, 0.0), (1, 3, 0, OLD, 4.0))])) == []
    assert told(duel.add([episodes((0, 3, 1, OLD, -2.0))])) == [([MAIN, OLD], 1.0)]
    assert told(duel.add([episodes((1, 3, 1, MAIN, 5.0))])) == [([OLD, MAIN], 0.0)]


def test_games_of_two_environments_or_episodes_are_not_mixed(duel: GamesInProgress) -> None:
    first = episodes((0, 0, 0, MAIN, 1.0), (1, 0, 1, OLD, 0.0), (0, 1, 1, OLD, 0.0))
    assert told(duel.add([first])) == []


def test_a_game_in_which_somebody_never_acted_is_forgotten(duel: GamesInProgress) -> None:
    duel.add([episodes((0, 0, 0, MAIN, 1.0))])
    duel.add([episodes((0, 1, 0, MAIN, 1.0), (0, 1, 1, OLD, 0.0))])
    assert told(duel.add([episodes((0, 0, 1, OLD, 0.0))])) == []


def test_a_game_of_a_runner_that_was_lost_does_not_wait_in_the_place_of_those_of_the_next(
    duel: GamesInProgress,
) -> None:
    duel.add([episodes((0, 7, 0, MAIN, 1.0), (1, 0, 0, MAIN, 1.0))])
    assert told(duel.add([episodes((0, 0, 0, MAIN, 1.0))])) == []
    assert told(duel.add([episodes((0, 0, 1, OLD, 0.0), (1, 0, 1, OLD, 2.0))])) == [
        ([MAIN, OLD], 1.0),
        ([MAIN, OLD], 0.0),
    ]


def test_episodes_of_one_number_in_two_fragments_are_games_of_two_runners(duel: GamesInProgress) -> None:
    lost = episodes((0, 0, 0, MAIN, 5.0), (0, 0, 1, OLD, 0.0))
    made_anew = episodes((0, 0, 0, MAIN, 1.0), (0, 0, 1, OLD, 2.0))
    assert told(duel.add([lost, made_anew])) == [([MAIN, OLD], 1.0), ([MAIN, OLD], 0.0)]


def test_a_side_may_have_several_agents() -> None:
    teams = GamesInProgress([[0, 2], [1]])
    ended = episodes((0, 0, 0, MAIN, 1.0), (0, 0, 1, OLD, 2.5), (0, 0, 2, MAIN, 2.0))
    assert told(teams.add([ended])) == [([MAIN, OLD], 1.0)]


def test_an_agent_that_came_twice_is_one_agent(duel: GamesInProgress) -> None:
    assert told(duel.add([episodes((0, 0, 0, MAIN, 1.0), (0, 0, 0, MAIN, 1.0))])) == []
    assert told(duel.add([episodes((0, 0, 1, OLD, 1.5))])) == [([MAIN, OLD], 1.0)]


def test_a_return_that_is_not_finite_decides_nothing(duel: GamesInProgress) -> None:
    assert told(duel.add([episodes((0, 0, 0, MAIN, np.nan), (0, 0, 1, OLD, 0.0))])) == []


def test_nothing_comes_of_nothing(duel: GamesInProgress) -> None:
    assert told(duel.add([])) == []
    assert told(duel.add([episodes()])) == []


def test_what_waits_is_in_the_state(duel: GamesInProgress) -> None:
    duel.add([episodes((0, 3, 0, MAIN, 1.0))])
    resumed = GamesInProgress([[0], [1]])
    resumed.set_state(duel.get_state())
    assert told(resumed.add([episodes((0, 3, 1, OLD, 0.0))])) == [([MAIN, OLD], 1.0)]


def test_random_games_are_counted_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    expected, listed = [], []
    for environment in range(5):
        for episode in range(20):
            players, returns = rng.integers(0, 3, 2), rng.integers(-1, 2, 2)
            expected.append((players.tolist(), (float(np.sign(returns[0] - returns[1])) + 1) / 2))
            listed += [
                (environment, episode, side, players[side], returns[side]) for side in rng.permutation(2)
            ]
    listed.sort(key=lambda each: (each[1], rng.random() if each[1] % 2 else 0.0))
    games, found = GamesInProgress([[0], [1]]), []
    for start in range(0, len(listed), 7):
        found += told(games.add([episodes(*listed[start : start + 7])]))
    assert sorted(found) == sorted(expected)
