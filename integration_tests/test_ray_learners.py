"""Learner ranks as real Ray actors learn what one process learns, and survive what happens to processes."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import ObjectLostError

from outrider.learner import (
    LearnerGroupSettings,
    LearnerPlan,
    LocalLearnerGroup,
    OneRank,
    PPOSettings,
    UpdateReport,
    choose_device,
)
from outrider.learner.groups.rank_error import LostRankError
from outrider.learner.ray_groups.ray_async_learners import RayAsyncLearnerGroup
from outrider.learner.ray_groups.ray_learners import RayLearnerGroup
from outrider.learner.ray_groups.ray_ranks import RayRanks, raise_cause
from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.impala_settings import IMPALASettings
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import FragmentReference, LocalFragment
from outrider.transport.ray_references import RayFragment, RayWeights
from outrider.wire import BoxSpace, DiscreteSpace, EpisodeStatistics, Fragment, Streams, take_streams

pytestmark = pytest.mark.usefixtures("local_ray")
DEADLINE_S = 60.0
SETTINGS = LearnerGroupSettings(
    num_learners=2,
    num_cpus_per_learner=0,
    learner_timeout_s=DEADLINE_S,
    learner_start_timeout_s=DEADLINE_S,
    num_updates_between_snapshots=2,
)
TRAINING = {
    "ppo": PPOSettings(minibatch_size=1000, num_epochs=2, lr=1e-3),
    "impala": IMPALASettings(minibatch_size=None),
    "appo": APPOSettings(minibatch_size=None),
}


@pytest.fixture(autouse=True)
def _the_driver_loads_no_fragment(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: RayFragment, **_: Any) -> Fragment:
        raise AssertionError("the driver loaded a fragment")

    monkeypatch.setattr(RayFragment, "load", refuse)


def plan(algorithm: str = "ppo", **changes: Any) -> LearnerPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(3, -9, np.float32), high=np.full(3, 9, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(16,), normalize_observations=True, normalize_rewards=True),
        seed=3,
    )
    settings = {"training": TRAINING[algorithm], "settings": SETTINGS} | changes
    return LearnerPlan(algorithm=algorithm, policy=recipe, seed=5, **settings)


def fragment(seed: int, lengths: Sequence[int], *, version: int = 0, first_environment: int = 0) -> Fragment:
    """Make streams of these lengths of a policy that took both actions alike often."""
    rng = np.random.default_rng(seed)
    num_rows, num_streams = sum(lengths), len(lengths)
    ended = rng.random(num_rows) < 0.1
    terminated = ended & (rng.random(num_rows) < 0.5)
    has_next = ended & ~terminated
    last = np.cumsum(lengths) - 1
    has_next[last] |= ~terminated[last]
    zeros = np.zeros(num_streams, np.int32)
    return Fragment(
        streams=Streams(
            lengths=np.array(lengths),
            policy=zeros,
            environment=np.arange(first_environment, first_environment + num_streams, dtype=np.int32),
            agent=zeros,
        ),
        observations={"": rng.normal(size=(num_rows, 3)).astype(np.float32)},
        actions={"": rng.integers(0, 2, num_rows)},
        rewards=rng.normal(size=num_rows).astype(np.float32),
        terminated=terminated,
        truncated=ended & ~terminated,
        next_rows=np.flatnonzero(has_next),
        next_observations={"": rng.normal(size=(int(has_next.sum()), 3)).astype(np.float32)},
        action_log_probs=np.full(num_rows, -0.6931472, np.float32),
        policy_version=np.array([version]),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


def update_input(number: int) -> list[Fragment]:
    """Fragments whose streams two ranks can only share unevenly."""
    return [fragment(2 * number, [40, 7, 23]), fragment(2 * number + 1, [5, 31], first_environment=3)]


def learn(group: Any, numbers: Sequence[int]) -> None:
    for number in numbers:
        group.update([LocalFragment(each) for each in update_input(number)])


def no_options(rank: int) -> dict[str, Any]:
    return {"num_cpus": 0}


def rank_processes(method: str = "") -> set[int]:
    """Return the processes of our ranks; with `method`, of those that are in it, as their title says."""
    title = f"ray::RankActor{'.' * bool(method)}{method}".encode()
    found = set()
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (directory / "cmdline").read_bytes().startswith(title):
                process = int(directory.name)
                if _parent(_parent(process)) == os.getpid():
                    found.add(process)
    return found


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tensors(group: Any) -> dict[str, Any]:
    return dict(group.publish().load().tensors)


def assert_close(left: dict[str, Any], right: dict[str, Any]) -> None:
    for name, tensor in right.items():
        np.testing.assert_allclose(left[name], tensor, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def pair(local_ray: None) -> Iterator[RayLearnerGroup]:
    group = RayLearnerGroup(plan(), num_learners=2, options=no_options)
    yield group
    group.close()
    group.close()
    wait_until(lambda: not rank_processes())


@pytest.fixture
def fresh(pair: RayLearnerGroup) -> RayLearnerGroup:
    """Two ranks of PPO that have learned nothing."""
    local = plan().make_learner(OneRank(), choose_device(LearnerGroupSettings()))
    pair.set_state(local.get_state())
    return pair


def locally(made: LearnerPlan, numbers: Sequence[int]) -> dict[str, Any]:
    """Return the weights of one learner in this process."""
    local = LocalLearnerGroup(made.make_learner(OneRank(), choose_device(LearnerGroupSettings())))
    learn(local, numbers)
    return tensors(local)


def test_two_ranks_with_ragged_shards_equal_a_local_learner(fresh: RayLearnerGroup) -> None:
    learn(fresh, range(10))
    assert isinstance(fresh.publish(), RayWeights)
    assert fresh.publish().version == 10
    assert_close(tensors(fresh), locally(plan(), range(10)))


@pytest.mark.parametrize(("algorithm", "num_learners"), [("impala", 2), ("appo", 2), ("ppo", 1)])
def test_ranks_of_every_algorithm_equal_a_local_learner(algorithm: str, num_learners: int) -> None:
    group = RayLearnerGroup(plan(algorithm), num_learners=num_learners, options=no_options)
    learn(group, range(10))
    assert_close(tensors(group), locally(plan(algorithm), range(10)))
    group.close()


def test_resumed_ranks_go_on_as_if_they_had_never_stopped(fresh: RayLearnerGroup) -> None:
    learn(fresh, range(3))
    state = fresh.get_state()
    learn(fresh, range(3, 6))
    expected = tensors(fresh)
    fresh.set_state(state)
    assert fresh.publish().version == 3
    learn(fresh, range(3, 6))
    for name, tensor in tensors(fresh).items():
        np.testing.assert_array_equal(tensor, expected[name])


def test_a_rank_killed_in_an_update_costs_the_updates_since_the_newest_snapshot(
    fresh: RayLearnerGroup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="outrider.learner")
    learn(fresh, range(5))
    processes = sorted(rank_processes())
    os.kill(processes[1], signal.SIGSTOP)
    update = threading.Thread(target=learn, args=(fresh, [5]))
    update.start()
    wait_until(lambda: processes[0] in rank_processes("call_with_weights"))
    os.kill(processes[1], signal.SIGKILL)
    update.join(DEADLINE_S)
    assert fresh.publish().version > 5
    assert fresh.statistics().num_restarts == 1
    assert 0 < fresh.statistics().num_lost_updates <= 4
    assert len([each for each in caplog.records if each.name.startswith("outrider")]) == 2
    assert "go back by" in caplog.text
    wait_until(lambda: not set(processes) & rank_processes())
    learn(fresh, [6])


def test_an_update_is_left_out_where_its_fragments_went_with_a_rank(
    fresh: RayLearnerGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fresh.publish().version
    held = [LocalFragment(each) for each in update_input(0)]
    killed = max(rank_processes())

    def gone(self: RayRanks, fragments: Sequence[FragmentReference]) -> list[RayFragment]:
        return []

    monkeypatch.setattr(RayRanks, "still_there", gone)
    os.kill(killed, signal.SIGKILL)
    assert fresh.update(held) == {}
    assert fresh.statistics().num_lost_rows == sum(each.summary.num_rows for each in held)
    assert fresh.publish().version > before
    learn(fresh, [1])


@ray.remote(num_cpus=0)
def gone() -> None:
    """Leave an object behind that is as lost as with its node, to who asks for it and who is handed it."""
    raise ObjectLostError("ab" * 28, None, "")


def test_a_fragment_that_went_with_its_node_is_left_out_and_counted_and_ranks_live(
    fresh: RayLearnerGroup, caplog: pytest.LogCaptureFixture
) -> None:
    processes, before = rank_processes(), fresh.statistics()
    there, other = (LocalFragment(each) for each in update_input(0))
    lost, lost_too = (RayFragment(gone.remote(), other.summary) for _ in range(2))
    assert fresh.update([there, lost])["num_env_steps_trained"] == there.summary.num_rows
    assert fresh.update([lost_too]) == {}
    assert fresh.statistics() == replace(
        before, num_lost_rows=before.num_lost_rows + 2 * other.summary.num_rows
    )
    assert rank_processes() == processes
    assert fresh.publish().version == 1
    assert "too few of its fragments are left" in caplog.text


def test_an_update_of_fewer_streams_than_learners_is_left_out_and_counted(fresh: RayLearnerGroup) -> None:
    """As where a runner was lost, and the others delivered: the run goes on."""
    before = fresh.statistics()
    (held, *_) = update_input(0)
    one = LocalFragment(take_streams(held, 0, 1))
    assert fresh.update([one]) == {}
    assert fresh.statistics() == replace(before, num_lost_rows=before.num_lost_rows + one.summary.num_rows)
    learn(fresh, [1])


def test_ranks_that_die_while_fragments_are_looked_for_are_made_anew(
    fresh: RayLearnerGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, num_restarts = RayRanks.still_there, fresh.statistics().num_restarts

    def die_and_look(self: RayRanks, fragments: Sequence[FragmentReference]) -> list[RayFragment]:
        monkeypatch.setattr(RayRanks, "still_there", look)
        for process in rank_processes():
            os.kill(process, signal.SIGKILL)
        return look(self, fragments)

    monkeypatch.setattr(RayRanks, "still_there", die_and_look)
    lost = RayFragment(gone.remote(), LocalFragment(update_input(0)[0]).summary)
    assert fresh.update([lost]) == {}
    assert fresh.statistics().num_restarts == num_restarts + 1
    learn(fresh, [1])


def test_what_ranks_went_back_to_for_a_state_is_published(fresh: RayLearnerGroup) -> None:
    learn(fresh, [0])
    os.kill(max(rank_processes()), signal.SIGKILL)
    state = fresh.get_state()
    assert state["version"] == fresh.publish().version > 1


def test_a_fragment_that_went_with_a_rank_is_not_why_the_rank_was_lost() -> None:
    with pytest.raises(LostRankError, match="a sum failed"):
        raise_cause(LostRankError("a sum failed"), {gone.remote(): 1})


def test_a_fragment_that_is_found_and_lost_again_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(self: RayRanks, fragments: Sequence[FragmentReference]) -> list[FragmentReference]:
        return list(fragments)

    monkeypatch.setattr(RayRanks, "still_there", find)
    settings = replace(SETTINGS, max_learner_restarts=0)
    group = RayLearnerGroup(plan(settings=settings), num_learners=1, options=no_options)
    lost = RayFragment(gone.remote(), LocalFragment(update_input(0)[0]).summary)
    with pytest.raises(RuntimeError, match=r"found again; max_learner_restarts=0"):
        group.update([lost])
    group.close()


def test_a_learner_that_dies_again_and_again_ends_in_a_sentence() -> None:
    settings = replace(SETTINGS, max_learner_restarts=0)
    before = rank_processes()
    group = RayLearnerGroup(plan(settings=settings), num_learners=1, options=no_options)
    (process,) = rank_processes() - before
    os.kill(process, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"lost 1 times in a row.*max_learner_restarts=0"):
        learn(group, [0])
    group.close()


class AsyncRun:
    """Feeds a group that trains by itself, as a training loop does."""

    def __init__(self) -> None:
        self._others = rank_processes()
        self.group = RayAsyncLearnerGroup(
            plan("impala"),
            num_learners=2,
            options=no_options,
            train_batch_size=100,
            max_staleness=20,
            queue_capacity=2,
        )
        self.reports: list[UpdateReport] = []
        self.num_put = 0

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline
            version = self.group.publish().version
            while self.group.room:
                self.num_put += 1
                made = fragment(self.num_put, [40, 17], version=version)
                self.group.put([LocalFragment(made)])
            self.reports += self.group.reports(0.05)

    @property
    def processes(self) -> set[int]:
        return rank_processes() - self._others

    @property
    def num_updates(self) -> int:
        return sum(report.num_updates for report in self.reports)


@pytest.fixture(scope="module")
def run(pair: RayLearnerGroup) -> Iterator[AsyncRun]:
    run = AsyncRun()
    yield run
    run.group.close()
    wait_until(lambda: not run.processes)


def test_a_state_of_ranks_that_train_by_themselves_is_that_after_all_that_was_put(run: AsyncRun) -> None:
    run.until(lambda: run.num_updates >= 3)
    run.group.learn_what_was_put()
    published = run.group.publish()
    state = run.group.get_state()
    assert state["version"] == published.version
    run.reports += run.group.reports(0)
    assert state["num_updates"] == run.num_updates
    assert state["version"] == run.group.publish().version
    run.group.set_state(state)
    run.until(lambda: run.num_updates >= state["num_updates"] + 2)


def test_ranks_that_train_by_themselves_stay_in_step_and_survive_a_death(run: AsyncRun) -> None:
    done = run.num_updates
    run.until(lambda: run.num_updates >= done + 10)
    before, lost = run.reports[-1], run.processes
    os.kill(max(lost), signal.SIGKILL)
    run.until(lambda: sum(report.num_restarts for report in run.reports) == 1)
    done = run.num_updates
    run.until(lambda: run.num_updates >= done + 10)
    versions = [report.weights.version for report in run.reports]
    assert versions == sorted(set(versions))
    assert before.num_rows >= 100 * before.num_updates
    assert sum(report.num_lost_updates for report in run.reports) <= 4
    wait_until(lambda: not lost & run.processes)


def test_ranks_that_train_by_themselves_leave_out_and_count_what_went_with_its_node(run: AsyncRun) -> None:
    def num_lost() -> tuple[int, int]:
        return sum(each.num_lost_rows for each in run.reports), sum(each.num_restarts for each in run.reports)

    num_rows, num_restarts = num_lost()
    run.until(lambda: run.group.room > 1)
    made = LocalFragment(fragment(0, [6, 4], version=run.group.publish().version))
    run.group.put([RayFragment(gone.remote(), made.summary)])
    run.until(lambda: num_lost() == (num_rows + 10, num_restarts))
    done = run.num_updates
    run.until(lambda: run.num_updates >= done + 3)


def test_an_error_in_a_ranks_background_thread_reaches_the_driver_with_its_traceback(run: AsyncRun) -> None:
    run.until(lambda: run.group.room > 1)
    bad = fragment(0, [40, 17, 60], version=run.group.publish().version)  # now, or it may be too old
    columns, nexts = bad.observations[""][:, :2], bad.next_observations[""][:, :2]
    run.group.put([LocalFragment(replace(bad, observations={"": columns}, next_observations={"": nexts}))])
    with pytest.raises((ValueError, RuntimeError)) as caught:
        run.until(lambda: False)
    assert "learner_loop" in "".join(caught.value.__notes__)
