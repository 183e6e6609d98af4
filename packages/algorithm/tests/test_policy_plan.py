from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.algorithm import PPOConfig
from outrider.algorithm.policies.policy_plan import (
    PlannedStack,
    agents_of_policies,
    default_mapping,
    groups_of_policies,
    plan_stacks,
    policy_names,
)
from outrider.algorithm.policies.policy_seed import policy_seed
from outrider.algorithm.settings.multi_agent_settings import MultiAgentSettings, PolicySpec
from outrider.envrunner.agents.multi_agent_vector import AgentGroup
from outrider.envrunner.policies.policy_mapping import Episode

AGENTS = ("red_0", "red_1", "blue_0")
RED = gym.spaces.Box(-1, 1, (3,))
BLUE = gym.spaces.Box(-1, 1, (5,))
GROUPS = (
    AgentGroup(slots=np.array([0, 1]), observation_space=RED, action_space=gym.spaces.Discrete(2)),
    AgentGroup(slots=np.array([2]), observation_space=BLUE, action_space=gym.spaces.Discrete(2)),
)


class Played:
    """A mapping that gives each agent the policy that a function says."""

    def __init__(self, assign: Callable[[int], Sequence[int]]) -> None:
        self.num_asked = 0
        self._assign = assign

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        self.num_asked += 1
        return np.array(self._assign(episode.environment), np.int32)


def groups_of(names: Sequence[str], assign: Callable[[int], Sequence[int]]) -> list[int]:
    played = agents_of_policies(Played(assign), len(AGENTS))
    return groups_of_policies(names, AGENTS, GROUPS, played)


def planned(config: PPOConfig, group_of: Sequence[int], seed: int = 7) -> list[PlannedStack]:
    settings = config.environment("CartPole-v1").settings
    names = policy_names(settings.multi_agent, AGENTS)
    per_policy = ("lr", "gamma")
    return plan_stacks(settings, names, group_of, GROUPS, per_policy=per_policy, critic_space=None, seed=seed)


def test_policies_are_named_by_the_settings_or_after_the_agents() -> None:
    assert policy_names(MultiAgentSettings(policies="shared"), AGENTS) == ("shared",)
    assert policy_names(MultiAgentSettings(policies="per_agent"), AGENTS) == AGENTS
    assert policy_names(MultiAgentSettings(policies={"b": None, "a": None}), AGENTS) == ("b", "a")


def test_only_a_policy_that_there_is_can_be_trained() -> None:
    settings = MultiAgentSettings(policies="per_agent", policies_to_train=["green"])
    with pytest.raises(ValueError, match="there is no policy 'green'; known are red_0, red_1, blue_0"):
        policy_names(settings, AGENTS)


def test_without_a_function_an_agent_gets_the_policy_of_its_name_or_the_only_one() -> None:
    assert default_mapping(("one",), AGENTS) == dict.fromkeys(AGENTS, "one")
    assert default_mapping(AGENTS, AGENTS) == {name: name for name in AGENTS}
    with pytest.raises(ValueError, match="agent 'blue_0' has no policy"):
        default_mapping(("red_0", "red_1"), AGENTS)
    with pytest.raises(ValueError, match="policy 'green' acts for no agent"):
        default_mapping((*AGENTS, "green"), AGENTS)


def test_a_policy_has_the_spaces_of_the_agents_that_it_acts_for() -> None:
    assert groups_of(("red", "blue"), lambda _: [0, 0, 1]) == [0, 1]
    assert groups_of(("a", "b", "blue"), lambda number: [number % 2, 1 - number % 2, 2]) == [0, 0, 1]


def test_a_policy_for_agents_that_see_different_things_is_refused() -> None:
    sentence = "policy 'all' acts for agents 'red_0' and 'blue_0', whose observation spaces differ"
    with pytest.raises(ValueError, match=sentence):
        groups_of(("all",), lambda _: [0, 0, 0])


def test_a_policy_that_acts_for_nobody_is_refused_where_its_spaces_are_unknown() -> None:
    with pytest.raises(ValueError, match="policy 'green' acted for no agent in 100 imagined episodes"):
        groups_of(("red", "blue", "green"), lambda _: [0, 0, 1])


