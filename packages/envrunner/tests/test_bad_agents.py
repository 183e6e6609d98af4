"""Environments and mappings that break a rule are refused in a sentence with agent, policy and cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector, multi_agent_spaces
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.policies.function_mapping import FunctionMapping
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner
from outrider.testing.agent_script import Script, read_script
from outrider.testing.story_environments import DictionaryStory, Five, SimultaneousStory
from outrider.testing.story_policies import STORY_POLICIES, StoryStack, story_weights
from outrider.testing.story_vector import StoryVector

SCRIPTS = (
    read_script(
        """
        red_0  red_1  blue_0  env
        a      a      a
        a      aT     a
        a      .      a       X
        """
    ),
)
FITTING = {"red_0": "red 0", "red_1": "red 2", "blue_0": "blue 1"}


NATIVE = EnvRunnerSettings(gym_env_vectorize_mode="vector_entry_point")


def runner_of(
    kind: Callable[..., Any],
    mapping: Mapping[str, Any] = FITTING,
    settings: EnvRunnerSettings = EnvRunnerSettings(),  # noqa: B008 - frozen
) -> MultiAgentRunner:
    def failed(index: int, error: BaseException) -> int:
        return 5

    def make(on_failure: Any) -> Any:
        return make_multi_agent_vector(
            EnvironmentSettings(partial(kind, SCRIPTS)),
            settings,
            num_envs=1,
            num_agents=None,
            on_failure=on_failure,
        )

    numbers = {policy.name: policy.number for policy in STORY_POLICIES}
    return MultiAgentRunner(
        make,
        [StoryStack("red"), StoryStack("blue")],
        FunctionMapping(lambda agent, _: mapping[agent], ["red_0", "red_1", "blue_0"], numbers),
        STORY_POLICIES,
        num_steps=6,
        seed=1,
        settings=EnvRunnerSettings(max_env_restarts=1),
    )


def refused(runner: MultiAgentRunner) -> str:
    """Return the sentence in which it is refused."""
    runner.set_weights(story_weights(0))
    with closing(runner), pytest.raises(ValueError, match=r"[;:] \w") as caught:
        runner.sample()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


class ForgetsAnEnd(SimultaneousStory):
    def step(self, actions: Mapping[str, Any]) -> Five:
        observations, rewards, terminated, truncated, infos = super().step(actions)
        return observations, rewards, dict.fromkeys(terminated, False), truncated, infos


def test_a_forgotten_end_names_agent_and_policy() -> None:
    sentence = refused(runner_of(ForgetsAnEnd))
    assert "'red_1'" in sentence
    assert "'red 2'" in sentence
    assert "flag it in the step in which it leaves" in sentence


class NativelyForgetsAnEnd(StoryVector):
    def step(self, actions: Sequence[Mapping[str, Any]]) -> MultiAgentStep:
        step = super().step(actions)
        return replace(step, truncated=step.truncated & ~step.over[:, None])


def test_a_native_vector_that_forgets_an_end_is_told_agent_and_policy() -> None:
    sentence = refused(runner_of(NativelyForgetsAnEnd, settings=NATIVE))
    assert "agent 'red_0' took part when the episode of environment copy 0 was over" in sentence
    assert "policy 'red 0' acted for it" in sentence


class ForgetsWhatWasSeenLast(StoryVector):
    def step(self, actions: Sequence[Mapping[str, Any]]) -> MultiAgentStep:
        return replace(super().step(actions), last=self._last([]))


class SaysWhatAnotherSawLast(StoryVector):
    def step(self, actions: Sequence[Mapping[str, Any]]) -> MultiAgentStep:
        step = super().step(actions)
        reds, blues = step.last
        return replace(step, last=[replace(reds, members=1 - reds.members), blues])


class NamesSlotsInLast(StoryVector):
    def step(self, actions: Sequence[Mapping[str, Any]]) -> MultiAgentStep:
        step = super().step(actions)
        pairs = zip(self.groups, step.last, strict=True)
        return replace(step, last=[replace(last, members=group.slots[last.members]) for group, last in pairs])


def test_a_native_vector_that_forgets_what_an_agent_saw_last_is_told_which() -> None:
    sentence = refused(runner_of(ForgetsWhatWasSeenLast, settings=NATIVE))
    assert (
        "last of group 0 names 0 agents and 1 of them are truncated, 'red_0' of copy 0 first; say" in sentence
    )


def test_a_native_vector_that_says_what_another_saw_last_is_told_agent_and_policy() -> None:
    sentence = refused(runner_of(SaysWhatAnotherSawLast, settings=NATIVE))
    assert "agent 'red_0' was truncated in environment copy 0" in sentence
    assert "policy 'red 0' acted for it" in sentence


def test_a_native_vector_that_names_slots_for_places_in_a_group_is_told_which() -> None:
    sentence = refused(runner_of(NamesSlotsInLast, settings=NATIVE))
    assert sentence == (
        "environment NamesSlotsInLast, in step 3: members (places in the group, and not slots) in last of "
        "group 1 name 2; name those from 0 to 0"
    )


class RewardsAStranger(DictionaryStory):
    def step(self, actions: Mapping[str, Any]) -> Five:
        observations, rewards, terminated, truncated, infos = super().step(actions)
        return observations, {**rewards, "green_7": 1.0}, terminated, truncated, infos


def test_a_reward_for_somebody_unknown_names_it() -> None:
    sentence = refused(runner_of(RewardsAStranger))
    assert "'green_7'" in sentence
    assert "possible_agents" in sentence


class ShowsTooMuch(DictionaryStory):
    def step(self, actions: Mapping[str, Any]) -> Five:
        observations, *rest = super().step(actions)
        wide = {**observations, "red_0": np.zeros(9, np.float32)}
        return (wide, *rest)


def test_an_observation_of_another_shape_is_refused_before_anything_starts() -> None:
    environment = EnvironmentSettings(partial(ShowsTooMuch, SCRIPTS))
    with pytest.raises(ValueError, match=r"agent 'red_0' is shown an array of shape \(9,\)") as caught:
        multi_agent_spaces(environment, EnvRunnerSettings(), None)
    assert "\n" not in str(caught.value)


class ShowsAStrangeNumber(DictionaryStory):
    def __init__(self, scripts: Sequence[Script]) -> None:
        super().__init__(scripts)
        self.observation_spaces["red_0"] = gym.spaces.Dict({"piece": gym.spaces.Discrete(3, start=1)})

    def reset(self, **given: Any) -> Any:
        observations, infos = super().reset(**given)
        return {**observations, "red_0": {"piece": 4}}, infos


def test_a_number_that_a_discrete_space_does_not_have_is_refused_before_anything_starts() -> None:
    environment = EnvironmentSettings(partial(ShowsAStrangeNumber, SCRIPTS))
    with pytest.raises(ValueError, match=r"agent 'red_0' is shown \{'piece': 4\} of type dict and"):
        multi_agent_spaces(environment, EnvRunnerSettings(), None)


class RaisesInTheMiddle(DictionaryStory):
    def step(self, actions: Mapping[str, Any]) -> Five:
        if self.teller.step_number == 1 and self.teller.episode == 0 and self.teller.seed != 0:
            self.teller.seed = 0
            raise ArithmeticError("scripted")
        return super().step(actions)


def test_an_environment_that_raises_again_and_again_stops_the_run() -> None:
    runner = runner_of(RaisesInTheMiddle)
    runner.set_weights(story_weights(0))
    with closing(runner), pytest.raises(RuntimeError, match=r"scripted.*max_env_restarts"):
        runner.sample()


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({**FITTING, "red_1": None}, ["'red_1'", "no policy None", "known are"]),
        ({**FITTING, "red_1": "grey 9"}, ["'red_1'", "'grey 9'", "add it, or name another"]),
        ({**FITTING, "blue_0": "red 0"}, ["'blue_0'", "'red 0'", "policies of their own"]),
    ],
    ids=["no policy", "unknown policy", "other spaces"],
)
def test_who_cannot_be_played_is_named_with_policy_and_cure(
    mapping: Mapping[str, Any], words: Sequence[str]
) -> None:
    sentence = refused(runner_of(DictionaryStory, mapping))
    assert all(word in sentence for word in words), sentence


def test_a_mapping_that_wants_other_arguments_is_told_how_it_is_called() -> None:
    mapping = FunctionMapping(lambda agent, episode, worker: "red 0", ["red_0"], {"red 0": 0})  # type: ignore[arg-type, misc]
    with pytest.raises(
        ValueError, match=r"missing 1 required.* for agent 'red_0'.*called as fn\(agent, episode\)"
    ):
        mapping.assign(Episode(id_="", environment=0, number=0))


def test_the_scripts_are_fine_where_nothing_breaks_a_rule() -> None:
    for kind in (DictionaryStory, SimultaneousStory):
        with closing(runner_of(kind)) as runner:
            runner.set_weights(story_weights(0))
            assert runner.sample().num_rows
