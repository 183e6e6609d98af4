"""Several policies at a service of ranks, on Ray or under torchrun: the same numbers, and one is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learner_process import Service, running, running_two_ranks
from outrider.algorithm import Algorithm, APPOConfig, PPOConfig

DEADLINE_S = 120.0


def ranks(service: Service, title: bytes, generation: int) -> list[int]:
    """Return descendants of a service of that generation whose title is like this."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            process = ancestor = int(folder.name)
            for _ in range(generation):
                ancestor = parent(ancestor)
            if ancestor == service.process.pid and title in (folder / "cmdline").read_bytes():
                found.append(process)
    return sorted(found)


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(scope="module")
def torchrun() -> Iterator[Service]:
    with running_two_ranks() as made:
        yield made


def small(config: Any, address: str | None) -> Any:
    """Return a configuration of three agents that have a policy each."""
    config.environment("CartPole-v1").multi_agent(num_agents=3, policies="per_agent").debugging(seed=5)
    if address is not None:
        config.learners(learner_address=address, num_cpus_per_learner=0, num_updates_between_snapshots=5)
    config.rl_module(fcnet_hiddens=(8,)).env_runners(num_envs_per_env_runner=2)
    return config.training(train_batch_size_per_learner=64)


def train_until(algorithm: Algorithm, num_updates: int, num_restarts: int) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        result = algorithm.train()
        if result["num_updates"] >= num_updates and result["num_learner_restarts"] >= num_restarts:
            return result
    raise AssertionError(f"not reached within {DEADLINE_S} s: {result}")


def test_a_run_goes_on_where_a_rank_on_ray_is_killed() -> None:
    with running("--num-learners", "2") as made:
        config = small(APPOConfig(), made.address).training(min_time_s_per_iteration=0)
        config.env_runners(num_env_runners=1, env_runner_backend="process")
        with config.build() as algorithm:
            before = train_until(algorithm, 5, 0)
            os.kill(ranks(made, b"ray::RankActor", 2)[-1], signal.SIGKILL)
            after = train_until(algorithm, before["num_updates"] + 10, 1)
            assert (after["num_learner_restarts"], after["num_policies"]) == (1, 3)
            deadline = time.monotonic() + DEADLINE_S
            while len(ranks(made, b"ray::RankActor", 2)) != 2:  # of those before, one was told to end
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert made.stop() == 0


def test_two_ranks_under_torchrun_learn_what_one_learner_does(torchrun: Service) -> None:
    reached = []
    for address in (None, torchrun.address):
        with small(PPOConfig(), address).build() as algorithm:
            algorithm.train()
            algorithm.add_policy("copy", like="1")
            algorithm.set_matchups([(1.0, {"0": "0", "1": "copy", "2": "2"})])
            algorithm.remove_policy("1")
            algorithm.train()
            reached.append(
                {
                    f"{name}/{key}": tensor.numpy().copy()
                    for name, policy in algorithm.policies.items()
                    for key, tensor in policy.state_dict().items()
                }
            )
    here, there = reached
    assert here.keys() == there.keys()
    for name, tensor in here.items():
        np.testing.assert_allclose(there[name], tensor, atol=1e-5, err_msg=name)


def test_a_run_goes_on_where_a_rank_under_torchrun_is_killed(torchrun: Service) -> None:
    config = small(APPOConfig(), torchrun.address).training(min_time_s_per_iteration=0)
    config.env_runners(num_env_runners=1, env_runner_backend="process")
    with config.build() as algorithm:
        before = train_until(algorithm, 5, 0)
        os.kill(ranks(torchrun, b"learner_command", 1)[-1], signal.SIGKILL)
        after = train_until(algorithm, before["num_updates"] + 10, 1)
    assert (after["num_learner_restarts"], after["num_policies"]) == (1, 3)
