"""Where several policies learn, and what is said of learners that have none."""

import logging
import re

import pytest

from outrider.algorithm import PPOConfig
from outrider.algorithm.multi_agent_assembly import plan_policies
from outrider.algorithm.policy_learners import learner_here, plan_of, warn_of_idle_learners


def test_a_plan_has_all_policies_and_those_that_do_not_train() -> None:
    config = PPOConfig().environment("CartPole-v1").rl_module(fcnet_hiddens=(8,))
    config.multi_agent(policies="per_agent", num_agents=3, policies_to_train=["0", "2"])
    blueprint = plan_policies("ppo", config.settings, 1, None, 8)
    plan = plan_of(blueprint)
    assert [sorted(stack.seeds) for stack in plan.stacks] == [[0, 1, 2]]
    assert plan.frozen == {1}
    assert learner_here(blueprint).frozen == {1}


@pytest.mark.parametrize(
    ("num_learners", "num_policies", "sentence"),
    [
        (2, 1, "num_learners=2, and there is one policy, .*: 1 of them has nothing to do"),
        (5, 3, "num_learners=5, and there are 3 policies, .*: 2 of them have nothing to do"),
    ],
)
def test_learners_without_a_policy_are_told_of(
    num_learners: int, num_policies: int, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_idle_learners(num_policies, num_policies)
    assert not caplog.records
    caplog.set_level(logging.WARNING)
    warn_of_idle_learners(num_learners, num_policies)
    (record,) = caplog.records
    assert re.match(sentence, record.getMessage())
