"""What a runner does when the weights it is given do not come."""

from __future__ import annotations

import pytest

from outrider.envrunner.policies.weights_loading import LostWeightsError, load_newer
from outrider.testing.numbered_runner import numbered_weights
from outrider.wire import Weights


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
