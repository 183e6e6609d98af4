"""Runners as Ray actors: the suites for pools, and what crosses between the two sides."""

from __future__ import annotations

import os
import pickle
import pickletools
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pickle import PickleBuffer
from typing import Any, Never
from urllib.request import urlopen

import numpy as np
import pytest
import ray
from ray._private.internal_api import memory_summary
from ray._raylet import SubBuffer
from ray.actor import ActorMethod
from ray.experimental import internal_kv

from outrider.envrunner import AsyncRunnerFleet, RunnerFleet
from outrider.envrunner.fleet.ray_policy_source import GivenWeights
from outrider.envrunner.fleet.ray_runner_actor import RunnerProcess
from outrider.envrunner.fleet.ray_runners import RayRunners
from outrider.envrunner.fleet.remote_runners import Placed, Ready, Sampled
from outrider.testing.async_runner_pool_conformance import AsyncRunnerPoolConformance
from outrider.testing.runner_pool_conformance import (
    PoolSetup,
    RunnerPoolConformance,
    assert_same_fragments,
    local_pool,
    pool_setup,
    weights_of,
)
from outrider.transport import LocalWeights
from outrider.transport.ray_references import RayFragment, put_weights
from outrider.wire import decode_fragment_summary

pytestmark = pytest.mark.usefixtures("local_ray")
DEADLINE_S = 60.0


def no_cpus(index: int) -> dict[str, Any]:
    return {"num_cpus": 0}


def ray_runners(setup: PoolSetup, *, num_runners: int = 2) -> RayRunners:
    return RayRunners(setup.plan, num_runners=num_runners, options=no_cpus)


def fleet_of(setup: PoolSetup, *, num_runners: int = 2) -> RunnerFleet:
    remote = ray_runners(setup, num_runners=num_runners)
    return RunnerFleet(remote, setup.settings, num_steps=setup.num_steps)


IMPLIED = (
    "test_fragments_are_well_formed",
    "test_fragments_come_in_the_order_of_their_environments",
    "test_every_fragment_says_which_version_acted",
    "test_the_same_version_again_is_fine",
    "test_fragments_go_on_where_the_last_ones_ended",
    "test_the_same_seed_gives_the_same_fragments",
    "test_another_seed_gives_other_fragments",
    "test_a_pool_that_samples_ahead_lags_by_one_update",
)
"""What a local pool obeys, and so a fleet whose fragments are those of a local pool, bit for bit."""


