"""A league on top of an algorithm: two agents whose poles fall, and the one that stands longer wins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import Algorithm, League, LeagueSettings, PPOConfig


def config(**multi_agent: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4)
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=256, minibatch_size=128, num_epochs=1)
        .debugging(seed=1)
        .multi_agent(**{"num_agents": 2, "policies": ["main"]} | multi_agent)
    )


def head(algorithm: Algorithm, name: str) -> np.ndarray[Any, Any]:
    return algorithm.policies[name].state_dict()["network.value_head.weight"].numpy().copy()


def played(league: League, algorithm: Algorithm, num_iterations: int) -> dict[str, Any]:
    for _ in range(num_iterations):
        result = league.update(algorithm.train())
    return result


def test_a_league_begins_with_a_snapshot_that_stays_as_it_is() -> None:
    with config().build() as algorithm:
        league = League(algorithm, LeagueSettings(snapshot_interval=100))
        begun = head(algorithm, "main")
        result = played(league, algorithm, 3)
        assert league.snapshots == ("main@0",)
        assert algorithm.frozen == ("main@0",)
        assert np.array_equal(head(algorithm, "main@0"), begun)
        assert not np.array_equal(head(algorithm, "main"), begun)
        assert result["num_agent_steps"] > 0, "what the algorithm measured is still there"


def test_games_are_counted_and_rated() -> None:
    with config().build() as algorithm:
        league = League(algorithm, LeagueSettings(snapshot_interval=100, self_play_share=0.0))
        result = played(league, algorithm, 5)
        assert result["league/num_snapshots"] == 1
        assert result["league/num_games"] == league.table.num_games[0, 1] > 5
        assert 0 <= result["league/main/win_rate"] <= 1
        assert result["league/main/elo"] == -result["league/main@0/elo"]
        # Nobody but the main policy and its snapshot has played: each game has two episodes of agents.
        num_episodes = [result[f"policies/{name}/num_episodes"] for name in ("main", "main@0")]
        assert abs(num_episodes[0] - num_episodes[1]) <= 4


def test_the_main_policy_plays_on_both_sides() -> None:
    with config().build() as algorithm:
        league = League(algorithm, LeagueSettings(snapshot_interval=100, self_play_share=0.0))
        sides = set()
        for _ in range(3):
            played(league, algorithm, 1)
            for episodes in algorithm.newest_agent_episodes:
                sides |= set(episodes.agent[episodes.policy == algorithm.policy_number("main")].tolist())
        assert sides == {0, 1}


def test_a_policy_has_one_snapshot_of_an_iteration_however_often_it_is_asked_for() -> None:
    with config().build() as algorithm:
        league = League(algorithm, LeagueSettings(snapshot_interval=1))
        played(league, algorithm, 1)
        league.add_snapshots(["main"])
        assert league.snapshots == ("main@0", "main@1")
        played(league, algorithm, 1)
        assert league.snapshots == ("main@0", "main@1", "main@2")


def test_snapshots_come_by_the_interval_and_the_oldest_goes() -> None:
    with config().build() as algorithm:
        league = League(algorithm, LeagueSettings(snapshot_interval=2, max_snapshots=2))
        played(league, algorithm, 4)
        assert league.snapshots == ("main@2", "main@4")
        # What was in games that went on is removed before the next.
        assert list(algorithm.policies) == ["main", "main@0", "main@2", "main@4"]
        played(league, algorithm, 2)
        assert list(algorithm.policies) == ["main", "main@2", "main@4", "main@6"]
        assert league.table.names == ["main", "main@2", "main@4", "main@6"]


def test_the_weakest_goes_where_that_is_asked_for() -> None:
    with config().build() as algorithm:
        settings = LeagueSettings(snapshot_interval=100, max_snapshots=3, removed="weakest")
        league = League(algorithm, settings)
        played(league, algorithm, 1)
        league.add_snapshots(["main"])
        played(league, algorithm, 1)
        league.add_snapshots(["main"])
        league.table.elo[:] = [0.0, 5.0, -5.0, 0.0]
        played(league, algorithm, 1)
        league.table.elo[:] = [0.0, 5.0, -5.0, 0.0]
        league.add_snapshots(["main"])
        assert league.snapshots == ("main@0", "main@2", "main@3")


def test_a_win_rate_that_passes_the_bar_adds_a_snapshot() -> None:
    with config().build() as algorithm:
        league = League(algorithm, LeagueSettings(snapshot_win_rate=0.01, self_play_share=0.0))
        played(league, algorithm, 1)
        assert league.snapshots == ("main@0",), "too few games"
        for _ in range(20):
            played(league, algorithm, 1)
            if len(league.snapshots) > 1:
                break
        assert len(league.snapshots) == 2
        assert league.table.num_games[0, 1] >= 20
        played(league, algorithm, 1)
        assert len(league.snapshots) == 2, "the newest has to be played before the next"


def test_two_main_policies_share_the_games() -> None:
    with config(policies=["a", "b"], policy_mapping_fn=_by_name).build() as algorithm:
        league = League(algorithm, LeagueSettings(snapshot_interval=2))
        played(league, algorithm, 2)
        assert league.snapshots == ("a@0", "b@0", "a@2", "b@2")
        matchups = league.matchups()
        for name in ("a", "b"):
            assert sum(weight for weight, by in matchups if name in by.values()) == pytest.approx(1)
            assert any(
                name in by.values() and f"{other}@2" in by.values() for other in "ab" for _, by in matchups
            )


def _by_name(agent: str, episode: Any) -> str:
    return {"0": "a", "1": "b"}[agent]


def test_a_resumed_league_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    settings = LeagueSettings(snapshot_interval=2, max_snapshots=2)
    with config().build() as algorithm:
        league = League(algorithm, settings)
        played(league, algorithm, 5)
        path = algorithm.save(tmp_path / "checkpoint")
        expected = played(league, algorithm, 5)
        expected_matchups = league.matchups()
        expected_heads = {name: head(algorithm, name) for name in algorithm.policies}
    with Algorithm.from_checkpoint(path) as algorithm:
        league = League(algorithm, settings)
        result = played(league, algorithm, 5)
        assert {name: result[name] for name in result if "league/" in name} == {
            name: expected[name] for name in expected if "league/" in name
        }
        assert result["episode_return_mean"] == expected["episode_return_mean"]
        assert league.matchups() == expected_matchups
        assert list(algorithm.policies) == list(expected_heads), "who is not played any more is removed"
        for name, weights in expected_heads.items():
            assert np.array_equal(head(algorithm, name), weights), name


@pytest.mark.parametrize("main", [None, ["a", "b"]])
def test_one_that_was_frozen_plays_on_without_snapshots_also_where_the_league_is_resumed(
    main: Sequence[str] | None, tmp_path: Path
) -> None:
    settings = LeagueSettings(snapshot_interval=2, main=main)
    with config(policies=["a", "b"], policy_mapping_fn=_by_name).build() as algorithm:
        league = League(algorithm, settings)
        algorithm.freeze("a")  # as one is that has diverged
        played(league, algorithm, 2)
        assert league.snapshots == ("a@0", "b@0", "b@2")
        matchups = league.matchups()
        algorithm.save(tmp_path / "checkpoint")
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as algorithm:
        league = League(algorithm, settings)
        assert league.matchups() == matchups
        assert "league/a/elo" in league.results()


def test_a_checkpoint_keeps_the_league_where_nobody_asks_for_it(tmp_path: Path) -> None:
    settings = LeagueSettings(snapshot_interval=2)
    with config().build() as algorithm:
        played(League(algorithm, settings), algorithm, 3)
        path = algorithm.save(tmp_path / "first")
    with Algorithm.from_checkpoint(path) as algorithm:
        path = algorithm.save(tmp_path / "second")
    with Algorithm.from_checkpoint(path) as algorithm:
        assert League(algorithm, settings).snapshots == ("main@0", "main@2")
        with pytest.raises(ValueError, match="'league' is saved along already"):
            League(algorithm, settings)


def test_training_without_the_league_of_a_checkpoint_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = LeagueSettings(snapshot_interval=2)
    with config().build() as algorithm:
        played(League(algorithm, settings), algorithm, 1)
        path = algorithm.save(tmp_path / "checkpoint")
    with Algorithm.from_checkpoint(path) as algorithm:
        played(League(algorithm, settings), algorithm, 1)
    assert "the state of 'league'" not in caplog.text
    with Algorithm.from_checkpoint(path) as algorithm:
        algorithm.train()
        algorithm.train()
    assert caplog.text.count("the state of 'league'") == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "neither snapshot_interval nor snapshot_win_rate"),
        ({"snapshot_interval": 0}, "snapshot_interval=0 is out of range"),
        ({"snapshot_win_rate": 1.5}, "snapshot_win_rate=1.5 is out of range"),
        ({"max_snapshots": 0}, "max_snapshots=0"),
        ({"removed": "newest"}, 'choose "oldest" or "weakest"'),
        ({"opponents": "unifrom"}, "did you mean uniform"),
        ({"self_play_share": -0.1}, "self_play_share=-0.1"),
        ({"elo_k": 0.0}, "elo_k=0.0"),
        ({"num_recent_games": 5}, "num_recent_games=5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        LeagueSettings(**({} if not settings else {"snapshot_interval": 1} | settings))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"main": ["mian"]}, "there is no policy 'mian'; did you mean main"),
        ({"main": ["old"]}, "main names 'old', which is frozen"),
        ({"main": []}, "no policy of the league learns"),
        ({"sides": [["0"], ["2"]]}, "agent '1' is on 0 sides and the environment has 0, 1"),
        ({"sides": [["0", "1"]]}, "a game has two sides"),
        ({"sides": [["0"], ["0", "1"]]}, "agent '0' is on 2 sides"),
    ],
)
def test_a_league_that_does_not_fit_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with config().build() as algorithm:
        algorithm.add_policy("old")
        algorithm.freeze("old")
        with pytest.raises(ValueError, match=sentence):
            League(algorithm, LeagueSettings(snapshot_interval=1, **settings))


def test_three_agents_need_sides() -> None:
    with config(num_agents=3).build() as algorithm:
        with pytest.raises(ValueError, match=r"there are 3 agents \(0, 1, 2\), and a game has two sides"):
            League(algorithm, LeagueSettings(snapshot_interval=1))
        league = League(algorithm, LeagueSettings(snapshot_interval=1, sides=[["0", "2"], ["1"]]))
        result = played(league, algorithm, 3)
        assert result["league/num_games"] > 0
