"""Runners that act together act as they would alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner import OnnxPolicy
from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.envrunner.policies.batched_policy import BatchedPolicy, Member
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.wire import BoxSpace, Columns, DiscreteSpace

LONG_S = 30.0
GRAPH = mlp_graph(
    BoxSpace(low=np.full(4, -1, np.float32), high=np.full(4, 1, np.float32)),
    DiscreteSpace(num_values=2),
    num_hidden=8,
)


class CountedPolicy:
    """Notes how many rows each call had."""

    def __init__(self) -> None:
        self._policy = OnnxPolicy(GRAPH)
        self.num_rows: list[int] = []
        self.state_spec = self._policy.state_spec
        self.set_weights = self._policy.set_weights

    def act(self, observations: Columns, state: Columns) -> Any:
        self.num_rows.append(len(observations[""]))
        return self._policy.act(observations, state)


def batched(num_members: int, *, delay_s: float) -> tuple[list[CountedPolicy], list[Member]]:
    policies: list[CountedPolicy] = []

    def make() -> ActingPolicy:
        policies.append(CountedPolicy())
        return policies[-1]

    together = BatchedPolicy(make, delay_s=delay_s)
    assert together.state_spec == {}  # which makes the first policy
    return policies, [together.member() for _ in range(num_members)]


def observations_of(member: int, num_rows: int = 3) -> Columns:
    return {"": np.random.default_rng(member).normal(size=(num_rows, 4)).astype(np.float32)}


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result(LONG_S) for future in [threads.submit(call) for call in calls]]


def act(member: Member, columns: Columns) -> NDArray[np.float32]:
    return member.act(columns, {})[0]


def test_all_who_sample_are_answered_by_one_call_and_as_they_would_be_alone() -> None:
    (policy,), members = batched(5, delay_s=LONG_S)
    alone = OnnxPolicy(GRAPH)
    alone.set_weights(mlp_weights(GRAPH))
    with ExitStack() as sampling:
        for member in members:
            member.set_weights(mlp_weights(GRAPH))
            sampling.enter_context(member.sampling())
        columns = [observations_of(index, num_rows=index + 1) for index in range(5)]
        calls = [lambda m=m, c=c: act(m, c) for m, c in zip(members, columns, strict=True)]
        answers = at_once(calls)  # would take LONG_S if it waited for anybody else
    assert policy.num_rows == [1 + 2 + 3 + 4 + 5]
    for answer, column in zip(answers, columns, strict=True):
        np.testing.assert_allclose(answer, alone.act(column, {})[0], atol=1e-6)


def test_one_that_does_not_come_is_waited_for_no_longer_than_the_delay() -> None:
    (policy,), (here, away) = batched(2, delay_s=0.001)
    for member in (here, away):
        member.set_weights(mlp_weights(GRAPH))
    with here.sampling(), away.sampling():
        act(here, observations_of(0))
    assert policy.num_rows == [3]


def test_a_call_goes_when_the_last_one_that_it_waits_for_stops_sampling() -> None:
    (policy,), (here, away) = batched(2, delay_s=LONG_S)
    for member in (here, away):
        member.set_weights(mlp_weights(GRAPH))
    with ThreadPoolExecutor(1) as thread, here.sampling():
        with away.sampling():
            waiting = thread.submit(act, here, observations_of(0))
            assert not policy.num_rows
        waiting.result(LONG_S)
    assert policy.num_rows == [3]


def test_members_with_newer_weights_are_not_mixed_with_the_others() -> None:
    policies, (old, new) = batched(2, delay_s=LONG_S)
    old.set_weights(mlp_weights(GRAPH, version=0, seed=0))
    new.set_weights(mlp_weights(GRAPH, version=1, seed=1))
    with old.sampling(), new.sampling():
        first, second = at_once([lambda m=m: act(m, observations_of(0)) for m in (old, new)])
    assert len(policies) == 2
    assert not np.allclose(first, second)


def test_a_policy_that_nobody_uses_takes_the_next_weights() -> None:
    policies, (member,) = batched(1, delay_s=LONG_S)
    for version in range(5):
        member.set_weights(mlp_weights(GRAPH, version=version, seed=version))
    assert len(policies) <= 2


def test_other_weights_of_the_same_version_are_told_apart() -> None:
    _, (one, other) = batched(2, delay_s=0.0)
    one.set_weights(mlp_weights(GRAPH, version=3, seed=0))
    other.set_weights(mlp_weights(GRAPH, version=3, seed=1))
    assert not np.allclose(act(one, observations_of(0)), act(other, observations_of(0)))


def test_equal_weights_of_the_same_version_share_a_policy() -> None:
    policies, members = batched(2, delay_s=0.0)
    for member in members:
        member.set_weights(mlp_weights(GRAPH, version=3))
    assert len(policies) == 1


def test_weights_that_do_not_fit_leave_a_member_with_its_own() -> None:
    _, (member,) = batched(1, delay_s=0.0)
    member.set_weights(mlp_weights(GRAPH))
    before = act(member, observations_of(0)).copy()
    with pytest.raises(ValueError, match="fit module"):
        member.set_weights(mlp_weights(mlp_graph(GRAPH.observation_space, GRAPH.action_space, num_hidden=4)))
    np.testing.assert_array_equal(act(member, observations_of(0)), before)


def test_an_error_of_the_policy_reaches_everyone_who_waits() -> None:
    _, members = batched(2, delay_s=LONG_S)
    with ExitStack() as sampling:
        for member in members:
            member.set_weights(mlp_weights(GRAPH))
            sampling.enter_context(member.sampling())
        wrong = {"": np.zeros((3, 7), np.float32)}
        errors = at_once([lambda m=m: _error(lambda: act(m, wrong)) for m in members])
    assert all(isinstance(error, ValueError) for error in errors)


def test_many_members_in_step_share_every_call() -> None:
    (policy,), members = batched(4, delay_s=LONG_S)
    started = threading.Barrier(4)

    def sample(index: int) -> None:
        with members[index].sampling():
            started.wait(LONG_S)
            for _ in range(50):
                act(members[index], observations_of(index))
            started.wait(LONG_S)

    for member in members:
        member.set_weights(mlp_weights(GRAPH))
    at_once([lambda i=i: sample(i) for i in range(4)])
    assert policy.num_rows == [12] * 50


def _error(call: Callable[[], Any]) -> Exception | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - looked at by the caller
        return error
    return None