class TestFleetOnRay(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> RunnerFleet:
        return fleet_of(setup, num_runners=1)


for implied in IMPLIED:
    setattr(TestFleetOnRay, implied, None)


class TestAsyncFleetOnRay(AsyncRunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> AsyncRunnerFleet:
        return AsyncRunnerFleet(ray_runners(setup, num_runners=1), setup.settings, num_steps=setup.num_steps)


@pytest.fixture
def fleet() -> Iterator[RunnerFleet]:
    with closing(fleet_of(pool_setup())) as fleet:
        yield fleet


def weights(version: int) -> LocalWeights:
    return LocalWeights(weights_of(pool_setup(), version))


def in_actor(runners: RayRunners, ask: Callable[[Any], Any]) -> Any:
    """Call a function in the process of runner 0."""
    return ray.get(runners._actors[0].handle.__ray_call__.remote(ask), timeout=DEADLINE_S)


def started(runners: RayRunners) -> RayRunners:
    for index in range(runners.num_runners):
        runners.start(index, incarnation=0)
    num_ready = 0
    while num_ready < runners.num_runners:
        events = runners.events(DEADLINE_S)
        assert events
        assert {type(event) for event in events} <= {Placed, Ready}
        num_ready += sum(isinstance(event, Ready) for event in events)
    return runners


def test_two_runners_on_ray_sample_what_two_runners_here_sample(fleet: RunnerFleet) -> None:
    with closing(local_pool(pool_setup(), num_runners=2)) as local:
        for version in range(5):
            expected = [fragment.load() for fragment in local.sample(weights(version))]
            assert_same_fragments(expected, [fragment.load() for fragment in fleet.sample(weights(version))])


def test_the_driver_loads_no_fragment(fleet: RunnerFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: RayFragment) -> Never:
        raise AssertionError("the driver loads a fragment")

    monkeypatch.setattr(RayFragment, "load", load)
    for version in range(3):
        for fragment in fleet.sample(weights(version)):
            assert isinstance(fragment, RayFragment)
            assert (fragment.summary.num_rows, fragment.summary.policy_version) == (60, version)


def test_only_plain_values_bytes_and_buffers_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    crossed: list[Any] = []
    call, get = ActorMethod._remote, ray.get

    def calling(self: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        crossed.append([list(args), dict(kwargs or {})])
        return call(self, args, kwargs, **options)

    def getting(refs: Any, **options: Any) -> Any:
        crossed.append(get(refs, **options))
        return crossed[-1]

    monkeypatch.setattr(ActorMethod, "_remote", calling)
    monkeypatch.setattr(ray, "get", getting)
    setup = pool_setup()
    with closing(started(ray_runners(setup, num_runners=1))) as runners:
        runners.ask(0, weights(0))
        (sampled,) = runners.events(DEADLINE_S)
        assert isinstance(sampled, Sampled)
        assert isinstance(sampled.fragment, RayFragment)
        runners.set_state(0, runners.get_state(0, DEADLINE_S), DEADLINE_S)
        runners.offer(weights(1))
        crossed += [get(runners._plan), get(sampled.fragment.ref)]
        crossed += [get(put.ref) for put in runners._weights._put.values()]
        assert runners._weights._put
    kinds = set(kinds_in(crossed))
    assert kinds <= {
        str,
        int,
        float,
        bool,
        type(None),
        bytes,
        memoryview,
        np.ndarray,
        ray.ObjectRef,
        PickleBuffer,
        SubBuffer,
    }
    assert {str, int, bytes, ray.ObjectRef} <= kinds  # we have seen something


def kinds_in(value: Any) -> Iterator[type]:
    if type(value) is dict:
        for key, entry in value.items():
            yield from kinds_in(key)
            yield from kinds_in(entry)
    elif type(value) in (list, tuple):
        for entry in value:
            yield from kinds_in(entry)
    else:
        yield type(value)


def test_ray_knows_the_actors_class_by_its_name() -> None:
    with closing(started(ray_runners(pool_setup(), num_runners=1))):
        exported = [
            pickle.loads(internal_kv._internal_kv_get(key, namespace="fun"))
            for key in internal_kv._internal_kv_list("ActorClass", namespace="fun")
        ]
    (pickled,) = [entry["class"] for entry in exported if entry["class_name"] == "RunnerActor"]
    words = {argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}
    named = {word for word in words if word.startswith("RunnerActor.")}
    assert named == {f"RunnerActor.{name}" for name in ("__init__", "call", "sample", "offer")}
    assert not words & {"RunnerProcess", "_runner"}  # what these names stand for is not in it


def test_a_runners_process_is_light_and_not_niced() -> None:
    with closing(started(ray_runners(pool_setup(), num_runners=1))) as runners:
        loaded, nice, num_threads = in_actor(
            runners, lambda _: (set(sys.modules), os.nice(0), os.environ["OMP_NUM_THREADS"])
        )
    assert not loaded & {"torch", "outrider.learner", "outrider.rlmodule", "outrider.algorithm"}
    assert (nice, num_threads) == (0, "1")


def test_weights_are_put_once_for_all_runners(fleet: RunnerFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    puts: list[Any] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda value: puts.append(value) or put(value))
    first, second = weights(0), weights(1)
    for reference in (first, first, second):
        fleet.sample(reference)
    assert len(puts) == 2


def test_a_runner_loads_the_newest_offered_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    load = GivenWeights.load
    monkeypatch.setattr(GivenWeights, "load", lambda self: loads.append(self.version) or load(self))
    setup = pool_setup()
    actor = RunnerProcess()
    actor.make(setup.plan.to_message(), 0, 0, "")
    refs = [put_weights(weights(version)).ref for version in range(3)]
    actor.sample(False, 0, [refs[0]])
    actor.offer(2, [refs[2]])
    actor.offer(1, [refs[1]])  # overtaken
    for _ in range(2):
        answer, _ = actor.sample(False, 0, [])
        assert decode_fragment_summary(answer["summary"]).policy_version == 2
    assert loads == [0, 2]
    actor.close()


def test_closing_after_ray_has_ended_starts_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    runners = started(ray_runners(pool_setup(), num_runners=1))
    with monkeypatch.context() as ended:
        ended.setattr(ray, "is_initialized", lambda: False)
        ended.setattr(ray, "kill", lambda _: pytest.fail("a call starts a Ray"))
        runners.close()


def test_the_object_store_forgets_what_nobody_holds(fleet: RunnerFleet) -> None:
    address = ray.get_runtime_context().gcs_address

    def num_objects() -> int:
        return int(re.search(r"(\d+) objects", memory_summary(address, stats_only=True))[1])  # type: ignore[index]

    fleet.sample(weights(0))
    few = num_objects()
    for version in range(1, 20):
        fleet.sample(weights(version))
    deadline = time.monotonic() + DEADLINE_S
    while num_objects() > few + 1:
        assert time.monotonic() < deadline, "objects stay in the store"
        time.sleep(0.1)


def test_runners_show_in_prometheus() -> None:
    expected = {
        "ray_outrider_env_steps_total": "60.0",
        "ray_outrider_fragment_s_count": "1.0",
        "ray_outrider_runner_env_steps_per_s": None,
    }
    runners = RayRunners(pool_setup().plan, num_runners=1, options=no_cpus, run="night")
    metrics_url = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + DEADLINE_S
    with closing(started(runners)):
        runners.ask(0, weights(0))
        runners.events(DEADLINE_S)
        found: dict[str, str] = {}
        while not expected.keys() <= found.keys():
            assert time.monotonic() < deadline, f"only {found} showed up"
            time.sleep(0.1)
            # Nobody waits until Ray's agent listens.
            with suppress(OSError), urlopen(metrics_url, timeout=DEADLINE_S) as page:
                lines = [line for line in page.read().decode().splitlines() if 'run="night"' in line]
                assert all('runner="0"' in line for line in lines)
                found = {line.partition("{")[0]: line.rpartition(" ")[2] for line in lines}
    assert {name: found[name] for name, value in expected.items() if value} == {
        name: value for name, value in expected.items() if value
    }
