"""The local pool passes the suite for runner pools."""

from __future__ import annotations

import pytest

from outrider.envrunner import LocalRunnerPool
from outrider.testing.runner_pool_conformance import (
    PoolSetup,
    RunnerPoolConformance,
    local_pool,
    pool_setup,
)


class TestLocalRunnerPool(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> LocalRunnerPool:
        return local_pool(setup, num_runners=1)

    def test_a_state_of_another_number_of_runners_is_refused(self) -> None:
        pool = self.make_pool(pool_setup())
        with pytest.raises(ValueError, match="is of 2 runners and this pool has 1; resume with"):
            pool.set_state({"runners": [{}, {}]})
        pool.close()


class TestLocalRunnerPoolOfTwo(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> LocalRunnerPool:
        return local_pool(setup, num_runners=2)
