"""What every pool must do whose runners sample without pause.

Subclass the suite in a test module and say how a pool is made: `make_pool` is all it needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from time import monotonic

import numpy as np
import pytest

from outrider.envrunner import AsyncRunnerPool
from outrider.testing.fragments import assert_goes_on, assert_well_formed
from outrider.testing.runner_pool_conformance import (
    PoolSetup,
    assert_checkpoint_tree,
    log_probs,
    pool_setup,
    weights_of,
    without_joins,
)
from outrider.transport import LocalWeights
from outrider.wire import Fragment

_PATIENCE_S = 30.0


def offer(pool: AsyncRunnerPool, version: int) -> None:
    """Offer weights of that version."""
    pool.offer(LocalWeights(weights_of(pool_setup(), version)))


def collect(pool: AsyncRunnerPool, num_fragments: int) -> list[Fragment]:
    """Collect and load exactly so many fragments, one at a time."""
    fragments: list[Fragment] = []
    while len(fragments) < num_fragments:
        references = pool.collect(at_most=1, timeout_s=_PATIENCE_S)
        assert len(references) == 1, f"no fragment within {_PATIENCE_S:g} s"
        fragments.append(references[0].load())
    return fragments


def collect_up_to(pool: AsyncRunnerPool, version: int) -> list[Fragment]:
    """Collect until weights of that version have acted; return what came before."""
    fragments: list[Fragment] = []
    while True:
        (fragment,) = collect(pool, 1)
        if version_of(fragment) == version:
            return fragments
        fragments.append(fragment)
        assert len(fragments) < 1000, f"version {version} was offered and never acts"


def version_of(fragment: Fragment) -> int:
    """Return the one version that acted."""
    (version,) = set(fragment.policy_version.tolist())
    return int(version)


def by_runner(fragments: list[Fragment]) -> list[list[Fragment]]:
    """Return the fragments of each runner in the order in which they came."""
    runners: dict[int, list[Fragment]] = defaultdict(list)
    for fragment in fragments:
        runners[int(fragment.streams.environment[0])].append(fragment)
    return list(runners.values())


class AsyncRunnerPoolConformance:
    """The suite."""

    def make_pool(self, setup: PoolSetup) -> AsyncRunnerPool:
        """Make the pool under test, with as many runners as it likes."""
        raise NotImplementedError

    @pytest.fixture
    def pool(self) -> Iterator[AsyncRunnerPool]:
        """Make a pool and close it afterwards."""
        with closing(self.make_pool(pool_setup())) as pool:
            yield pool

    def most_at_once(self, pool: AsyncRunnerPool) -> int:
        """Return how many fragments may be begun that nobody has taken."""
        return pool.statistics().num_runners * pool_setup().settings.max_requests_in_flight_per_env_runner

    def test_fragments_are_well_formed(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        for fragment in collect(pool, 6):
            assert_well_formed(fragment)

    def test_nothing_is_sampled_before_there_are_weights(self, pool: AsyncRunnerPool) -> None:
        assert pool.collect(at_most=1, timeout_s=0.1) == []

    def test_the_newest_weights_act(self, pool: AsyncRunnerPool) -> None:
        for version in (0, 1, 5):
            offer(pool, version)
            assert len(collect_up_to(pool, version)) <= self.most_at_once(pool)

    def test_versions_never_go_back_and_never_mix(self, pool: AsyncRunnerPool) -> None:
        fragments = []
        for version in range(4):
            offer(pool, version)
            fragments += collect(pool, 3)
        for fragment in fragments:
            expected = log_probs(weights_of(pool_setup(), version_of(fragment)), fragment)
            np.testing.assert_allclose(fragment.action_log_probs, expected, atol=1e-5)
        for of_one in by_runner(fragments):
            assert sorted(map(version_of, of_one)) == list(map(version_of, of_one))

    def test_fragments_come_oldest_first(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        for of_one in by_runner(collect(pool, 8)):
            for before, after in pairwise(of_one):
                assert_goes_on(before, after)

    def test_every_runner_samples(self, pool: AsyncRunnerPool) -> None:
        """However much more often one may: nothing says how fast each is."""
        offer(pool, 0)
        fragments = collect(pool, 20)
        ends = monotonic() + _PATIENCE_S
        while len(by_runner(fragments)) < pool.statistics().num_runners:
            assert monotonic() < ends, f"a runner delivers nothing within {_PATIENCE_S:g} s"
            fragments += collect(pool, 1)

    def test_nothing_piles_up_where_nothing_is_taken(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        collect(pool, 4)
        for _ in range(30):
            assert pool.collect(at_most=0, timeout_s=0.02) == []
        offer(pool, 1)
        assert len(collect_up_to(pool, 1)) <= self.most_at_once(pool)

    def test_no_more_is_returned_than_is_wanted(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        collect(pool, 1)
        for at_most in (1, 2, 3):
            assert 1 <= len(pool.collect(at_most=at_most, timeout_s=_PATIENCE_S)) <= at_most

    def test_fragments_belong_to_the_caller(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        fragments = collect(pool, 2)
        kept = [fragment.observations[""].copy() for fragment in fragments]
        collect(pool, 6)
        for fragment, before in zip(fragments, kept, strict=True):
            np.testing.assert_array_equal(fragment.observations[""], before)

    def test_a_restored_pool_plays_other_episodes(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        played = _first_observations(collect(pool, 6))
        with closing(self.make_pool(pool_setup())) as restored:
            restored.set_state(pool.get_state())
            offer(restored, 0)
            assert not played & _first_observations(collect(restored, 6))

    def test_a_state_is_a_tree_that_a_checkpoint_takes(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        collect(pool, 1)
        assert_checkpoint_tree(pool.get_state())

    def test_a_pool_whose_runners_are_well_has_lost_nothing(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        collect(pool, 6)
        statistics = pool.statistics()
        assert without_joins(replace(statistics, num_runners=0)) == type(statistics)(num_runners=0)

    def test_weights_of_another_module_are_refused(self, pool: AsyncRunnerPool) -> None:
        with pytest.raises(ValueError, match="other"):  # noqa: PT012 - at once, or with a fragment
            pool.offer(LocalWeights(replace(weights_of(pool_setup(), 0), fingerprint="other")))
            collect(pool, 1)

    def test_closing_twice_does_nothing_whatever_is_under_way(self, pool: AsyncRunnerPool) -> None:
        offer(pool, 0)
        collect(pool, 1)
        pool.close()
        pool.close()


def _first_observations(fragments: list[Fragment]) -> set[bytes]:
    """Tell episodes apart by what they show first."""
    return {fragment.observations[""][0].tobytes() for fragment in fragments}
