from __future__ import annotations

import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPlan
from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.policies.weights_selection import HeldElsewhere
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.raw_runner import NUMBERED_GRAPH
from outrider.wire import Limits, encode_weights


@pytest.mark.parametrize("is_guarded", [True, False])
def test_weights_have_a_checksum_where_nothing_else_guards_them(*, is_guarded: bool) -> None:
    settings = EnvRunnerSettings()
    plan = RunnerPlan(
        environment=EnvironmentSettings("CartPole-v1"),
        settings=settings,
        policy=NUMBERED_GRAPH,
        num_steps=1,
        seed=0,
    )
    invitation = Invitation(plan, settings, Limits(), is_guarded=is_guarded)
    weights = numbered_weights(1)
    written = b"".join(invitation.weights(weights, frozenset(), None, HeldElsewhere(on_demand=False)))
    assert written == encode_weights(weights.load(), checksum=not is_guarded).to_bytes()
