"""Fragments of several agents hold what a plain loop over each environment sees, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.testing.agent_script import Cell, Script, possible_script
from outrider.testing.multi_agent_conformance import SEEDS, assert_tells_the_story
from outrider.testing.situations import SITUATIONS, Way
from outrider.testing.story_environments import DictionaryStory, SimultaneousStory, TurnStory
from outrider.testing.story_fragments import assert_recorded
from outrider.testing.story_vector import StoryVector

AGENTS = ("red_0", "red_1", "blue_0")
KINDS: dict[Callable[..., Any], Way] = {
    SimultaneousStory: "at once",
    TurnStory: "in turns",
    DictionaryStory: "freely",
    StoryVector: "freely",
}
POSSIBLE = [
    pytest.param(kind, name, id=f"{kind.__name__}, {name}")
    for kind, way in KINDS.items()
    for name, situation in SITUATIONS.items()
    if way in situation.ways
]


def nothing_may_fail(index: int, error: BaseException) -> int:
    raise AssertionError(f"copy {index} failed") from error


def make(
    kind: Callable[..., Any], scripts: Sequence[Script], num_envs: int, *, has_state: bool = True
) -> MultiAgentVector:
    native = kind is StoryVector
    return make_multi_agent_vector(
        EnvironmentSettings(partial(kind, scripts, has_state=has_state)),
        EnvRunnerSettings(gym_env_vectorize_mode="vector_entry_point" if native else "sync"),
        num_envs=num_envs,
        num_agents=None,
        on_failure=nothing_may_fail,
    )


@pytest.mark.parametrize(("kind", "name"), POSSIBLE)
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_what_is_recorded_happened(kind: Callable[..., Any], name: str, num_steps: int) -> None:
    scripts = SITUATIONS[name].scripts
    make_it = partial(make, kind, scripts, 2)
    assert_recorded(make_it, scripts, num_steps=num_steps, num_fragments=14 // num_steps)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_with_different_scripts_do_not_mix(kind: Callable[..., Any]) -> None:
    scripts = [
        script
        for situation in SITUATIONS.values()
        if KINDS[kind] in situation.ways and situation.agents == AGENTS
        for script in situation.scripts
    ]
    assert_recorded(partial(make, kind, scripts, 5), scripts, num_steps=9, num_fragments=4)


def test_without_central_critics_there_are_no_states() -> None:
    scripts = SITUATIONS["agents join and leave"].scripts
    make_it = partial(make, SimultaneousStory, scripts, 2, has_state=False)
    assert_recorded(make_it, scripts, num_steps=3, num_fragments=4)


cells = st.builds(
    Cell, st.booleans(), st.sampled_from([0, 1, -2, 3]), st.sampled_from(["", "", "", "T", "X", "B"])
)


def scripts_of(way: Way) -> st.SearchStrategy[list[Script]]:
    rows = st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6)
    script = st.builds(
        partial(possible_script, agents=AGENTS, way=way), rows, end=st.sampled_from(["", "T", "X"])
    )
    return st.lists(script, min_size=1, max_size=3)


@pytest.mark.parametrize("kind", KINDS)
def test_of_any_story_what_is_recorded_happened(kind: Callable[..., Any]) -> None:
    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(scripts_of(KINDS[kind]), st.integers(1, 9))
    def check(scripts: list[Script], num_steps: int) -> None:
        assert_recorded(partial(make, kind, scripts, 2), scripts, num_steps=num_steps, num_fragments=3)

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_any_story_is_told(kind: Callable[..., Any]) -> None:
    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(scripts_of(KINDS[kind]))
    def check(scripts: list[Script]) -> None:
        vector = make(kind, scripts, len(SEEDS))
        late = kind is TurnStory
        assert_tells_the_story(vector, scripts, SEEDS, num_steps=12, tells_rewards_at_turns=late)

    check()
