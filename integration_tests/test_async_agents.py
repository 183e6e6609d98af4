"""Copies in processes show what copies in turn show, and one that fails costs itself alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from outrider.envrunner.agents.agents_error import ForgottenEndError
from outrider.envrunner.agents.async_agents import AsyncAgents
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.settings import EnvRunnerSettings


def rounds() -> type[Any]:  # noqa: C901 - a class, and not one function
    """Return a class that travels to processes by value.

    A parallel environment: "a" is terminated after two rounds, the others are cut off after three. It shows
    (its seed, episodes before, round), and rewards actions. `faults` says what happens in round 2, by seed.
    """

    class Rounds:
        def __init__(self, faults: Mapping[int, str] | None = None) -> None:
            self.possible_agents, self.agents = ["a", "b", "c"], []
            self.faults, self.seed, self.episode = faults or {}, 0, -1

        def observation_space(self, agent: str) -> Any:
            import gymnasium

            return gymnasium.spaces.Box(0, 99, (3,))

        def action_space(self, agent: str) -> Any:
            import gymnasium

            return gymnasium.spaces.Box(0, 9, (1,)) if agent == "b" else gymnasium.spaces.Discrete(9)

        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            self.seed = self.seed if seed is None else seed
            self.agents, self.round, self.episode = list(self.possible_agents), 0, self.episode + 1
            return self.seen(), {}

        def step(self, actions: Mapping[str, Any]) -> Any:
            self.round += 1
            fault = self.faults.get(self.seed) if self.round == 2 else None
            if fault is not None:
                self.fail(fault)
            rewards = {agent: float(np.ravel(actions[agent])[0]) for agent in self.agents}
            seen = self.seen()
            terminated = {"a": self.round == 2}
            truncated = {"b": self.round == 3, "c": self.round == 3}
            self.agents = {1: ["a", "b", "c"], 2: ["b", "c"], 3: []}[self.round]
            if fault == "forgets":
                self.agents = ["c"]
            return seen, rewards, terminated, truncated, {}

        def fail(self, fault: str) -> None:
            import os
            import signal
            import time

            if fault == "raises":
                raise ArithmeticError("no round two")
            if fault == "hangs":
                time.sleep(600)
            if fault == "dies":
                os.kill(os.getpid(), signal.SIGKILL)

        def seen(self) -> Any:
            return {agent: np.array([self.seed, self.episode, self.round]) for agent in self.agents}

        def state(self) -> Any:
            return np.array([self.round])

        @property
        def state_space(self) -> Any:
            import gymnasium

            return gymnasium.spaces.Box(0, 9, (1,))

        def close(self) -> None:
            pass

    return Rounds


def rethrow(index: int, error: BaseException) -> int:
    raise error


def make(
    mode: str, on_failure: Any = rethrow, timeout_s: float = 60.0, num_envs: int = 2, **config: Any
) -> Any:
    settings = EnvRunnerSettings(gym_env_vectorize_mode=mode, env_step_timeout_s=timeout_s)  # type: ignore[arg-type]
    environment = EnvironmentSettings(rounds(), env_config=config)
    return make_multi_agent_vector(
        environment, settings, num_envs=num_envs, num_agents=None, on_failure=on_failure
    )


def actions(t: int, num_envs: int = 2) -> list[Any]:
    return [{"": np.full((num_envs, 2), t % 9)}, {"": np.full((num_envs, 1, 1), t / 10, np.float32)}]


def assert_equal(one: MultiAgentStep, other: MultiAgentStep) -> None:
    for field in fields(MultiAgentStep):
        np.testing.assert_equal(plain(getattr(one, field.name)), plain(getattr(other, field.name)))


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [
            each if isinstance(each, dict) else (each.environments, each.members, dict(each.observations))
            for each in value
        ]
    return value


def test_processes_show_what_copies_in_turn_show() -> None:
    here, there = make("sync"), make("async")
    assert isinstance(there, AsyncAgents)
    try:
        assert_equal(here.reset([3, 4]), there.reset([3, 4]))
        for t in range(8):
            assert_equal(here.step(actions(t)), there.step(actions(t)))
    finally:
        there.close()


def test_processes_that_fail_are_replaced_and_the_others_go_on() -> None:
    failures: dict[int, str] = {}

    def note(index: int, error: BaseException) -> int:
        failures[index] = str(error)
        return 50 + index

    faults = {7: "raises", 8: "dies", 9: "hangs"}
    vector = make("async", note, timeout_s=3.0, num_envs=4, faults=faults)
    try:
        vector.reset([6, 7, 8, 9])
        vector.step(actions(1, 4))
        step = vector.step(actions(2, 4))
        assert step.failed.tolist() == [False, True, True, True]
        for index, words in ((1, "no round two"), (2, "SIGKILL"), (3, "did not answer in time")):
            assert words in failures[index]
            assert step.observations[0][""][index].tolist() == [[50 + index, 0, 0]] * 2
            assert step.acting[index].all()
            assert not step.rewards[index].any()
            assert not (step.terminated | step.truncated)[index].any()
        assert step.acting[0].tolist() == [False, True, True]
        assert step.terminated[0].tolist() == [True, False, False]
        assert vector.step(actions(3, 4)).over.tolist() == [True, False, False, False]
    finally:
        vector.close()


def test_an_end_that_is_forgotten_in_a_process_is_an_error_here_and_no_failure_of_the_copy() -> None:
    vector = make("async", faults={1: "forgets"})
    try:
        vector.reset([0, 1])
        vector.step(actions(1))
        with pytest.raises(ForgottenEndError) as caught:
            vector.step(actions(2))
        assert (caught.value.agent, caught.value.environment) == ("b", 1)
    finally:
        vector.close()


def test_processes_of_independent_copies_are_as_many_as_environments() -> None:
    settings = EnvRunnerSettings(gym_env_vectorize_mode="async")
    make_both = functools.partial(
        make_multi_agent_vector,
        EnvironmentSettings("CartPole-v1"),
        num_envs=2,
        num_agents=3,
        on_failure=rethrow,
    )
    here, there = make_both(settings=EnvRunnerSettings()), make_both(settings=settings)
    assert isinstance(there, AsyncAgents)
    try:
        assert len(there.process_ids) == 2
        assert_equal(here.reset([3, 4]), there.reset([3, 4]))
        for _ in range(30):
            nothing = [{"": np.zeros((2, 3), np.int64)}]
            assert_equal(here.step(nothing), there.step(nothing))
    finally:
        there.close()
