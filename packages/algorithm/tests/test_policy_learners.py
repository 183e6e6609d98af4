"""What several policies learn in."""

from outrider.algorithm import PPOConfig
from outrider.algorithm.multi_agent_assembly import plan_policies
from outrider.algorithm.policy_learners import learner_here, plan_of


def test_a_plan_has_all_policies_and_those_that_do_not_train() -> None:
    config = PPOConfig().environment("CartPole-v1").rl_module(fcnet_hiddens=(8,))
    config.multi_agent(policies="per_agent", num_agents=3, policies_to_train=["0", "2"])
    blueprint = plan_policies("ppo", config.settings, 1, None, 8)
    plan = plan_of(blueprint)
    assert [sorted(stack.seeds) for stack in plan.stacks] == [[0, 1, 2]]
    assert plan.frozen == {1}
    assert learner_here(blueprint).frozen == {1}
