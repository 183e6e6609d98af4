"""Runs with several agents whose runners are processes of this machine: the same numbers, and faults."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compared_runs import assert_same, change_policies, weights_by_policy
from outrider.algorithm import Algorithm, APPOConfig, IMPALAConfig, PolicySpec, PPOConfig

DEADLINE_S = 60.0
TWO_ARCHITECTURES = {"0": None, "1": PolicySpec(rl_module={"use_lstm": True}), "2": None}


def config(num_env_runners: int, **multi_agent: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=num_env_runners,
            num_envs_per_env_runner=2,
            env_runner_backend="process" if num_env_runners else "auto",
        )
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
        .debugging(seed=1)
        .multi_agent(**{"num_agents": 3, "policies": TWO_ARCHITECTURES} | multi_agent)
    )


def test_a_runner_in_a_process_gives_the_weights_of_one_here_also_where_policies_change() -> None:
    with config(0).build() as here, config(1).build() as elsewhere:
        assert_same(change_policies(here), change_policies(elsewhere))


def by_turns(agent: str, episode: Any) -> str:
    return "ab"[(int(agent) + episode.number) % 2]


def test_a_function_of_this_script_maps_agents_there_and_can_be_replaced_by_matchups_only() -> None:
    def of_this_test(agent: str, episode: Any) -> str:
        return by_turns(agent, episode)

    mapped = {"policies": ["a", "b"], "policy_mapping_fn": of_this_test}
    with config(0, **mapped).build() as here, config(1, **mapped).build() as elsewhere:
        for algorithm in (here, elsewhere):
            algorithm.train()
        with pytest.raises(ValueError, match="cannot be given a policy_mapping_fn; use set_matchups"):
            elsewhere.set_policy_mapping_fn(by_turns)
        for algorithm in (here, elsewhere):
            algorithm.train()
        assert_same(weights_by_policy(here), weights_by_policy(elsewhere))


def many(num_env_runners: int) -> PPOConfig:
    """Let three of twelve policies, half of which remember, play in each episode; a runner holds six."""

    def drawn(agent: str, episode: Any) -> str:
        return f"{int(agent) * 4 + episode.rng.integers(4)}"

    remembering = PolicySpec(rl_module={"use_lstm": True, "lstm_cell_size": 8})
    policies = {str(number): remembering if number % 2 else None for number in range(12)}
    made = config(num_env_runners, policies=policies, policy_mapping_fn=drawn)
    return made.env_runners(max_policies_per_env_runner=6) if num_env_runners else made


def test_a_runner_that_fetches_the_policies_that_play_gives_the_weights_of_one_that_has_all() -> None:
    with many(0).build() as here, many(1).build() as elsewhere:
        for algorithm in (here, elsewhere):
            algorithm.freeze("1", "5")
            for _ in range(2):
                algorithm.train()
            algorithm.add_policy("copy", like="9")
            algorithm.train()
            algorithm.set_matchups(
                [(1.0, {"0": str(one), "1": str(one + 1), "2": "copy"}) for one in range(0, 12, 2)]
            )
            for _ in range(3):
                algorithm.train()
        assert_same(weights_by_policy(here), weights_by_policy(elsewhere))


def test_a_bound_below_what_plays_is_refused_before_anything_starts() -> None:
    low = many(1).env_runners(max_policies_per_env_runner=5)
    with pytest.raises(ValueError, match=r"is 5, and 2 environment copies of 3 agents .* raise it to 6"):
        low.build()


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    # This environment's vector tells its state.
    with (
        config(2, policies="per_agent")
        .env_runners(gym_env_vectorize_mode="vector_entry_point")
        .build() as algorithm
    ):
        algorithm.add_policy("copy", like="0")
        algorithm.set_matchups([(1.0, {"0": "0", "1": "1", "2": "copy"})])
        algorithm.train()
        algorithm.save(tmp_path / "checkpoint")
        algorithm.train()
        expected = weights_by_policy(algorithm)
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as resumed:
        resumed.train()
        assert_same(weights_by_policy(resumed), expected)


def runner_processes() -> list[int]:
    """Return the runners that this process has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes()
        except (OSError, IndexError):  # it has ended
            continue
        if parent == os.getpid() and b"runner_process" in command:
            found.append(int(status.parent.name))
    return found


def test_a_killed_runner_is_made_anew_and_told_of_the_policies_there_are() -> None:
    with config(2, policies="per_agent").build() as algorithm:
        algorithm.add_policy("copy", like="0")
        algorithm.set_matchups([(1.0, {"0": "0", "1": "1", "2": "copy"})])
        algorithm.train()
        os.kill(runner_processes()[0], signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        result = algorithm.train()
        while result["num_env_runners"] < 2 or not result["num_runner_restarts"]:
            assert time.monotonic() < deadline, result
            result = algorithm.train()
        before = algorithm.policy_metrics()["num_episodes"].sum()
        algorithm.train()
        played = algorithm.policy_metrics()["num_episodes"]
        assert played.sum() > before
        assert played[2] == 0  # by number: "2" plays no more, also with the runner that was made anew


@pytest.mark.parametrize("algorithm_config", [IMPALAConfig, APPOConfig])
def test_several_policies_learn_beside_runners_that_never_wait(algorithm_config: Any, tmp_path: Path) -> None:
    busy = (
        algorithm_config()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2, env_runner_backend="process")
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=256, min_time_s_per_iteration=0.2)
        .debugging(seed=1)
        .multi_agent(num_agents=3, policies=TWO_ARCHITECTURES)
    )
    with busy.build() as algorithm:
        result = algorithm.train()
        assert result["num_env_steps"] >= 256 * result["num_updates"]  # not rows, of which there are more
        algorithm.add_policy("copy", like="0")
        algorithm.freeze("copy")
        algorithm.set_matchups([(1.0, {"0": "0", "1": "copy", "2": "copy"})])
        kept, name = weights_by_policy(algorithm), "network.value_head.weight"
        learned, has_played, deadline = kept, False, time.monotonic() + DEADLINE_S
        # Episodes under way end as they began, and the first reports may be of updates before the change.
        while not has_played or np.array_equal(learned[f"0/{name}"], kept[f"0/{name}"]):
            assert time.monotonic() < deadline
            algorithm.train()
            learned, has_played = (
                weights_by_policy(algorithm),
                algorithm.policy_metrics()["num_episodes"][3] > 0,
            )
        np.testing.assert_array_equal(learned[f"copy/{name}"], kept[f"copy/{name}"])
        algorithm.save(tmp_path / "checkpoint")
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        assert again.train()["num_env_steps"] > result["num_env_steps"]
