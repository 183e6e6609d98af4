"""Every runner elsewhere is told of other policies before it is asked again, once, also one made anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outrider.envrunner import AsyncRunnerFleet, EnvRunnerSettings, RunnerFleet
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.numbered_runner import NumberedRunner, numbered_weights
from outrider.wire import Fragment


@dataclass(slots=True)
class ToldRunner(NumberedRunner):
    """Notes what it is told."""

    casts: list[str] = field(default_factory=list)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take the name of the first policy."""
        self.casts.append(state["cast"]["policies"][0][0])

    def sample(self) -> Fragment:
        """Note what was known by then."""
        LOG.append((self.index, self.incarnation, "".join(self.casts)))
        return NumberedRunner.sample(self)


LOG: list[tuple[int, int, str]] = []


def cast(name: str) -> Cast:
    return Cast(
        stacks={"mlp": "mlp"}, policies=(PolicyEntry(name=name, number=0, stack="mlp"),), mapping=None
    )


def remote() -> FakeRunners:
    LOG.clear()
    return FakeRunners(ToldRunner, 2)


def test_all_are_told_once_of_each_cast() -> None:
    runners = remote()
    fleet = RunnerFleet(runners, EnvRunnerSettings(), num_steps=10, clock=runners.clock)
    fleet.sample(numbered_weights(0))
    fleet.recast(cast("a"))
    fleet.sample(numbered_weights(1))
    fleet.sample(numbered_weights(2))
    fleet.recast(cast("b"))
    fleet.sample(numbered_weights(3))
    assert [told for index, _, told in LOG if index == 1] == ["", "a", "a", "ab"]
    assert [told for index, _, told in LOG if index == 0] == ["", "a", "a", "ab"]


def test_a_runner_that_is_made_anew_is_told_too() -> None:
    runners = remote()
    fleet = RunnerFleet(runners, EnvRunnerSettings(), num_steps=10, clock=runners.clock)
    fleet.recast(cast("a"))
    fleet.sample(numbered_weights(0))
    runners.lose(0)
    for version in range(1, 5):
        fleet.sample(numbered_weights(version))
    assert (0, 1, "a") in LOG
    assert all(told == "a" for _, _, told in LOG)


def test_runners_that_never_wait_are_told_too() -> None:
    runners = remote()
    settings = EnvRunnerSettings(max_requests_in_flight_per_env_runner=1)
    fleet = AsyncRunnerFleet(runners, settings, num_steps=10, clock=runners.clock)
    fleet.offer(numbered_weights(0))
    fleet.recast(cast("a"))
    while len(LOG) < 8:
        fleet.collect(at_most=2, timeout_s=5.0)
    assert {told for _, _, told in LOG[4:]} == {"a"}
