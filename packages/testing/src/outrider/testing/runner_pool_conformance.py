"""What every runner pool must do.

Subclass the suite in a test module and say how a pool is made: `make_pool` is all it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pytest

from outrider.envrunner import (
    EnvironmentSettings,
    EnvRunnerSettings,
    LocalRunnerPool,
    PoolStatistics,
    RunnerPlan,
    RunnerPool,
)
from outrider.envrunner.environments.environment import spaces_of
from outrider.testing.fragments import assert_goes_on, assert_same_fragment, assert_well_formed
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.transport import LocalWeights
from outrider.wire import Fragment, PolicyGraph, Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolSetup:
    """What a pool is made of."""

    environment: EnvironmentSettings
    settings: EnvRunnerSettings
    graph: PolicyGraph
    num_steps: int
    seed: int

    @property
    def plan(self) -> RunnerPlan:
        """What each of its runners is made of."""
        return RunnerPlan(
            environment=self.environment,
            settings=self.settings,
            policy=self.graph,
            num_steps=self.num_steps,
            seed=self.seed,
        )


def pool_setup(seed: int = 3, *, sample_ahead: bool = False) -> PoolSetup:
    """CartPole, three copies to a runner, 20 steps to a fragment."""
    environment = EnvironmentSettings("CartPole-v1")
    settings = EnvRunnerSettings(num_envs_per_env_runner=3, sample_ahead=sample_ahead)
    graph = mlp_graph(*spaces_of(environment, settings.gym_env_vectorize_mode), num_hidden=8)
    return PoolSetup(environment=environment, settings=settings, graph=graph, num_steps=20, seed=seed)


def weights_of(setup: PoolSetup, version: int) -> Weights:
    """Weights of a version, each version others."""
    return mlp_weights(setup.graph, version=version, seed=version)


def local_pool(setup: PoolSetup, *, num_runners: int) -> LocalRunnerPool:
    """Make runners in this process, which every other pool of as many has to equal."""
    runners = [setup.plan.make_runner(index, 0) for index in range(num_runners)]
    return LocalRunnerPool(*runners, sample_ahead=setup.settings.sample_ahead)


def sample(pool: RunnerPool, weights: Weights) -> list[Fragment]:
    """Sample and load what came."""
    return [reference.load() for reference in pool.sample(LocalWeights(weights))]


class RunnerPoolConformance:
    """The suite."""

    def make_pool(self, setup: PoolSetup) -> RunnerPool:
        """Make the pool under test, with as many runners as it likes."""
        raise NotImplementedError

    @pytest.fixture
    def pool(self) -> Iterator[RunnerPool]:
        """Make a pool and close it afterwards."""
        with closing(self.make_pool(pool_setup())) as pool:
            yield pool

    def sample_anew(self, seed: int, versions: list[int]) -> list[Fragment]:
        """Sample with a new pool."""
        setup = pool_setup(seed)
        with closing(self.make_pool(setup)) as pool:
            return [each for version in versions for each in sample(pool, weights_of(setup, version))]

    def assert_same_as_a_local_pool(self, setup: PoolSetup, *, num_updates: int) -> None:
        """Assert that what is sampled does not depend on where runners are."""
        with closing(self.make_pool(setup)) as pool:
            updates = [sample(pool, weights_of(setup, version)) for version in range(num_updates)]
        with closing(local_pool(setup, num_runners=len(updates[0]))) as local:
            for version, fragments in enumerate(updates):
                assert_same_fragments(sample(local, weights_of(setup, version)), fragments)

    def assert_restored_pool_goes_on(self, setup: PoolSetup) -> None:
        """Assert that saving and restoring changes nothing, also for the pool that was saved."""
        with closing(self.make_pool(setup)) as pool, closing(self.make_pool(setup)) as restored:
            for version in range(2):
                sample(pool, weights_of(setup, version))
            restored.set_state(pool.get_state())
            for version in range(2, 4):
                weights = weights_of(setup, version)
                assert_same_fragments(sample(pool, weights), sample(restored, weights))

    def test_fragments_are_well_formed(self, pool: RunnerPool) -> None:
        for version in range(3):
            for fragment in sample(pool, weights_of(pool_setup(), version)):
                assert_well_formed(fragment)

    def test_fragments_come_in_the_order_of_their_environments(self, pool: RunnerPool) -> None:
        fragments = sample(pool, weights_of(pool_setup(), 0))
        environments = np.concatenate([fragment.streams.environment for fragment in fragments])
        assert environments.tolist() == list(range(len(environments)))

    def test_every_fragment_says_which_version_acted(self, pool: RunnerPool) -> None:
        for version in (0, 1, 5):
            for fragment in sample(pool, weights_of(pool_setup(), version)):
                assert set(fragment.policy_version.tolist()) == {version}

    def test_the_weights_given_are_those_that_act(self, pool: RunnerPool) -> None:
        for version in range(2):
            setup = pool_setup()
            for fragment in sample(pool, weights_of(setup, version)):
                expected = log_probs(weights_of(setup, version), fragment)
                np.testing.assert_allclose(fragment.action_log_probs, expected, atol=1e-5)

    def test_the_same_version_again_is_fine(self, pool: RunnerPool) -> None:
        weights = weights_of(pool_setup(), 0)
        for _ in range(2):
            assert sample(pool, weights)[0].policy_version.tolist() == [0]

    def test_fragments_go_on_where_the_last_ones_ended(self, pool: RunnerPool) -> None:
        first, second = (sample(pool, weights_of(pool_setup(), version)) for version in range(2))
        for before, after in zip(first, second, strict=True):
            assert_goes_on(before, after)

    def test_fragments_belong_to_the_caller(self, pool: RunnerPool) -> None:
        setup = pool_setup()
        fragments = sample(pool, weights_of(setup, 0))
        kept = [fragment.observations[""].copy() for fragment in fragments]
        sample(pool, weights_of(setup, 1))
        for fragment, before in zip(fragments, kept, strict=True):
            np.testing.assert_array_equal(fragment.observations[""], before)

    def test_the_same_seed_gives_the_same_fragments(self) -> None:
        for left, right in zip(self.sample_anew(3, [0, 1]), self.sample_anew(3, [0, 1]), strict=True):
            assert_same_fragment(left, right)

    def test_another_seed_gives_other_fragments(self) -> None:
        left, right = self.sample_anew(3, [0])[0], self.sample_anew(4, [0])[0]
        assert not np.array_equal(left.observations[""][0], right.observations[""][0])

    def test_fragments_do_not_depend_on_where_runners_are(self) -> None:
        self.assert_same_as_a_local_pool(pool_setup(), num_updates=3)

    def test_a_pool_that_samples_ahead_lags_by_one_update(self) -> None:
        setup = pool_setup(sample_ahead=True)
        with closing(self.make_pool(setup)) as pool:
            acted = [sample(pool, weights_of(setup, version))[0].policy_version[0] for version in range(4)]
        assert acted == [0, 0, 1, 2]

    def test_fragments_sampled_ahead_do_not_depend_on_where_runners_are(self) -> None:
        self.assert_same_as_a_local_pool(pool_setup(sample_ahead=True), num_updates=4)

    def test_a_restored_pool_goes_on_bit_for_bit(self) -> None:
        self.assert_restored_pool_goes_on(pool_setup())

    def test_a_restored_pool_that_samples_ahead_goes_on_bit_for_bit(self) -> None:
        self.assert_restored_pool_goes_on(pool_setup(sample_ahead=True))

    def test_a_state_is_a_tree_that_a_checkpoint_takes(self) -> None:
        setup = pool_setup(sample_ahead=True)
        with closing(self.make_pool(setup)) as pool:
            sample(pool, weights_of(setup, 0))
            assert_checkpoint_tree(pool.get_state())

    def test_a_pool_whose_runners_are_well_has_lost_nothing(self, pool: RunnerPool) -> None:
        num_runners = len(sample(pool, weights_of(pool_setup(), 0)))
        assert without_joins(pool.statistics()) == PoolStatistics(num_runners=num_runners)

    def test_weights_of_another_module_are_refused(self, pool: RunnerPool) -> None:
        other = replace(weights_of(pool_setup(), 0), fingerprint="other")
        with pytest.raises(ValueError, match="other"):
            sample(pool, other)

    def test_closing_twice_does_nothing(self, pool: RunnerPool) -> None:
        pool.close()
        pool.close()


def assert_same_fragments(left: list[Fragment], right: list[Fragment]) -> None:
    """Assert that two updates hold the same bits, time taken apart."""
    for one, other in zip(left, right, strict=True):
        assert_same_fragment(one, other)


def without_joins(statistics: PoolStatistics) -> PoolStatistics:
    """Return counts without how many runners came by themselves, which is nothing bad."""
    return replace(statistics, num_farm_runners=0, num_joined=0)


def assert_checkpoint_tree(tree: object) -> None:
    """Assert that a state consists of dicts by name, lists, plain values and arrays."""
    if isinstance(tree, dict):
        assert all(isinstance(key, str) for key in tree)
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            assert_checkpoint_tree(child)
    else:
        assert tree is None or isinstance(tree, str | int | float | bool | np.ndarray), type(tree)


def log_probs(weights: Weights, fragment: Fragment) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Work out the recorded actions' log-probabilities in NumPy."""
    hidden = fragment.observations[""]
    for layer in range(3):
        hidden = hidden @ weights.tensors[f"{layer}.weight"].T + weights.tensors[f"{layer}.bias"]
        hidden = np.tanh(hidden) if layer < 2 else hidden
    log_softmax = hidden - np.log(np.exp(hidden).sum(1, keepdims=True))
    chosen: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.take_along_axis(
        log_softmax, fragment.actions[""][:, None], 1
    )[:, 0]
    return chosen
