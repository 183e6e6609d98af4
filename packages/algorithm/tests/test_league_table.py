"""Ratings and win rates of the players of a league, and whom they play."""

from __future__ import annotations

import numpy as np
import pytest

from outrider.algorithm.league.league_games import Games
from outrider.algorithm.league.league_opponents import OpponentRule, matchups_of, opponent_shares
from outrider.algorithm.league.league_table import LeagueTable, expected_score


def games(*played: tuple[int, int, float]) -> Games:
    """Return games of (policy, policy, score of the first)."""
    return Games(
        policies=np.array([each[:2] for each in played], np.int32).reshape(-1, 2),
        scores=np.array([each[2] for each in played], np.float64),
    )


def table(*numbers: int, elo_k: float = 32.0, num_recent_games: int = 100) -> LeagueTable:
    """Return a table of players "p<number>"."""
    made = LeagueTable(elo_k=elo_k, num_recent_games=num_recent_games)
    for number in numbers:
        made.add(f"p{number}", number)
    return made


def test_who_wins_between_equals_gains_half_of_k() -> None:
    players = table(3, 8)
    assert players.record(games((8, 3, 1.0))) == 1
    assert players.elo.tolist() == [-16.0, 16.0]


def test_a_rating_400_points_higher_scores_ten_to_one() -> None:
    assert expected_score(400) == pytest.approx(10 / 11)
    players = table()
    players.add("weak", 0, elo=-400.0)
    players.add("strong", 1)
    players.record(games((0, 1, 1.0)))
    assert players.elo.tolist() == pytest.approx([-400 + 32 * 10 / 11, -32 * 10 / 11])


def test_ratings_find_the_strength_of_players() -> None:
    rng, players = np.random.default_rng(0), table(0, 1, elo_k=4.0)
    players.record(games(*[(0, 1, float(rng.random() < 0.75)) for _ in range(4000)]))
    assert players.elo[0] - players.elo[1] == pytest.approx(400 * np.log10(3), abs=60)
    assert players.elo.sum() == pytest.approx(0)


def test_both_places_of_a_pair_are_counted() -> None:
    players = table(0, 1, 2)
    assert players.record(games((0, 1, 1.0), (1, 0, 0.5), (2, 0, 0.0))) == 3
    assert players.num_games.tolist() == [[0, 2, 1], [2, 0, 0], [1, 0, 0]]
    rates = players.win_rates()
    assert rates[0, 1] == 0.75
    assert rates[1, 0] == 0.25
    assert rates[0, 2] == 1.0
    assert np.isnan(rates[1, 2])


def test_games_against_oneself_and_of_strangers_do_not_count() -> None:
    players = table(0, 1)
    assert players.record(games((0, 0, 1.0), (0, 9, 1.0), (9, 9, 0.0))) == 0
    assert not players.elo.any()
    assert not players.num_games.any()


def test_old_games_fade() -> None:
    players = table(0, 1, num_recent_games=100)
    players.record(games(*[(0, 1, 1.0)] * 100))
    players.record(games(*[(0, 1, 0.0)] * 25))
    assert players.win_rates()[0, 1] == pytest.approx(0.75)
    assert players.num_games[0, 1] == 125
    players.record(games(*[(0, 1, 0.0)] * 300))
    assert players.win_rates()[0, 1] == 0.0


def test_nobody_is_sure_to_win_after_one_game() -> None:
    players = table(0, 1)
    assert players.win_probabilities()[0, 1] == 0.5
    players.record(games((0, 1, 1.0)))
    assert players.win_probabilities()[0, 1] == pytest.approx(2 / 3)


def test_a_player_that_is_removed_takes_its_games_along() -> None:
    players = table(0, 1, 2)
    players.record(games((0, 1, 1.0), (0, 2, 0.0)))
    players.remove("p1")
    assert players.names == ["p0", "p2"]
    assert players.num_games.tolist() == [[0, 1], [1, 0]]
    assert players.record(games((2, 0, 1.0), (1, 0, 1.0))) == 1
    assert players.win_rates()[1, 0] == 1.0


def test_a_table_goes_on_from_its_state() -> None:
    players, resumed = table(0, 1), table()
    players.record(games((0, 1, 1.0)))
    resumed.set_state(players.get_state())
    for each in (players, resumed):
        each.record(games((1, 0, 0.5)))
    assert resumed.elo.tolist() == players.elo.tolist()
    assert np.array_equal(resumed.win_probabilities(), players.win_probabilities())


@pytest.mark.parametrize(
    ("rule", "shares"),
    [
        ("uniform", [1 / 3, 1 / 3, 1 / 3]),
        ("hard", [0.64 / 0.90, 0.25 / 0.90, 0.01 / 0.90]),
        ("even", [0.16 / 0.50, 0.25 / 0.50, 0.09 / 0.50]),
    ],
)
def test_opponents_are_weighed_by_the_chance_to_beat_them(rule: OpponentRule, shares: list[float]) -> None:
    assert opponent_shares(np.array([0.2, 0.5, 0.9]), rule).tolist() == pytest.approx(shares)


SIDES = (("red",), ("blue",))


def test_both_sides_are_played_equally_often() -> None:
    assert matchups_of("main", ["old"], [1.0], SIDES, self_play_share=0.5) == [
        (0.5, {"red": "main", "blue": "main"}),
        (0.25, {"red": "main", "blue": "old"}),
        (0.25, {"red": "old", "blue": "main"}),
    ]


def test_there_is_only_self_play_where_there_is_no_opponent() -> None:
    assert matchups_of("main", [], [], SIDES, self_play_share=0.0) == [(1.0, {"red": "main", "blue": "main"})]


def test_what_is_never_played_is_no_matchup() -> None:
    matchups = matchups_of("main", ["old"], [1.0], SIDES, self_play_share=0.0)
    assert [weight for weight, _ in matchups] == [0.5, 0.5]
    assert len(matchups_of("main", ["old"], [1.0], SIDES, self_play_share=1.0)) == 1


def test_all_agents_of_a_side_are_played_by_one_policy() -> None:
    sides = (("a", "c"), ("b",))
    matchups = matchups_of("main", ["old"], [1.0], sides, self_play_share=0.0)
    assert matchups[0][1] == {"a": "main", "c": "main", "b": "old"}
