"""Copies in processes tell the same as copies here and native ones, and so do fragments of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.testing.agent_script import Script
from outrider.testing.fragments import assert_same_fragment
from outrider.testing.multi_agent_conformance import SEEDS, assert_tells_the_story
from outrider.testing.situations import SITUATIONS, Way
from outrider.testing.story_environments import DictionaryStory, SimultaneousStory, TurnStory
from outrider.testing.story_fragments import assert_recorded, sample_story, story_runner
from outrider.testing.story_vector import StoryVector

KINDS: dict[Callable[..., Any], Way] = {
    SimultaneousStory: "at once",
    TurnStory: "in turns",
    DictionaryStory: "freely",
}


def scripts_of(way: Way) -> list[Script]:
    return [
        script
        for situation in SITUATIONS.values()
        if way in situation.ways and situation.agents == ("red_0", "red_1", "blue_0")
        for script in situation.scripts
    ]


def nothing_may_fail(index: int, error: BaseException) -> int:
    raise AssertionError(f"copy {index} failed") from error


def make(kind: Callable[..., Any], scripts: Sequence[Script], mode: str, num_envs: int) -> MultiAgentVector:
    return make_multi_agent_vector(
        EnvironmentSettings(partial(kind, scripts)),
        EnvRunnerSettings(gym_env_vectorize_mode=mode),
        num_envs=num_envs,
        num_agents=None,
        on_failure=nothing_may_fail,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_copies_in_processes_tell_what_happened(kind: Callable[..., Any]) -> None:
    scripts = scripts_of(KINDS[kind])
    with closing(make(kind, scripts, "async", len(SEEDS))) as vector:
        late = kind is TurnStory
        assert_tells_the_story(vector, scripts, SEEDS, num_steps=50, tells_rewards_at_turns=late)


def test_what_is_recorded_of_copies_in_processes_happened() -> None:
    scripts = scripts_of("freely")
    make_it = partial(make, DictionaryStory, scripts, "async", 2)
    assert_recorded(make_it, scripts, num_steps=7, num_fragments=5)


def test_what_is_recorded_does_not_depend_on_where_copies_are() -> None:
    scripts = scripts_of("freely")
    recorded = []
    for kind, mode in (
        (DictionaryStory, "sync"),
        (DictionaryStory, "async"),
        (StoryVector, "vector_entry_point"),
    ):
        with closing(story_runner(make(kind, scripts, mode, 2), num_steps=11, explore=True)) as runner:
            recorded.append(sample_story(runner, num_fragments=4))
    here, *elsewhere = recorded
    for fragments in elsewhere:
        for one, other in zip(here, fragments, strict=True):
            assert_same_fragment(one, other)
