"""The suite for asynchronous pools asks of each runner that it delivers, not how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from outrider.envrunner.fleet.pool import PoolStatistics
from outrider.testing import async_runner_pool_conformance
from outrider.testing.async_runner_pool_conformance import AsyncRunnerPoolConformance
from outrider.testing.messages import example_fragment
from outrider.transport import LocalFragment, LocalWeights
from outrider.wire import Fragment


class PoolOfTwo:
    """The second runner delivers after so many fragments of the first."""

    def __init__(self, num_before: int) -> None:
        self._fragments = self._all(num_before)

    def offer(self, weights: LocalWeights) -> None:
        pass

    def collect(self, *, at_most: int, timeout_s: float) -> list[LocalFragment]:
        return [LocalFragment(next(self._fragments))]

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(num_runners=2)

    def _all(self, num_before: int) -> Iterator[Fragment]:
        for _ in range(num_before):
            yield of_runner(0)
        while True:
            yield of_runner(1)


def of_runner(number: int) -> Fragment:
    fragment = example_fragment()
    environment = np.full_like(fragment.streams.environment, number)
    return replace(fragment, streams=replace(fragment.streams, environment=environment))


def test_a_runner_may_be_much_slower_than_another() -> None:
    AsyncRunnerPoolConformance().test_every_runner_samples(PoolOfTwo(25))  # type: ignore[arg-type]


def test_a_runner_that_delivers_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_runner_pool_conformance, "_PATIENCE_S", 0.01)
    with pytest.raises(AssertionError, match="a runner delivers nothing"):
        AsyncRunnerPoolConformance().test_every_runner_samples(PoolOfTwo(10**9))  # type: ignore[arg-type]
