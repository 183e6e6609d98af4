"""`outrider-learner` as real processes: what it learns, and what is lost with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from learner_process import COMMAND, Service, running, running_two_ranks
from outrider.learner import (
    APPOSettings,
    IMPALASettings,
    LearnerGroupSettings,
    LearnerPlan,
    LocalAsyncLearnerGroup,
    LocalLearnerGroup,
    OneRank,
    PPOSettings,
    choose_device,
)
from outrider.learner.service.service_async_learners import ServiceAsyncLearnerGroup
from outrider.learner.service.service_learners import ServiceLearnerGroup
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import LocalFragment
from outrider.transport.connection import DialError
from outrider.transport.security import ClientSecurity
from outrider.wire import BoxSpace, DiscreteSpace, EpisodeStatistics, Fragment, Streams

DEADLINE_S = 60.0
PLAIN = ClientSecurity(insecure=True)
SETTINGS = LearnerGroupSettings(
    learner_timeout_s=DEADLINE_S, learner_start_timeout_s=DEADLINE_S, num_updates_between_snapshots=2
)
TRAINING = {
    "ppo": PPOSettings(minibatch_size=1000, num_epochs=2, lr=1e-3),
    "impala": IMPALASettings(),
    "appo": APPOSettings(train_batch_size_per_learner=50),
}


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Service]]:
    with ExitStack() as services:
        yield lambda *flags: services.enter_context(running(*flags))


@pytest.fixture(scope="module")
def alone(start: Callable[..., Service]) -> Service:
    """A learner alone, which tests kill and start again."""
    return start("--health-port", "0")


def plan(algorithm: str = "ppo", **changes: Any) -> LearnerPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(3, -9, np.float32), high=np.full(3, 9, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(16,), normalize_observations=True, normalize_rewards=True),
        seed=3,
    )
    parts: dict[str, Any] = {"training": TRAINING[algorithm], "settings": SETTINGS} | changes
    return LearnerPlan(algorithm=algorithm, policy=recipe, seed=5, **parts)


def fragment(seed: int, lengths: Sequence[int], *, first_environment: int = 0) -> LocalFragment:
    """Make streams of these lengths of a policy that took both actions alike often, and whose rows go on."""
    rng = np.random.default_rng(seed)
    num_rows, num_streams = sum(lengths), len(lengths)
    ended = rng.random(num_rows) < 0.1
    has_next = np.zeros(num_rows, np.bool_)
    has_next[np.cumsum(lengths) - 1] = True
    has_next &= ~ended
    zeros = np.zeros(num_streams, np.int32)
    return LocalFragment(
        Fragment(
            streams=Streams(
                lengths=np.array(lengths),
                policy=zeros,
                environment=np.arange(first_environment, first_environment + num_streams, dtype=np.int32),
                agent=zeros,
            ),
            observations={"": rng.normal(size=(num_rows, 3)).astype(np.float32)},
            actions={"": rng.integers(0, 2, num_rows)},
            rewards=rng.normal(size=num_rows).astype(np.float32),
            terminated=ended,
            truncated=np.zeros(num_rows, np.bool_),
            next_rows=np.flatnonzero(has_next),
            next_observations={"": rng.normal(size=(int(has_next.sum()), 3)).astype(np.float32)},
            action_log_probs=np.full(num_rows, -0.6931472, np.float32),
            policy_version=np.array([0]),
            episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
        )
    )


def update_input(seed: int) -> list[LocalFragment]:
    """Fragments whose streams two ranks can only share unevenly."""
    return [fragment(2 * seed, [40, 7, 23]), fragment(2 * seed + 1, [5, 31], first_environment=3)]


_open: list[Any] = []


@pytest.fixture(autouse=True)
def _leave_the_service_to_the_next_test() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def group_at(service: Service, made: LearnerPlan) -> ServiceLearnerGroup:
    _open.append(ServiceLearnerGroup(made, address=service.address, security=PLAIN))
    group: ServiceLearnerGroup = _open[-1]
    return group


def async_group_at(service: Service, made: LearnerPlan) -> ServiceAsyncLearnerGroup:
    _open.append(ServiceAsyncLearnerGroup(made, address=service.address, security=PLAIN))
    group: ServiceAsyncLearnerGroup = _open[-1]
    return group


def local(algorithm: str) -> Any:
    return plan(algorithm).make_learner(OneRank(), choose_device(LearnerGroupSettings()))


def tensors(group: Any) -> dict[str, Any]:
    return dict(group.publish().load().tensors)


def assert_close(left: dict[str, Any], right: dict[str, Any], tolerance: float) -> None:
    for name, tensor in right.items():
        np.testing.assert_allclose(left[name], tensor, rtol=tolerance, atol=tolerance, err_msg=name)


def learn_one(group: Any, seed: int) -> Any:
    """Let learners that train by themselves make one update, and return the report of it."""
    fragments, deadline = update_input(seed), time.monotonic() + DEADLINE_S
    while group.room < len(fragments) and time.monotonic() < deadline:
        time.sleep(0.001)  # a service tells of room after its report
    group.put(fragments)
    (report,) = group.reports(DEADLINE_S)
    return report


def compare(service: Service, algorithm: str, tolerance: float) -> None:
    there, here = group_at(service, plan(algorithm)), LocalLearnerGroup(local(algorithm))
    for seed in range(5):
        there.update(update_input(seed))
        here.update(update_input(seed))
    assert there.publish().version == 5
    assert_close(tensors(there), tensors(here), tolerance)
    there.close()


def compare_async(service: Service, tolerance: float, *, num_learners: int) -> None:
    training = IMPALASettings(train_batch_size_per_learner=100 // num_learners)
    there = async_group_at(service, plan("impala", training=training))
    here = LocalAsyncLearnerGroup(local("impala"), train_batch_size=100, max_staleness=20, queue_capacity=2)
    for seed in range(5):
        assert learn_one(there, seed).num_rows == learn_one(here, seed).num_rows == 106
    assert_close(tensors(there), tensors(here), tolerance)
    assert there.get_state()["version"] == 5
    there.close()
    here.close()


@pytest.mark.parametrize("algorithm", TRAINING)
def test_an_update_there_equals_an_update_here(alone: Service, algorithm: str) -> None:
    compare(alone, algorithm, 1e-6)


def test_learners_that_train_by_themselves_equal_those_here(alone: Service) -> None:
    compare_async(alone, 1e-6, num_learners=1)


def killed_and_started_again(service: Service, version: int, group: Any) -> threading.Thread:
    """Kill the service once the group is at a version, and start it on the same port."""

    def kill() -> None:
        deadline = time.monotonic() + DEADLINE_S
        while group.publish().version < version and time.monotonic() < deadline:
            time.sleep(0.001)
        service.kill()
        service.start()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_service_killed_in_the_middle_costs_the_updates_since_the_newest_snapshot(
    alone: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="outrider.learner")
    group = group_at(alone, plan())
    killer = killed_and_started_again(alone, 5, group)
    versions: list[int] = []
    while not group.statistics().num_restarts:
        group.update(update_input(len(versions)))
        versions.append(group.publish().version)
    killer.join()
    group.update(update_input(99))
    assert versions == sorted(set(versions))
    assert group.publish().version == versions[-1] + 1
    assert group.statistics().num_restarts == 1
    assert group.statistics().num_lost_updates <= 3  # two between snapshots, and one while it is under way
    assert "to their newest snapshot, because the connection to the learner service ended" in caplog.text


def test_learners_that_train_by_themselves_survive_the_same(alone: Service) -> None:
    group = async_group_at(alone, plan("appo"))
    killer = killed_and_started_again(alone, 5, group)
    seed, versions, num_lost = 0, [0], 0
    deadline = time.monotonic() + DEADLINE_S
    while not (group.statistics().num_restarts and len(versions) > 8) and time.monotonic() < deadline:
        group.put([fragment(seed + each, [30]) for each in range(group.room)])
        seed += 20
        for report in group.reports(0.1):
            versions.append(report.weights.version)
            num_lost += report.num_lost_updates
    killer.join()
    assert versions == sorted(set(versions))
    assert group.statistics().num_restarts == 1
    assert num_lost == group.statistics().num_lost_updates <= 5


def test_a_frozen_service_is_noticed_within_12_s_and_taken_for_lost(
    alone: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="outrider.learner")
    group = group_at(alone, plan())
    group.update(update_input(0))
    began = time.monotonic()
    alone.signal(signal.SIGSTOP)
    thread = threading.Thread(target=group.update, args=(update_input(1),))
    thread.start()
    while "go back by" not in caplog.text and time.monotonic() < began + DEADLINE_S:
        time.sleep(0.05)
    noticed_s = time.monotonic() - began
    alone.kill()
    alone.start()
    thread.join(DEADLINE_S)
    assert noticed_s < 12
    assert group.publish().version > 1


def test_a_service_that_is_told_to_stop_finishes_hands_its_state_over_and_exits_with_0(
    alone: Service,
) -> None:
    there, here = group_at(alone, plan()), LocalLearnerGroup(local("ppo"))
    there.update(update_input(0))
    here.update(update_input(0))
    assert alone.stop() == 0
    alone.start()
    there.update(update_input(1))
    here.update(update_input(1))
    assert there.statistics().num_lost_updates == 0
    assert_close(tensors(there), tensors(here), 1e-6)
    alone.wait_for_line("trains ppo from version 2")
    there.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[Service]:
    with running_two_ranks() as service:
        yield service


def test_two_ranks_under_torchrun_equal_one(pair: Service) -> None:
    for algorithm in TRAINING:
        compare(pair, algorithm, 1e-5)
    compare_async(pair, 1e-5, num_learners=2)


def test_a_rank_that_is_killed_costs_no_more_than_a_service_that_is(pair: Service) -> None:
    group = group_at(pair, plan())
    for seed in range(3):
        group.update(update_input(seed))
    os.kill(pair.pid_of_rank(1), signal.SIGKILL)
    group.update(update_input(3))
    assert group.publish().version == 5
    assert group.statistics().num_restarts == 1
    assert group.statistics().num_lost_updates <= 3
    pair.wait_for_line("a learner of the service was lost: learner 1 is gone")


def test_a_rank_on_ray_equals_a_learner_here(start: Callable[..., Service]) -> None:
    service = start("--num-learners", "1")
    made = plan(settings=LearnerGroupSettings(num_cpus_per_learner=0.5, learner_timeout_s=DEADLINE_S))
    there, here = group_at(service, made), LocalLearnerGroup(local("ppo"))
    for seed in range(3):
        there.update(update_input(seed))
        here.update(update_input(seed))
    assert_close(tensors(there), tensors(here), 1e-5)
    there.close()
    assert service.stop() == 0


def test_a_wrong_token_is_refused_at_once_and_a_right_one_lets_in(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("right\n")
    service = start("--token-file", str(tmp_path / "token"))
    wrong = ClientSecurity(insecure=True, token="wrong")
    with pytest.raises(DialError, match="token"):
        ServiceLearnerGroup(plan(), address=service.address, security=wrong)
    right = ClientSecurity(insecure=True, token="right")
    ServiceLearnerGroup(plan(), address=service.address, security=right).close()
    assert not any("wrong" in line for line in service.lines)


def test_probes_are_answered(alone: Service) -> None:
    port = int([line for line in alone.lines if "health port" in line][-1].rpartition(" ")[2])
    group_at(alone, plan())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=DEADLINE_S) as answer:
        assert answer.read() == b"trains ppo, version 0\n"


def test_a_port_in_use_ends_in_a_sentence(alone: Service) -> None:
    command = [sys.executable, "-m", COMMAND, "--listen", alone.address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert ended.returncode == 2
    assert "Address already in use" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
