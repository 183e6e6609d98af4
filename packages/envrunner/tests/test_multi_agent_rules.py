"""What the gateway makes of runners of several agents: fragments, weights, and strangers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.introduction import introduction
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.weights_selection import HeldElsewhere
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.duel import duel_plan, duel_weights
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.transport import LocalWeights
from outrider.wire import DictSpace, Fragment, Limits, capabilities, decode_weights
from outrider.wire.session import Join

ENV = gym.make("CartPole-v1")
GRAPH = stacked_mlp_graph(
    space_from_gymnasium(ENV.observation_space), space_from_gymnasium(ENV.action_space), num_hidden=4
)
PLAN = MultiAgentPlan(
    environment=EnvironmentSettings("CartPole-v1"),
    settings=EnvRunnerSettings(num_envs_per_env_runner=2),
    agents=("0", "1"),
    num_agents=2,
    stacks=(StackPlan(name="mlp", policy=GRAPH),),
    policies=(PolicyEntry(name="a", number=0, stack="mlp"), PolicyEntry(name="b", number=1, stack="mlp")),
    mapping=Matchups(((1.0, {"0": "a", "1": "b"}),)),
    num_steps=6,
    seed=3,
)
THREE = Cast(
    stacks={"mlp": "mlp"},
    policies=(*PLAN.policies, PolicyEntry(name="c", number=2, stack="mlp")),
    mapping=Matchups(((1.0, {"0": "a", "1": "c"}),)),
)


def sampled() -> Fragment:
    runner = PLAN.make_runner(1, 0)
    runner.set_weights(stacked_mlp_weights(GRAPH, "mlp", [0, 1], version=4))
    return runner.sample()


FRAGMENT = sampled()


def duelled() -> Fragment:
    plan = duel_plan()
    runner = plan.make_runner(0, 0)
    runner.set_weights(duel_weights(plan, version=0))
    return runner.sample()


DUEL = Invitation(duel_plan(), duel_plan().settings, Limits())
DUELLED = duelled()


def invitation() -> Invitation:
    return Invitation(PLAN, PLAN.settings, Limits())


def with_streams(**changes: Any) -> Fragment:
    return replace(FRAGMENT, streams=replace(FRAGMENT.streams, **changes))


def with_agents(**changes: Any) -> Fragment:
    agents = FRAGMENT.episodes.agents
    return replace(
        FRAGMENT, episodes=replace(FRAGMENT.episodes, agents=agents and replace(agents, **changes))
    )


def test_what_a_runner_samples_is_as_it_should_be() -> None:
    rules = invitation().rules
    rules.check(FRAGMENT, runner=1)
    assert rules.check_versions(FRAGMENT, 4, 4) == 4


BAD: dict[str, tuple[Callable[[], Fragment], str]] = {
    "policy": (
        lambda: with_streams(policy=np.full_like(FRAGMENT.streams.policy, 7)),
        "policy 7, which the run does not have",
    ),
    "agent": (
        lambda: with_streams(agent=np.full_like(FRAGMENT.streams.agent, 2)),
        "agents 2 to 2, and there",
    ),
    "copy": (lambda: with_streams(environment=np.zeros_like(FRAGMENT.streams.environment)), "copies 0 to 0"),
    "rewards": (lambda: replace(FRAGMENT, rewards=FRAGMENT.rewards * np.float32(np.nan)), "rewards are NaN"),
    "column": (lambda: replace(FRAGMENT, observations={}), r"observations are \[\] and should be"),
    "twice": (lambda: replace(FRAGMENT, others=(FRAGMENT,)), "two parts of stack 'mlp'|at most 28"),
    "critic": (
        lambda: replace(FRAGMENT, critic_states={"": np.zeros((1, 2), np.float32)}),
        "has critic states",
    ),
    "none": (
        lambda: replace(FRAGMENT, episodes=replace(FRAGMENT.episodes, agents=None)),
        "no episodes of agents",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), BAD.values(), ids=BAD)
def test_what_it_cannot_have_sampled_is_refused(make: Callable[[], Fragment], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        invitation().rules.check(make(), runner=1)


def test_a_row_may_be_older_than_the_weights_asked_for_and_not_newer() -> None:
    rules = invitation().rules
    assert rules.check_versions(FRAGMENT, 6, 6) == 4
    with pytest.raises(ValueError, match="versions 4 to 4 of the weights acted, and 3 is the newest"):
        rules.check_versions(FRAGMENT, 3, 3)


def test_headers_may_list_as_many_episodes_as_rows_were_asked_for() -> None:
    many = Invitation(replace(PLAN, num_steps=10**6), PLAN.settings, Limits())
    assert many.fragment_limits.max_header_bytes > 100 * Limits().max_header_bytes
    assert many.state_limits.max_header_bytes == many.fragment_limits.max_header_bytes
    assert invitation().fragment_limits.max_rows == 7 * 2 * 2


def test_policies_that_are_added_may_play_and_are_sent() -> None:
    told, weights = invitation(), LocalWeights(stacked_mlp_weights(GRAPH, "mlp", [0, 1, 2], version=5))
    before = decode_weights(
        b"".join(told.weights(weights, frozenset(), None, HeldElsewhere(on_demand=False)))
    )
    told.recast(THREE)
    after = decode_weights(b"".join(told.weights(weights, frozenset(), None, HeldElsewhere(on_demand=False))))
    assert [each.stacks[0].policies.tolist() for each in (before, after)] == [[0, 1], [0, 1, 2]]
    told.rules.check(with_streams(policy=2 * FRAGMENT.streams.agent), runner=1)


IDLE = replace(PLAN, policies=THREE.policies)
"""A run with a policy that plays in no matchup."""


@pytest.mark.parametrize(
    ("policy", "who"), [(np.array([1, 1]), "'0'"), (np.array([0, 0]), "'1'"), (np.array([0, 2]), "'1'")]
)
def test_rows_of_who_plays_in_no_matchup_are_refused(policy: Any, who: str) -> None:
    lie = with_streams(policy=policy[FRAGMENT.streams.agent].astype(np.int32))
    with pytest.raises(ValueError, match=f"its streams let policy . play agent {who}, and no matchup"):
        Invitation(IDLE, PLAN.settings, Limits()).rules.check(lie, runner=1)


def test_so_are_episodes_of_who_does() -> None:
    agents = DUELLED.episodes.agents
    assert agents is not None
    lie = replace(DUELLED, episodes=replace(DUELLED.episodes, agents=replace(agents, agent=1 - agents.agent)))
    with pytest.raises(ValueError, match="its episodes let a policy of stack 'reds' play agent 'blue'"):
        DUEL.rules.check(lie, runner=0)


def test_where_a_function_maps_policies_need_only_fit_their_agents() -> None:
    mapped = Invitation(replace(IDLE, mapping=lambda agent, episode: "a"), PLAN.settings, Limits())
    mapped.rules.check(with_streams(policy=np.zeros_like(FRAGMENT.streams.policy)), runner=1)
    plan = duel_plan(mapping=lambda agent, episode: "main" if agent == "red" else "old")
    swapped = replace(DUELLED, streams=replace(DUELLED.streams, agent=1 - DUELLED.streams.agent))
    rules = Invitation(plan, plan.settings, Limits()).rules
    rules.check(DUELLED, runner=0)
    with pytest.raises(
        ValueError, match="let a policy of stack 'reds' play agent 'blue', which sees or does"
    ):
        rules.check(swapped, runner=0)


def test_who_played_before_may_until_the_episode_ends() -> None:
    told = invitation()
    told.recast(THREE)
    told.rules.check(FRAGMENT, runner=1)  # agent 1 is played by policy 1, and no matchup has that any more


def test_weights_that_a_runner_has_acted_with_are_not_sent_again() -> None:
    stack = stacked_mlp_weights(GRAPH, "mlp", [0, 1], version=9)
    newest = replace(stack, stacks=(replace(stack.stacks[0], versions=np.array([9, 4])),))
    held = HeldElsewhere(on_demand=False)
    sent = decode_weights(b"".join(invitation().weights(LocalWeights(newest), frozenset(), 4, held)))
    assert sent.version == 9
    assert sent.stacks[0].policies.tolist() == [0]


def test_weights_of_other_modules_are_refused() -> None:
    other = stacked_mlp_weights(GRAPH, "mlp", [0, 1], version=9)
    other = replace(other, stacks=(replace(other.stacks[0], fingerprint="other"),))
    with pytest.raises(ValueError, match="weights of stack 'mlp' fit the module other"):
        invitation().check_weights(LocalWeights(other))


def test_strangers_stay_out_where_a_run_does_not_listen() -> None:
    nothing = DictSpace(spaces={})
    hello = introduction("a farm", capabilities())
    join = Join(hello=hello, name="farm 1", observation_space=nothing, action_space=nothing)
    refusal = invitation().welcome(join, is_stranger=True).refusal
    assert refusal is not None
    assert "takes no runners but its own" in refusal.sentence
    assert invitation().welcome(join, is_stranger=False).refusal is None


def test_who_plays_in_a_state_that_a_runner_is_given_may_play_on() -> None:
    rules = Invitation(replace(IDLE, mapping=THREE.mapping), PLAN.settings, Limits()).rules
    state = {"policy": np.array([0, 1, 0, 1])}
    with pytest.raises(ValueError, match="its streams let policy 1 play agent '1', and no matchup"):
        rules.check(FRAGMENT, runner=1)
    with pytest.raises(
        ValueError, match="its episodes under way let policy 1 play agent '1', and no matchup"
    ):
        rules.check_state(state)
    rules.go_on_from(state)
    rules.check_state(state)
    rules.check(FRAGMENT, runner=1)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (np.array([0, 1]), "no 4 whole numbers"),
        ("red", "no 4 whole"),
        (np.array([0, 9, 0, 1]), "policy 9 plays"),
    ],
)
def test_a_state_in_which_nobody_could_play_is_refused(policy: Any, sentence: str) -> None:
    rules = invitation().rules
    rules.check_state({"environment": None})
    with pytest.raises(ValueError, match=sentence):
        rules.check_state({"policy": policy})
