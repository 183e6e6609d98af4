"""Policies that remember act in a stack what they would in stacks of one, whoever joins, leaves and dies."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack, export_graph, export_stacked_graph
from outrider.testing.situations import SITUATIONS
from outrider.testing.story_environments import DictionaryStory
from outrider.wire import Fragment, Weights, WeightsStack, all_parts, take_policies

NUM_STEPS, NUM_FRAGMENTS = 3, 6
SETTINGS = EnvRunnerSettings(num_envs_per_env_runner=3, explore=False)
NAMES = ("a", "b", "c")


def made_by(name: str) -> EnvironmentSettings:
    return EnvironmentSettings(partial(DictionaryStory, SITUATIONS[name].scripts, has_state=False))


def stacks_of(name: str, module: ModuleSettings) -> list[PolicyStack]:
    """Return policies 0 and 1 for the first kind of agents, and 2 for the other."""
    vector = make_multi_agent_vector(
        made_by(name), SETTINGS, num_envs=1, num_agents=None, on_failure=lambda *_: 0
    )
    spaces = [(group.observation_space, group.action_space) for group in vector.groups]
    recipes = [
        PolicyRecipe(
            observation_space=space_from_gymnasium(seen),
            action_space=space_from_gymnasium(done),
            settings=module,
            seed=0,
        )
        for seen, done in spaces
    ]
    stacks = [PolicyStack(recipe, seeds) for recipe, seeds in zip(recipes, ([3, 4], [5]), strict=True)]
    for stack in stacks:
        for tensor_name in stack.parameter_names:
            stack.tensors[tensor_name] *= 20  # so that what is remembered decides
    return stacks


def weights_of(stacks: dict[str, tuple[PolicyStack, list[int], list[int]]]) -> Weights:
    """Return the weights of those places of each stack, under these numbers."""
    tensors: dict[str, Any] = {}
    heads = []
    for name, (stack, places, numbers) in stacks.items():
        tensors |= {f"{name}/{key}": tensor[places].numpy() for key, tensor in stack.tensors.items()}
        heads.append(
            WeightsStack(
                name=name,
                fingerprint=stack.fingerprint(),
                policies=np.array(numbers, np.int32),
                versions=np.zeros(len(numbers), np.int64),
            )
        )
    return Weights(version=0, fingerprint=heads[0].fingerprint, tensors=tensors, stacks=tuple(heads))


def sampled(name: str, plans: list[StackPlan], stack_of: dict[str, str], weights: Weights) -> list[Fragment]:
    agents = SITUATIONS[name].agents
    turns = [dict(zip(agents, names, strict=True)) for names in (NAMES, ("b", "a", "c"))]
    plan = MultiAgentPlan(
        environment=made_by(name),
        settings=SETTINGS,
        agents=agents,
        stacks=tuple(plans),
        policies=tuple(
            PolicyEntry(name=policy, number=number, stack=stack_of[policy])
            for number, policy in enumerate(NAMES)
        ),
        mapping=Matchups([(1.0, turn) for turn in turns]),
        num_steps=NUM_STEPS,
        seed=0,
    )
    runner = plan.make_runner(0, 0)
    runner.set_weights(weights)
    fragments = [runner.sample() for _ in range(NUM_FRAGMENTS)]
    runner.close()
    return fragments


def rows_of(fragment: Fragment) -> dict[int, Fragment]:
    """Return the rows of each policy that has any."""
    return {
        int(number): take_policies(replace(part, others=()), [int(number)])
        for part in all_parts(fragment)
        for number in np.unique(part.streams.policy)
    }


@pytest.mark.parametrize(
    "name", ["agents join and leave", "an agent comes back", "some act at once and some in turns"]
)
def test_a_run_of_stacks_is_that_of_stacks_of_one(name: str) -> None:
    module = ModuleSettings(use_lstm=True, fcnet_hiddens=(6,), lstm_cell_size=5)
    reds, blues = stacks_of(name, module)
    places = {"a": (reds, 0), "b": (reds, 1), "c": (blues, 0)}
    together = sampled(
        name,
        [
            StackPlan(name=stack, policy=export_stacked_graph(of.plain))
            for stack, of in (("red", reds), ("blue", blues))
        ],
        {"a": "red", "b": "red", "c": "blue"},
        weights_of({"red": (reds, [0, 1], [0, 1]), "blue": (blues, [0], [2])}),
    )
    alone = sampled(
        name,
        [
            StackPlan(name=policy, policy=export_graph(of.plain), is_stacked=False)
            for policy, (of, _) in places.items()
        ],
        {policy: policy for policy in NAMES},
        weights_of({p: (of, [place], [NAMES.index(p)]) for p, (of, place) in places.items()}),
    )
    has_remembered = False
    for ours, theirs in zip(map(rows_of, together), map(rows_of, alone), strict=True):
        assert ours.keys() == theirs.keys()
        for mine, other in ((ours[number], theirs[number]) for number in ours):
            assert (mine.streams.lengths == other.streams.lengths).all()
            assert mine.streams.state.keys() == {"h", "c", "value_h", "value_c"}
            for part, column in mine.streams.state.items():
                np.testing.assert_allclose(column, other.streams.state[part], atol=1e-5)
                has_remembered |= bool(np.abs(column).max(initial=0) > 0.01)
            for path, column in mine.observations.items():
                np.testing.assert_array_equal(column, other.observations[path])
            np.testing.assert_array_equal(mine.rewards, other.rewards)
            np.testing.assert_allclose(mine.action_log_probs, other.action_log_probs, atol=1e-5)
    assert has_remembered
