"""A runner that fetches the policies that play samples what one that has all of them samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.fleet.planned_runner import PlannedRunner
from outrider.envrunner.policies.fetched_policies import FetchedPolicies
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.envrunner.policies.some_policies import of_policies
from outrider.testing.stacked_mlp_graph import (
    stacked_mlp_graph,
    stacked_mlp_log_probs,
    stacked_mlp_weights,
)
from outrider.wire import Fragment, Weights

CARTPOLE = EnvironmentSettings("CartPole-v1")
GRAPH = stacked_mlp_graph(*spaces_of(CARTPOLE, "sync"), num_hidden=4)
NUM_POLICIES, AT_MOST = 14, 7
STACKS = {"even": range(0, NUM_POLICIES, 2), "odd": range(1, NUM_POLICIES, 2)}


def draw(agent: str, episode: Episode) -> str:
    """Let somebody play."""
    return str(np.random.default_rng((*episode.seed, int(agent))).integers(NUM_POLICIES))


def plan(**changes: Any) -> MultiAgentPlan:
    planned = MultiAgentPlan(
        environment=CARTPOLE,
        settings=EnvRunnerSettings(num_envs_per_env_runner=3, max_policies_per_env_runner=AT_MOST),
        agents=("0", "1"),
        num_agents=2,
        stacks=tuple(StackPlan(name=name, policy=GRAPH) for name in STACKS),
        policies=tuple(
            PolicyEntry(name=str(number), number=number, stack=name)
            for name, numbers in STACKS.items()
            for number in numbers
        ),
        mapping=draw,
        num_steps=15,
        seed=2,
    )
    return replace(planned, **changes)


def weights(version: int, changed_at: dict[int, int]) -> Weights:
    """Return the weights of all policies, each as it changed last."""
    stacks, tensors = [], {}
    for name, numbers in STACKS.items():
        parts = [
            stacked_mlp_weights(GRAPH, name, [number], version=changed_at.get(number, 0))
            for number in numbers
        ]
        for key in parts[0].tensors:
            tensors[key] = np.concatenate([part.tensors[key] for part in parts])
        stacks.append(
            replace(
                parts[0].stacks[0],
                policies=np.array(numbers, np.int32),
                versions=np.array([changed_at.get(number, 0) for number in numbers], np.int64),
            )
        )
    return Weights(version=version, fingerprint="", tensors=tensors, stacks=tuple(stacks))


class Source:
    """Sends a runner what it holds and what changed, and answers what it wants; it remembers who has what."""

    def __init__(self, **changes: Any) -> None:
        self.newest = weights(0, {})
        self.held = set[int]()
        self.num_sent = self.num_fetches = 0
        self.happened: list[str] = []
        self.runner: PlannedRunner = plan(**changes).make_runner(0, 0, self.fetch)

    def fetch(self, wanted: NDArray[np.int32], dropped: NDArray[np.int32]) -> Weights:
        assert not self.held & set(wanted.tolist())
        assert set(dropped.tolist()) <= self.held
        self.held = (self.held - set(dropped.tolist())) | set(wanted.tolist())
        assert len(self.held) <= AT_MOST
        self.num_fetches += 1
        self.happened.append("fetched")
        self.num_sent += len(wanted)
        return of_policies(self.newest, wanted)

    def update(self, newest: Weights) -> None:
        sent = of_policies(newest, np.array(sorted(self.held), np.int32), since=self.newest.version)
        self.num_sent += sum(len(stack.policies) for stack in sent.stacks)
        self.newest = newest
        self.runner.set_weights(sent)


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.runner.close()


def assert_same(one: Fragment, other: Fragment) -> None:
    for part, expected in zip((one, *one.others), (other, *other.others), strict=True):
        np.testing.assert_array_equal(part.streams.policy, expected.streams.policy)
        np.testing.assert_array_equal(part.policy_version, expected.policy_version)
        np.testing.assert_array_equal(part.action_log_probs, expected.action_log_probs)
        for path, column in expected.actions.items():
            np.testing.assert_array_equal(part.actions[path], column)


@given(st.lists(st.sets(st.integers(0, NUM_POLICIES - 1)), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None)
def test_what_is_sampled_is_what_a_runner_with_everything_samples(updates: list[set[int]]) -> None:
    source, everything = Source(), plan().make_runner(0, 0)
    changed_at: dict[int, int] = {}
    for version, changed in enumerate(updates):
        changed_at |= dict.fromkeys(changed, version)
        newest = weights(version, changed_at)
        source.update(newest)
        everything.set_weights(newest)
        assert_same(source.runner.sample(), everything.sample())
    source.runner.close()
    everything.close()


def test_rows_of_a_policy_that_came_newer_than_the_rest_say_so() -> None:
    source = Source()
    seen: set[int] = set()
    for version in range(0, 20, 2):
        source.update(weights(version, dict.fromkeys(range(NUM_POLICIES), version)))
        source.newest = weights(version + 1, dict.fromkeys(range(NUM_POLICIES), version + 1))
        fragment = source.runner.sample()
        for part in (fragment, *fragment.others):
            seen |= {int(each) - version for each in part.policy_version}
            expected = stacked_mlp_log_probs(GRAPH, part)
            np.testing.assert_allclose(part.action_log_probs, expected, atol=1e-5)
    assert seen == {0, 1}
    source.runner.close()


def test_all_that_begin_in_a_step_are_fetched_in_one_call(source: Source) -> None:
    source.update(weights(0, {}))
    source.runner.sample()
    assert source.num_fetches < source.num_sent


def test_who_is_held_is_not_fetched_again() -> None:
    names = {"0": "3", "1": "4"}
    source = Source(mapping=lambda agent, _: names[agent])
    for version in range(3):
        source.update(weights(version, {3: version}))
        source.runner.sample()
    assert (source.num_fetches, source.num_sent) == (1, 2 + 2)
    source.runner.close()


PAIRS = [(number, (number + 3) % NUM_POLICIES) for number in range(NUM_POLICIES)]
MATCHUPS = Matchups([(1.0, {"0": str(one), "1": str(other)}) for one, other in PAIRS])


def test_who_is_known_to_play_next_is_fetched_along() -> None:
    one = EnvRunnerSettings(num_envs_per_env_runner=1, max_policies_per_env_runner=AT_MOST)
    source, everything = (
        Source(settings=one, mapping=MATCHUPS),
        plan(settings=one, mapping=MATCHUPS).make_runner(0, 0),
    )
    num_begun = 1
    for version in range(40):
        source.update(weights(version, dict.fromkeys(range(NUM_POLICIES), version)))
        everything.set_weights(source.newest)
        sampled = source.runner.sample()
        assert_same(sampled, everything.sample())
        num_begun += len(sampled.episodes.lengths)
    assert num_begun > 15
    assert source.num_fetches <= (num_begun + 1) // 2
    source.runner.close()
    everything.close()


def test_a_function_is_asked_of_no_episode_before_it_begins() -> None:
    asked: list[int] = []

    def noted(agent: str, episode: Episode) -> str:
        asked.append(episode.number)
        return draw(agent, episode)

    source = Source(mapping=noted)
    source.update(weights(0, {}))
    num_ended = len(source.runner.sample().episodes.lengths)
    assert len(asked) == 2 * (3 + num_ended)
    source.runner.close()


def test_who_plays_next_and_did_not_come_is_fetched_when_it_plays() -> None:
    wants: list[list[int]] = []

    def fetch(wanted: NDArray[np.int32], _: NDArray[np.int32]) -> Weights:
        wants.append(wanted.tolist())
        return of_policies(weights(0, {}), wanted[wanted != 4])

    fetched = FetchedPolicies(fetch, AT_MOST)
    fetched.play(np.array([2, 3], np.int32), 0, lambda: np.array([4, 6], np.int32))
    assert fetched.held.tolist() == [2, 3, 6]
    with pytest.raises(
        ValueError, match="policy number 4 plays, and version 0 of the weights has none of it"
    ):
        fetched.play(np.array([4, 6], np.int32), 0)
    assert wants == [[2, 3, 4, 6], [4]]


def test_who_begins_after_the_last_step_is_fetched_with_the_next_fragment() -> None:
    def noted(agent: str, episode: Episode) -> str:
        source.happened.append("begins")
        return draw(agent, episode)

    source = Source(num_steps=1, mapping=noted)
    for version in range(60):
        source.update(weights(version, {}))
        source.happened.append("sample")
        source.runner.sample()
    in_order = " ".join(source.happened[source.happened.index("sample", 1) :])
    assert "begins sample fetched" in in_order
    assert "begins fetched" not in in_order
    source.runner.close()


def test_weights_that_came_unasked_are_held_where_all_may_be() -> None:
    source = Source(settings=EnvRunnerSettings(num_envs_per_env_runner=3))
    source.runner.set_weights(source.newest)
    source.runner.sample()
    assert source.num_fetches == 0
    source.runner.close()


def test_an_answer_without_who_plays_is_refused(source: Source) -> None:
    source.update(weights(0, {}))
    source.newest = of_policies(source.newest, np.arange(3, dtype=np.int32))
    with pytest.raises(ValueError, match=r"policy number \d+ plays, and version 0 of the weights has none"):
        source.runner.sample()


def test_a_runner_that_may_hold_fewer_than_play_is_not_made() -> None:
    bound = EnvRunnerSettings(num_envs_per_env_runner=3, max_policies_per_env_runner=5)
    with pytest.raises(ValueError, match="max_policies_per_env_runner is 5"):
        Source(settings=bound)
