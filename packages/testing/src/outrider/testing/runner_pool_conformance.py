"""What every runner pool must do.

Subclass the suite in a test module and say how a pool is made: `make_pool` is all it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPool
from outrider.envrunner.environment import spaces_of
from outrider.testing.fragments import assert_same_fragment, assert_well_formed
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


def pool_setup(seed: int = 3) -> PoolSetup:
    """CartPole, three copies to a runner, 20 steps to a fragment."""
    environment = EnvironmentSettings("CartPole-v1")
    settings = EnvRunnerSettings(num_envs_per_env_runner=3)
    graph = mlp_graph(*spaces_of(environment, settings.gym_env_vectorize_mode), num_hidden=8)
    return PoolSetup(environment=environment, settings=settings, graph=graph, num_steps=20, seed=seed)


def weights_of(setup: PoolSetup, version: int) -> Weights:
    """Weights of a version, each version others."""
    return mlp_weights(setup.graph, version=version, seed=version)


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
                expected = _log_probs(weights_of(setup, version), fragment)
                np.testing.assert_allclose(fragment.action_log_probs, expected, atol=1e-5)

    def test_the_same_version_again_is_fine(self, pool: RunnerPool) -> None:
        weights = weights_of(pool_setup(), 0)
        for _ in range(2):
            assert sample(pool, weights)[0].policy_version.tolist() == [0]

    def test_fragments_go_on_where_the_last_ones_ended(self, pool: RunnerPool) -> None:
        first, second = (sample(pool, weights_of(pool_setup(), version)) for version in range(2))
        for before, after in zip(first, second, strict=True):
            ends = np.cumsum(before.streams.lengths) - 1
            starts = np.cumsum(after.streams.lengths) - after.streams.lengths
            for end, start in zip(ends.tolist(), starts.tolist(), strict=True):
                if not (before.terminated[end] or before.truncated[end]):
                    (at,) = np.flatnonzero(before.next_rows == end)
                    np.testing.assert_array_equal(
                        before.next_observations[""][at], after.observations[""][start]
                    )

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

    def test_a_restored_pool_goes_on_bit_for_bit(self, pool: RunnerPool) -> None:
        setup = pool_setup()
        sample(pool, weights_of(setup, 0))
        state = pool.get_state()
        expected = sample(pool, weights_of(setup, 1))
        with closing(self.make_pool(setup)) as restored:
            restored.set_state(state)
            for left, right in zip(expected, sample(restored, weights_of(setup, 1)), strict=True):
                assert_same_fragment(left, right)

    def test_weights_of_another_module_are_refused(self, pool: RunnerPool) -> None:
        other = replace(weights_of(pool_setup(), 0), fingerprint="other")
        with pytest.raises(ValueError, match="other"):
            sample(pool, other)

    def test_closing_twice_does_nothing(self, pool: RunnerPool) -> None:
        pool.close()
        pool.close()


def _log_probs(weights: Weights, fragment: Fragment) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
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
