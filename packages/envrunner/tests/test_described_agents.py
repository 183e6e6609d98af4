"""The agents of an environment that only farms have are those that its settings describe."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from outrider.envrunner.agents.multi_agent_environment import multi_agent_spaces
from outrider.envrunner.environments.environment import EnvironmentSettings, spaces_of
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.duel import Duel

TWO, THREE = gym.spaces.Discrete(2), gym.spaces.Discrete(3)
BOX = gym.spaces.Box(0, 1, (2, 3))
AGENTS = gym.spaces.Dict([("red", TWO), ("blue", THREE)])


def described(num_agents: int | None = None, **spaces: Any) -> Any:
    return multi_agent_spaces(EnvironmentSettings(None, **spaces), EnvRunnerSettings(), num_agents)


def test_agents_are_as_if_the_environment_had_been_made() -> None:
    made = multi_agent_spaces(
        EnvironmentSettings(Duel, env_config={"state_size": 3}), EnvRunnerSettings(), None
    )
    env = Duel(state_size=3)
    names = list(made[0])
    agents, groups, state = described(
        observation_space=gym.spaces.Dict([(name, env.observation_space(name)) for name in names]),
        action_space=gym.spaces.Dict([(name, env.action_space(name)) for name in names]),
        state_space=env.state_space,
    )
    assert (list(agents), state) == (names, made[2])
    assert [repr(group) for group in groups] == [repr(group) for group in made[1]]


def test_agents_keep_the_order_in_which_they_are_given() -> None:
    agents, groups, state = described(observation_space=AGENTS, action_space=AGENTS)
    assert (agents, state) == (["red", "blue"], None)
    assert [(group.slots.tolist(), group.action_space) for group in groups] == [([0], TWO), ([1], THREE)]


def test_copies_of_one_agent_are_described_by_its_spaces() -> None:
    agents, (group,), state = described(2, observation_space=BOX, action_space=TWO)
    assert (agents, group.slots.tolist(), group.observation_space, state) == (["0", "1"], [0, 1], BOX, None)


def test_a_state_has_one_axis() -> None:
    *_, state = described(observation_space=AGENTS, action_space=AGENTS, state_space=BOX)
    assert state.shape == (6,)


@pytest.mark.parametrize(
    ("spaces", "sentence"),
    [
        ({"action_space": AGENTS}, "env is None and observation_space too; give observation_space"),
        (
            {"observation_space": BOX, "action_space": AGENTS},
            "observation_space is Box.*give a Dict from agent",
        ),
        (
            {"observation_space": AGENTS, "action_space": gym.spaces.Dict(red=TWO)},
            "observation_space names agent 'blue' and action_space does not; name the same agents in both",
        ),
        (
            {"observation_space": gym.spaces.Dict(red=TWO), "action_space": AGENTS},
            "action_space names agent 'blue' and observation_space does not",
        ),
        (
            {"observation_space": AGENTS, "action_space": AGENTS, "state_space": TWO},
            r"state_space is Discrete\(2\); a global state is a Box",
        ),
        (
            {"observation_space": BOX, "action_space": TWO, "state_space": BOX, "num_agents": 2},
            "num_agents=2 independent copies have no global state; leave one of them out",
        ),
    ],
)
def test_mistakes_end_in_one_sentence(spaces: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        described(**spaces)


def test_a_global_state_is_refused_where_there_is_one_agent() -> None:
    settings = EnvironmentSettings(None, observation_space=BOX, action_space=TWO, state_space=BOX)
    with pytest.raises(ValueError, match=r"state_space is given.* and there is one agent; leave it out"):
        spaces_of(settings, "sync")