def test_an_agent_that_is_named_says_what_a_policy_observes() -> None:
    nobody_plays_green = agents_of_policies(Played(lambda _: [0, 0, 1]), 3)
    names = ("red", "blue", "green")
    said = groups_of_policies(names, AGENTS, GROUPS, nobody_plays_green, {"green": "blue_0"})
    assert said == [0, 1, 1]
    with pytest.raises(ValueError, match="policy 'red' acts for agents 'red_0' and 'blue_0', whose"):
        groups_of_policies(names, AGENTS, GROUPS, nobody_plays_green, {"red": "blue_0", "green": "blue_0"})
    with pytest.raises(ValueError, match="policy 'green' has agent='bleu_0', and there is no agent 'bleu_0'"):
        groups_of_policies(names, AGENTS, GROUPS, nobody_plays_green, {"green": "bleu_0"})


def test_a_policy_that_acts_for_nobody_is_warned_of_where_all_agents_are_alike() -> None:
    played = np.array([[0, 0], [0, 1]])
    alike = [AgentGroup(slots=np.array([0, 1]), observation_space=RED, action_space=RED)]
    with pytest.warns(UserWarning, match="policy 'green' acted for no agent in 100 imagined episodes"):
        assert groups_of_policies(("red", "green"), AGENTS[:2], alike, played) == [0, 0]


def test_many_that_act_for_nobody_are_told_of_in_one_sentence() -> None:
    agents = [str(index) for index in range(1000)]
    alike = [AgentGroup(slots=np.arange(1000), observation_space=RED, action_space=RED)]
    names = [f"p{index}" for index in range(50)]
    with pytest.warns(UserWarning, match="policy 'p0' and 49 more acted for no agent in 20 imagined") as told:
        groups_of_policies(names, agents, alike, np.empty((0, 2), np.int64))
    assert len(told) == 1


def test_who_acts_for_whom_takes_no_more_room_than_there_are_pairs() -> None:
    pairs = agents_of_policies(Played(lambda _: list(range(5000))), 5000)
    assert pairs.tolist() == [[number, number] for number in range(5000)]


def test_the_mapping_is_asked_a_bounded_number_of_times() -> None:
    mapping = Played(lambda _: [0] * 5000)
    agents_of_policies(mapping, 5000)
    assert mapping.num_asked == 4


def test_policies_of_one_architecture_share_a_stack() -> None:
    wide = PolicySpec(rl_module={"fcnet_hiddens": [128]})
    config = PPOConfig().multi_agent(policies={"a": None, "b": wide, "c": None, "d": None})
    stacks = planned(config, [0, 0, 0, 1])
    assert [stack.policies for stack in stacks] == [("a", "c"), ("b",), ("d",)]
    assert stacks[1].recipe.settings.fcnet_hiddens == (128,)
    assert [stack.group for stack in stacks] == [0, 0, 1]


def test_what_may_differ_within_a_stack_does_and_what_may_not_makes_another() -> None:
    policies = {
        "a": None,
        "slow": PolicySpec(training={"lr": 1e-5}),
        "long": PolicySpec(training={"num_epochs": 3, "gamma": 0.5}),
    }
    one, other = planned(PPOConfig().multi_agent(policies=policies), [0, 0, 0])
    assert one.policies == ("a", "slow")
    assert one.overrides == {"slow": {"lr": 1e-5}}
    assert other.training.num_epochs == 3  # type: ignore[union-attr]
    assert other.overrides == {"long": {"gamma": 0.5}}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (PolicySpec(training={"learning_rate": 1}), "policy 'a' has training setting 'learning_rate'"),
        (PolicySpec(rl_module={"fcnet_hidden": 1}), "did you mean fcnet_hiddens"),
        (
            PolicySpec(training={"gamma": "high"}),
            "policy 'a': training setting gamma: 'high' is not a number",
        ),
        (PolicySpec(training={"gamma": 2.0}), "gamma"),
        (PolicySpec(training={"train_batch_size_per_learner": 9}), "all policies share an update"),
    ],
)
def test_a_setting_that_no_policy_can_have_is_refused(spec: PolicySpec, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        planned(PPOConfig().multi_agent(policies={"a": spec}), [0])


def test_a_setting_out_of_range_is_refused_with_the_policy() -> None:
    config = PPOConfig().multi_agent(policies={"a": None, "b": PolicySpec(training={"lr": -1.0})})
    with pytest.raises(ValueError, match=r"policy 'b': lr is -1\.0; give"):
        planned(config, [0, 0])


def test_policies_start_from_seeds_of_their_own() -> None:
    seeds = [policy_seed(7, number) for number in range(1000)]
    assert len(set(seeds)) == 1000
    assert seeds[3] == policy_seed(7, 3) != policy_seed(8, 3)
