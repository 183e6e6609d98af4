"""What a runner does when the weights it is given do not come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from outrider.envrunner import LocalRunnerPool, RunnerFleet
from outrider.envrunner.policies.weights_loading import LostWeightsError, load_newer
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.numbered_runner import NumberedRunner, numbered_weights
from outrider.testing.opened_gateway import Make, opened_gateways
from outrider.transport import WeightsReference
from outrider.wire import Weights, session


class Runner:
    """Knows its version."""

    def __init__(self, version: int | None) -> None:
        self.version = version

    def set_weights(self, weights: Weights) -> None:
        self.version = weights.version


class Gone:
    """Weights whose owner is gone, or too slow."""

    version = 5

    def __init__(self, error: Exception) -> None:
        self.error = error

    def load(self) -> Weights:
        raise self.error


def test_newer_weights_are_loaded_and_older_ones_are_not() -> None:
    runner = Runner(version=3)
    load_newer(runner, numbered_weights(4))
    assert runner.version == 4
    load_newer(runner, numbered_weights(2))
    load_newer(runner, None)
    assert runner.version == 4


@pytest.mark.parametrize("error", [ConnectionError("gone"), TimeoutError("slow")])
def test_a_runner_goes_on_with_its_weights_where_newer_ones_do_not_come(error: Exception) -> None:
    runner = Runner(version=3)
    load_newer(runner, Gone(error))
    assert runner.version == 3


@pytest.mark.parametrize("error", [ConnectionError("gone"), TimeoutError("slow")])
def test_a_runner_without_weights_says_that_it_has_none(error: Exception) -> None:
    with pytest.raises(LostWeightsError, match=f"^it has no weights to begin with: {error}$"):
        load_newer(Runner(version=None), Gone(error))


def test_weights_of_another_module_are_still_refused() -> None:
    with pytest.raises(ValueError, match="another module"):
        load_newer(Runner(version=3), Gone(ValueError("another module")))


@pytest.fixture
def opened() -> Iterator[Make]:
    with opened_gateways() as make:
        yield make


@pytest.mark.parametrize("error", [ConnectionError("gone"), TimeoutError("slow")])
def test_a_gateway_that_cannot_have_weights_says_so_and_asks_nobody(opened: Make, error: Exception) -> None:
    made = opened()
    peer = made.up()
    for give in (lambda: made.gateway.ask(0, Gone(error)), lambda: made.gateway.offer(Gone(error))):
        with pytest.raises(LostWeightsError, match=f"^{error}$"):
            give()
    made.port.settle()
    assert peer.heard(session.Ask) == []
    made.ask(6)
    made.port.settle()
    assert [each.weights_version for each in peer.heard(session.Ask)] == [6]


@pytest.mark.parametrize("sample_ahead", [False, True])
def test_runners_here_sample_with_other_weights_where_some_are_gone(*, sample_ahead: bool) -> None:
    pool = LocalRunnerPool(NumberedRunner(0, 0), sample_ahead=sample_ahead)
    assert versions_of(pool, numbered_weights(4)) == [4]
    with pytest.raises(LostWeightsError, match=r"^gone$"):
        pool.sample(Gone(ConnectionError("gone")))
    assert versions_of(pool, numbered_weights(6)) == [4 if sample_ahead else 6]
    assert versions_of(pool, numbered_weights(7)) == [6 if sample_ahead else 7]


def test_what_runners_here_sample_with_ahead_is_not_lost_later() -> None:
    pool = LocalRunnerPool(NumberedRunner(0, 0), sample_ahead=True)
    fleeting = Fleeting()
    pool.sample(fleeting)
    fleeting.is_gone = True
    assert pool.get_state()["before"].size
    assert versions_of(pool, numbered_weights(6)) == [5]


class Fleeting(Gone):
    """Weights that are there until a test says otherwise."""

    is_gone = False

    def __init__(self) -> None:
        super().__init__(ConnectionError("gone"))

    def load(self) -> Weights:
        return super().load() if self.is_gone else numbered_weights(self.version).load()


class Forgetful(FakeRunners):
    """Runners, the later of which know that weights of version 5 are gone."""

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        if weights is not None and weights.version == Gone.version and index:
            raise LostWeightsError("version 5 is gone")
        super().ask(index, weights)


def versions_of(fleet: RunnerFleet | LocalRunnerPool, weights: WeightsReference) -> list[int]:
    return [fragment.summary.policy_version for fragment in fleet.sample(weights)]


def test_a_fleet_of_which_some_lack_weights_can_be_asked_again_with_others() -> None:
    remote = Forgetful(NumberedRunner, num_runners=2)
    fleet = RunnerFleet(remote, EnvRunnerSettings(), num_steps=10, clock=remote.clock)
    with pytest.raises(LostWeightsError):
        fleet.sample(numbered_weights(5))
    assert versions_of(fleet, numbered_weights(6)) == [5, 6]
    assert fleet.statistics().num_lost_rows == 0


def test_what_was_sampled_ahead_is_returned_also_where_the_next_weights_are_gone() -> None:
    remote = Forgetful(NumberedRunner, num_runners=2)
    settings = EnvRunnerSettings(sample_ahead=True)
    fleet = RunnerFleet(remote, settings, num_steps=10, clock=remote.clock)
    assert versions_of(fleet, numbered_weights(4)) == [4, 4]
    assert versions_of(fleet, numbered_weights(5)) == [4, 4]
    assert versions_of(fleet, numbered_weights(6)) == [5]
    assert versions_of(fleet, numbered_weights(7)) == [6, 6]
