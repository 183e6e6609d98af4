"""Agents with different spaces, one of which dies in the middle of an episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest

from outrider.algorithm import Algorithm, PolicySpec, PPOConfig


class Hunt:
    """A hunter that moves and a hare that sits or runs, four steps long; the hare dies in the third."""

    possible_agents = ("hunter", "hare")
    observation_spaces: ClassVar = {
        "hunter": gym.spaces.Box(-1, 1, (3,)),
        "hare": gym.spaces.Box(-1, 1, (2,)),
    }
    action_spaces: ClassVar = {"hunter": gym.spaces.Box(-1, 1, (1,)), "hare": gym.spaces.Discrete(2)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.age = 0
        return self._seen(), {}

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        assert ("hare" in actions) == (self.age < 3)
        self.age += 1
        dead = {"hare": True} if self.age == 3 else {}
        return (
            self._seen(),
            dict.fromkeys(actions, 1.0),
            {**dead, "__all__": False},
            {"__all__": self.age == 4},
            {},
        )

    def close(self) -> None: ...

    def _seen(self) -> dict[str, Any]:
        hunter = {"hunter": np.full(3, self.age / 4, np.float32)}
        return hunter if self.age > 3 else hunter | {"hare": np.full(2, self.age / 4, np.float32)}


def config(**multi_agent: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment(Hunt)
        .env_runners(num_envs_per_env_runner=2)
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=16, num_epochs=1)
        .debugging(seed=1)
        .multi_agent(**{"policies": "per_agent"} | multi_agent)
    )


class StrangelySeenHunt(Hunt):
    state_space = gym.spaces.Dict({"age": gym.spaces.Discrete(5)})


def test_a_global_state_that_is_no_box_is_refused_by_central_critics_alone() -> None:
    strange = config(critic="central").environment(StrangelySeenHunt)
    with pytest.raises(ValueError, match=r"environment StrangelySeenHunt has state_space Dict.* sees a Box"):
        strange.build()
    with strange.multi_agent(critic="own").build() as algorithm:
        assert algorithm.train()["num_env_steps"] == 16


@pytest.mark.parametrize("critic", ["own", "central"])
def test_each_gets_a_policy_of_its_spaces_and_its_own_rows(critic: str, tmp_path: Path) -> None:
    with config(critic=critic).build() as algorithm:
        result = algorithm.train()
        assert result["num_env_steps"] == 16
        assert result["num_agent_steps"] == 2 * (8 + 6)
        assert result["episode_return_mean"] == 7.0
        assert result["policies/hare/episode_return_mean"] == 3.0
        assert result["policies/hunter/episode_length_mean"] == 4.0
        path = algorithm.save(tmp_path / "checkpoint")
        evaluated = algorithm.evaluate(2)
        assert evaluated["episode_return_mean"] == 7.0
    with Algorithm.from_checkpoint(path, to_train=False) as resting:
        assert resting.evaluate(2) == evaluated


def test_one_policy_for_both_is_refused() -> None:
    with pytest.raises(
        ValueError, match="policy 'shared' acts for agents 'hunter' and 'hare', whose observation"
    ):
        config(policies="shared").build()


def test_a_policy_that_nobody_knows_the_spaces_of_is_refused() -> None:
    def by_name(agent: str, _: Any) -> str:
        return agent

    with pytest.raises(ValueError, match="policy 'fox' acted for no agent in 100 imagined episodes"):
        config(policies=["hunter", "hare", "fox"], policy_mapping_fn=by_name).build()


def test_a_policy_that_hardly_ever_plays_has_the_spaces_of_the_agent_that_its_spec_names() -> None:
    def by_name(agent: str, _: Any) -> str:
        return agent

    def sly(agent: str, _: Any) -> str:
        return "fox" if agent == "hare" else agent

    policies = {"hunter": None, "hare": None, "fox": PolicySpec(agent="hare")}
    with config(policies=policies, policy_mapping_fn=by_name).build() as algorithm:
        algorithm.set_policy_mapping_fn(sly)
        assert algorithm.train()["num_policies"] == 3
        with pytest.raises(
            ValueError, match="agent 'hunter' is played by policy 'fox', but the agent observes"
        ):
            algorithm.set_policy_mapping_fn(lambda *_: "fox")


def test_a_matchup_that_gives_an_agent_a_policy_of_other_spaces_is_refused() -> None:
    swapped = {"hunter": "hare", "hare": "hunter"}
    sentence = "agent 'hunter' is played by policy 'hare', but the agent observes"
    with config().build() as algorithm:
        with pytest.raises(ValueError, match=sentence):
            algorithm.set_matchups([(1e9, {"hunter": "hunter", "hare": "hare"}), (1e-9, swapped)])
        with pytest.raises(ValueError, match=sentence):
            algorithm.set_policy_mapping_fn(lambda agent, _: swapped[agent])
        assert algorithm.train()["episode_return_mean"] == 7.0
