"""A policy that diverges for good is frozen and said; the run goes on while another one learns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import Algorithm, APPOConfig, IMPALAConfig, PolicySpec, PPOConfig
from outrider.learner import TrainingDivergedError

REASON = r"\d+ gradient steps in a row were skipped; .* became .*: lower lr, set grad_clip, or normalise"
TOO_LARGE = PolicySpec(training={"lr": 1e30})


def config(kind: type[Any] = PPOConfig, **policies: PolicySpec | None) -> Any:
    """Let each of some policies act for one of so many agents."""
    return (
        kind()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=2)
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=64, max_consecutive_skipped_steps=2)
        .debugging(seed=1)
        .multi_agent(
            num_agents=len(policies),
            policies=policies,
            policy_mapping_fn=lambda agent, episode: sorted(policies)[int(agent)],
        )
    )


def network(algorithm: Algorithm, name: str) -> list[Any]:
    state = algorithm.policies[name].state_dict()
    return [tensor.numpy().copy() for key, tensor in state.items() if "network" in key]


def are_equal(one: list[Any], other: list[Any]) -> bool:
    return all(map(np.array_equal, one, other))


def until_one_is_frozen(algorithm: Algorithm) -> dict[str, Any]:
    for _ in range(50):
        result = algorithm.train()
        if result["num_diverged_policies"]:
            break
    assert algorithm.frozen == ("red",)
    return result


@pytest.mark.parametrize("kind", [PPOConfig, IMPALAConfig, APPOConfig])
def test_it_is_frozen_and_plays_on_and_the_others_learn(
    kind: type[Any], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    chosen = config(kind, blue=None, red=TOO_LARGE)
    with chosen.build() as algorithm:
        num_episodes = until_one_is_frozen(algorithm).get("policies/red/num_episodes", 0)
        (said,) = [message for message in caplog.messages if "is frozen" in message]
        assert re.match(
            "policy 'red' is frozen and plays on as it is, and the others learn on: " + REASON, said
        )
        before = {name: network(algorithm, name) for name in ("red", "blue")}
        assert np.isfinite(np.concatenate([each.ravel() for each in before["red"]])).all()
        later = [algorithm.train() for _ in range(2)][-1]
        assert are_equal(network(algorithm, "red"), before["red"])
        assert not are_equal(network(algorithm, "blue"), before["blue"])
        assert later["policies/red/num_episodes"] > num_episodes
        algorithm.save(tmp_path / "checkpoint")
    with Algorithm.from_checkpoint(tmp_path / "checkpoint", config=chosen) as algorithm:
        assert algorithm.frozen == ("red",)
        assert algorithm.train()["num_diverged_policies"] == 1
        algorithm.thaw("red")
        assert algorithm.frozen == ()
        until_one_is_frozen(algorithm)


def train_on(algorithm: Algorithm) -> None:
    for _ in range(50):
        algorithm.train()


@pytest.mark.parametrize("kind", [PPOConfig, IMPALAConfig, APPOConfig])
@pytest.mark.parametrize("policies", [{"red": TOO_LARGE}, {"blue": TOO_LARGE, "red": TOO_LARGE}])
def test_a_run_of_which_no_policy_can_learn_ends(
    kind: type[Any], policies: dict[str, PolicySpec | None]
) -> None:
    sentence = rf"^policy '(blue|red)': {REASON}"
    with (
        config(kind, **policies).build() as algorithm,
        pytest.raises(TrainingDivergedError, match=sentence),
    ):
        train_on(algorithm)


def test_a_run_whose_other_policies_rest_ends() -> None:
    with config(blue=None, red=TOO_LARGE).build() as algorithm:
        algorithm.freeze("blue")
        with pytest.raises(TrainingDivergedError, match=rf"^policy 'red': {REASON}"):
            train_on(algorithm)
