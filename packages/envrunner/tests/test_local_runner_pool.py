"""The local pool passes the suite for runner pools."""

from __future__ import annotations

import pytest

from outrider.envrunner import EnvRunner, LocalRunnerPool, OnnxPolicy
from outrider.testing.runner_pool_conformance import PoolSetup, RunnerPoolConformance, pool_setup


class TestLocalRunnerPool(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> LocalRunnerPool:
        runner = EnvRunner(
            setup.environment,
            setup.settings,
            OnnxPolicy(setup.graph),
            observation_space=setup.graph.observation_space,
            action_heads=setup.graph.action_heads,
            num_steps=setup.num_steps,
            seed=setup.seed,
        )
        return LocalRunnerPool(runner)

    def test_a_state_of_another_number_of_runners_is_refused(self) -> None:
        pool = self.make_pool(pool_setup())
        with pytest.raises(ValueError, match="is of 2 runners and this pool has 1; resume with"):
            pool.set_state({"runners": [{}, {}]})
        pool.close()
