"""The suite for vectors of several agents finds what is wrong, and shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from outrider.envrunner import MultiAgentStep
from outrider.testing.agent_script import Script
from outrider.testing.multi_agent_conformance import MultiAgentVectorConformance
from outrider.testing.situations import SITUATIONS
from outrider.testing.story_vector import StoryVector


class LosesLateRewards(StoryVector):
    """Forgets what agents get who have no turn."""

    def step(self, actions: Sequence[Mapping[str, Any]]) -> MultiAgentStep:
        step = super().step(actions)
        return replace(step, rewards=step.rewards * step.acting)


class Suite(MultiAgentVectorConformance):
    def make_vector(self, scripts: Sequence[Script], num_envs: int) -> StoryVector:
        return LosesLateRewards(scripts, num_envs=num_envs)


def test_what_differs_is_shown_wherever_the_suite_is_used() -> None:
    situation = SITUATIONS["rewards come late and belong to the action before"]
    with pytest.raises(AssertionError, match=r"'red_0': 0\.0"):
        Suite().test_what_happens_is_told(situation)
