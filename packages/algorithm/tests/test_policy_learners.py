"""What several policies learn in."""

from pathlib import Path
from typing import Any

import pytest

from outrider.algorithm import Algorithm, PPOConfig
from outrider.algorithm.assembly.multi_agent_blueprint import plan_policies
from outrider.algorithm.assembly.policy_learners import learner_here, make_policy_learners, plan_of


def test_a_plan_has_all_policies_and_those_that_do_not_train() -> None:
    config = PPOConfig().environment("CartPole-v1").rl_module(fcnet_hiddens=(8,))
    config.multi_agent(policies="per_agent", num_agents=3, policies_to_train=["0", "2"])
    blueprint = plan_policies(config.settings, 1, None, 8)
    plan = plan_of(blueprint)
    assert [sorted(stack.seeds) for stack in plan.stacks] == [[0, 1, 2]]
    assert plan.frozen == {1}
    assert learner_here(blueprint).frozen == {1}


def test_a_run_that_goes_on_knows_before_its_learners_are_made_who_was_frozen_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []

    def make(blueprint: Any, *arguments: Any, **keywords: Any) -> Any:
        plans.append(plan_of(blueprint))
        return make_policy_learners(blueprint, *arguments, **keywords)

    monkeypatch.setattr("outrider.algorithm.assembly.multi_agent_assembly.make_policy_learners", make)
    config = PPOConfig().environment("CartPole-v1").rl_module(fcnet_hiddens=(8,))
    config.multi_agent(policies="per_agent", num_agents=3, policies_to_train=["0", "1"])
    with config.build() as algorithm:
        algorithm.freeze("1")
        algorithm.thaw("2")
        algorithm.save(tmp_path / "checkpoint")
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as algorithm:
        assert algorithm.frozen == ("1",)
    assert [plan.frozen for plan in plans] == [{2}, {1}]
    assert [plan.would_idle(2) for plan in plans] == [False, True]
