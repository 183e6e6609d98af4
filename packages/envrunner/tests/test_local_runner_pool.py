"""The local pool passes the suite for runner pools."""

from __future__ import annotations

from outrider.envrunner import EnvRunner, LocalRunnerPool, OnnxPolicy
from outrider.testing.runner_pool_conformance import PoolSetup, RunnerPoolConformance


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
