"""How a runner of several agents asks its policies, and what it says where something does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.envrunner.agents.agents_error import ForgottenEndError
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.agents_by_lot import (
    AGENTS,
    ENTRIES,
    FIRST,
    NUMBERS,
    Lottery,
    Setting,
)
from outrider.wire.fragment_checks import check_fragment


def test_one_call_is_made_for_each_stack_and_step() -> None:
    setting = Setting(Lottery(acts=1.0, ends=0.0), num_steps=9)
    setting.sample(0)
    assert [stack.num_calls for stack in setting.stacks] == [9, 9]


def test_the_outer_fragment_is_that_of_the_first_stack_also_without_rows() -> None:
    setting = Setting(Lottery(acts=0.0, ends=0.0), num_steps=2)
    (only,) = setting.sample(3)
    check_fragment(only)
    assert only.num_rows == 0
    assert only.policy_version.tolist() == [3]
    assert only.observations[""].shape == (0, 3)


def test_an_agent_whose_spaces_do_not_fit_its_policy_is_named_with_it() -> None:
    setting = Setting(Lottery(), num_steps=2)
    setting.runner = MultiAgentRunner(
        setting.vector,
        setting.stacks,
        MatchupMapping(
            Matchups([(1.0, {"red_0": "red a", "red_1": "blue b", "blue_0": "blue a"})]), AGENTS, NUMBERS
        ),
        ENTRIES,
        num_steps=2,
        seed=0,
        settings=EnvRunnerSettings(),
    )
    sentence = (
        r"agent 'red_1' is played by policy 'blue b', but the agent observes float32\[3\] and the policy was "
        r"made for float64\[2\]; give agents"
    )
    with pytest.raises(ValueError, match=sentence):
        setting.sample(0)


def test_a_forgotten_end_is_told_with_the_policy() -> None:
    setting = Setting(Lottery(ends=0.0), num_steps=5)
    setting.sample(0)

    def forget(actions: Any) -> MultiAgentStep:
        raise ForgottenEndError("blue_0", 1)

    setting.vector.step = forget  # type: ignore[method-assign]
    name = ENTRIES[setting.mapping.said[FIRST + 1][0][2]].name
    with pytest.raises(
        ValueError, match=f"'blue_0' vanished from environment copy 1 .*; policy '{name}' acted"
    ):
        setting.sample(1)


def test_a_vector_that_fails_as_a_whole_costs_the_rows_that_were_open() -> None:
    setting = Setting(Lottery(acts=1.0, ends=0.0), num_steps=6)
    step, calls = setting.vector.step, iter(range(100))

    def fail_once(actions: Any) -> MultiAgentStep:
        if next(calls) == 3:
            raise OSError("lost")
        return step(actions)

    setting.vector.step = fail_once  # type: ignore[method-assign]
    parts = setting.sample(0)
    assert [part.num_rows for part in parts] == [5 * 6, 5 * 3]
    assert [part.truncated.sum() for part in parts] == [6, 3]
    assert parts[0].statistics.num_lost_rows == 9
    assert parts[0].statistics.num_restarts == 1
    assert parts[0].episodes.returns.size == 0
    assert len(setting.mapping.episodes) == 6
    for part in parts:
        check_fragment(part)


def test_nothing_is_left_of_episodes_that_an_interruption_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(Lottery(acts=1.0, ends=0.0), num_steps=6)
    setting.sample(0)

    def interrupt(actions: Any) -> MultiAgentStep:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(setting.vector, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            setting.sample(1)
    setting.vector.ends = 1.0
    red, blue = setting.sample(2)
    assert set(red.episodes.lengths.tolist()) == {1}
    for part in (red, blue):
        assert part.episodes.agents is not None
        assert set(part.episodes.agents.lengths.tolist()) == {1}
    assert not red.streams.state["count"].any()


def test_weights_are_needed_first() -> None:
    with pytest.raises(RuntimeError, match="no weights yet; call set_weights before sample"):
        Setting(Lottery(), num_steps=2).runner.sample()
