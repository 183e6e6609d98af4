"""Rows of PettingZoo's own environments, where it is installed, are those of a plain loop over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, TypeAlias

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector

NUM_STEPS = 200
SEED = 11
Row: TypeAlias = tuple[list[Any], Any, float, bool, bool]
"""Observation, action, reward until the next turn, terminated, truncated."""
Chooser: TypeAlias = Callable[[str, Any, Any], Any]


def flat(observation: Any) -> list[Any]:
    leaves = (
        [observation[name] for name in sorted(observation)]
        if isinstance(observation, Mapping)
        else [observation]
    )
    return [number for leaf in leaves for number in np.asarray(leaf, np.float64).reshape(-1).tolist()]


def chooser(rng: np.random.Generator) -> Chooser:
    """Draw actions that are allowed, in the order of turns."""

    def choose(agent: str, observation: Any, space: Any) -> Any:
        mask = observation["action_mask"] if isinstance(observation, Mapping) else np.ones(space.n)
        return int(rng.choice(np.flatnonzero(mask)))

    return choose


def naive_turns(env: Any, choose: Chooser) -> dict[str, list[Row]]:
    """Play by `agent_iter` and `last`, as PettingZoo's documentation does."""
    rows: dict[str, list[Row]] = defaultdict(list)
    done, seed = 0, SEED
    while True:
        env.reset(seed=seed)
        seed = None
        acted: dict[str, tuple[Any, Any]] = {}
        for agent in env.agent_iter():
            observation, reward, terminated, truncated, _ = env.last()
            if agent in acted:
                rows[agent].append((*acted.pop(agent), float(np.float32(reward)), terminated, truncated))
            if terminated or truncated:
                env.step(None)
                continue
            if done == NUM_STEPS:
                return rows
            action = choose(agent, observation, env.action_space(agent))
            acted[agent] = flat(observation), action
            env.step(action)
            done += 1


def naive_parallel(env: Any, choose: Chooser) -> dict[str, list[Row]]:
    """Play everybody at once."""
    rows: dict[str, list[Row]] = defaultdict(list)
    observations, _ = env.reset(seed=SEED)
    for _ in range(NUM_STEPS):
        actions = {a: choose(a, observations[a], env.action_space(a)) for a in env.agents}
        after, rewards, terminated, truncated, _ = env.step(actions)
        for agent, action in actions.items():
            ends = bool(terminated[agent]), bool(truncated[agent])
            rows[agent].append((flat(observations[agent]), action, float(np.float32(rewards[agent])), *ends))
        observations = after
        if not env.agents:
            observations, _ = env.reset()
    return rows


def of_vector(vector: MultiAgentVector, choose: Chooser) -> dict[str, list[Row]]:
    """Put the rows of one copy together from what its vector tells."""
    rows: dict[str, list[Row]] = defaultdict(list)
    acted: dict[str, tuple[Any, Any]] = {}
    pending: dict[str, float] = defaultdict(float)
    where = {
        vector.agents[slot]: (index, member)
        for index, group in enumerate(vector.groups)
        for member, slot in enumerate(group.slots)
    }
    step = vector.reset([SEED])
    for _ in range(NUM_STEPS):
        columns = [
            {"": np.zeros((1, len(group.slots), *group.action_space.shape), np.int64)}
            for group in vector.groups
        ]
        for slot in np.flatnonzero(step.acting[0]).tolist():
            agent = vector.agents[slot]
            index, member = where[agent]
            shown = {path.strip("/"): c[0, member] for path, c in step.observations[index].items()}
            observation = shown.get("", shown)
            action = choose(agent, observation, vector.groups[index].action_space)
            acted[agent] = flat(observation), action
            columns[index][""][0, member] = action
        step = vector.step(columns)
        for slot, agent in enumerate(vector.agents):
            pending[agent] += float(step.rewards[0, slot])
            ends = bool(step.terminated[0, slot]), bool(step.truncated[0, slot])
            if agent in acted and (any(ends) or step.acting[0, slot]):
                rows[agent].append((*acted.pop(agent), pending[agent], *ends))
            if agent not in acted:
                pending[agent] = 0.0
    return rows


CASES = {
    "connect four": ("pettingzoo.classic.connect_four_v3", "env"),
    "tic tac toe": ("pettingzoo.classic.tictactoe_v3", "env"),
    "simple spread in turns": ("mpe2.simple_spread_v3", "env"),
    "simple spread at once": ("mpe2.simple_spread_v3", "parallel_env"),
    "simple tag": ("mpe2.simple_tag_v3", "parallel_env"),
}


def nothing_may_fail(index: int, error: BaseException) -> int:
    raise AssertionError(f"copy {index} failed") from error


@pytest.mark.parametrize(("module", "maker"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_rows_are_those_of_a_plain_loop(module: str, maker: str) -> None:
    make = getattr(pytest.importorskip(module, exc_type=ImportError), maker)
    naive = naive_parallel if maker == "parallel_env" else naive_turns
    with closing(make()) as env:
        expected = naive(env, chooser(np.random.default_rng(3)))
    vector = make_multi_agent_vector(
        EnvironmentSettings(make),
        EnvRunnerSettings(),
        num_envs=1,
        num_agents=None,
        on_failure=nothing_may_fail,
    )
    with closing(vector):
        found = of_vector(vector, chooser(np.random.default_rng(3)))
    assert sum(map(len, found.values())) > NUM_STEPS - len(vector.agents)
    assert found == expected
