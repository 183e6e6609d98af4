from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import PPOConfig
from outrider.algorithm.loops.iteration import Iteration, LearnerWork
from outrider.algorithm.loops.shares import shares_of
from outrider.algorithm.loops.totals import NUM_AGES, Totals
from outrider.envrunner import PoolStatistics
from outrider.wire import EpisodeStatistics, FragmentSummary, SamplingStatistics

WAITED = LearnerWork(work_s=0.25, wait_s=0.75)
TWO = PoolStatistics(num_runners=2)


def new_totals(**env_runners: Any) -> Totals:
    return Totals(PPOConfig().environment("CartPole-v1").env_runners(**env_runners).settings)


def summary(total_s: float = 1.0, num_lost_rows: int = 0) -> FragmentSummary:
    """Return a fragment of ten rows; half of its time was in the environment, a quarter in the policy."""
    return FragmentSummary(
        num_rows=10,
        num_streams=1,
        policy_version=0,
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
        statistics=SamplingStatistics(
            environment_s=total_s / 2, policy_s=total_s / 4, total_s=total_s, num_lost_rows=num_lost_rows
        ),
    )


def iteration(
    *,
    summaries: Sequence[FragmentSummary] = (),
    learners: LearnerWork = WAITED,
    runners: PoolStatistics = TWO,
    total_s: float = 1.0,
) -> Iteration:
    return Iteration(summaries=summaries, metrics={}, learners=learners, runners=runners, total_s=total_s)


def test_shares_are_means_over_runners() -> None:
    shares = shares_of([iteration(summaries=[summary(0.8), summary(0.4)])])
    assert (shares.environment, shares.policy) == (pytest.approx(0.3), pytest.approx(0.15))
    assert (shares.runner_work, shares.runner_wait) == (pytest.approx(0.6), pytest.approx(0.4))
    assert (shares.learner_work, shares.learner_wait) == (0.25, 0.75)


def test_a_fragment_begun_before_the_iteration_does_not_work_more_than_there_was_time() -> None:
    shares = shares_of([iteration(summaries=[summary(3.0)])])
    assert (shares.environment, shares.policy, shares.runner_work) == (0.5, 0.25, 1.0)


def test_work_and_waiting_begun_before_the_iteration_are_not_more_than_all_of_it() -> None:
    shares = shares_of([iteration(learners=LearnerWork(work_s=0.5, wait_s=1.5))])
    assert (shares.learner_work, shares.learner_wait) == (0.25, 0.75)


def test_shares_of_several_iterations_weigh_them_by_their_time() -> None:
    one = iteration(learners=LearnerWork(work_s=1.0, wait_s=0.0), total_s=1.0)
    other = iteration(learners=LearnerWork(work_s=0.0, wait_s=3.0), total_s=3.0)
    assert shares_of([one, other]).learner_work == 0.25


def test_where_every_runner_is_down_nobody_works() -> None:
    assert shares_of([iteration(runners=PoolStatistics(num_runners=0))]).runner_work == 0.0


def test_the_seconds_of_sampling_are_means_over_runners_and_the_rest_is_what_nobody_took() -> None:
    result = new_totals().add(iteration(summaries=[summary(0.8), summary(0.4)]))
    assert result["env_steps_per_s"] == 20
    assert (result["environment_s"], result["policy_s"]) == (pytest.approx(0.3), pytest.approx(0.15))
    assert (result["learner_s"], result["rest_s"]) == (0.25, pytest.approx(0.3))


def test_lost_rows_are_those_of_environments_runners_and_nodes() -> None:
    totals = new_totals()
    learners = LearnerWork(work_s=0.25, wait_s=0.75, num_lost_rows=7)
    for num_lost_rows in (100, 100, 300):
        runners = PoolStatistics(num_runners=1, num_runner_restarts=1, num_lost_rows=num_lost_rows)
        summaries = [summary(num_lost_rows=5)]
        result = totals.add(iteration(summaries=summaries, learners=learners, runners=runners))
    assert (result["num_lost_rows"], result["num_runner_restarts"]) == (336, 1)


def test_counts_go_on_after_an_interruption_with_runners_that_count_anew() -> None:
    totals, resumed = new_totals(), new_totals()
    totals.add(iteration(runners=PoolStatistics(num_runners=1, num_late_fragments=3)))
    resumed.set_state(totals.get_state())
    result = resumed.add(iteration(runners=PoolStatistics(num_runners=1, num_late_fragments=2)))
    assert (result["num_late_fragments"], result["num_updates"], result["iteration"]) == (5, 2, 2)


def test_staleness_is_a_histogram_and_its_mean_and_maximum() -> None:
    work = LearnerWork(work_s=1.0, wait_s=0.0, queue_depth=1.5, staleness={0: 2, 3: 2})
    result = new_totals().add(iteration(learners=work))
    assert result["staleness_histogram"] == [2, 0, 0, 2]
    assert (result["staleness_mean"], result["staleness_max"], result["queue_depth"]) == (1.5, 3, 1.5)


def test_the_last_count_of_a_histogram_holds_all_that_are_older() -> None:
    work = LearnerWork(work_s=1.0, wait_s=0.0, staleness={NUM_AGES: 1, 10 * NUM_AGES: 1})
    result = new_totals().add(iteration(learners=work))
    assert result["staleness_histogram"] == [0] * (NUM_AGES - 1) + [2]
    assert result["staleness_max"] == 10 * NUM_AGES


def test_learners_that_take_no_fragments_by_themselves_have_no_staleness() -> None:
    assert "staleness_mean" not in new_totals().add(iteration())
    assert "queue_depth" not in new_totals().add(iteration())


def test_the_bottleneck_is_looked_for_in_the_last_ten_iterations() -> None:
    totals = new_totals(num_env_runners=2)
    learner_waits = iteration(summaries=[summary(1.0), summary(1.0)])
    runners_wait = iteration(summaries=[summary(0.1)], learners=LearnerWork(work_s=1.0, wait_s=0.0))
    assert totals.add(learner_waits)["bottleneck"].startswith("the learner waits 75%")
    for _ in range(10):
        last = totals.add(runners_wait)
    assert last["bottleneck"].startswith("runners wait 95%")


def test_what_farms_did_is_counted_over_interruptions_and_only_where_they_may_connect() -> None:
    runners = PoolStatistics(num_runners=3, num_farm_runners=2, num_joined=5, num_left=3, num_duplicates=1)
    totals = new_totals(num_env_runners=4, listen="127.0.0.1:0")
    result = totals.add(iteration(runners=runners))
    assert (result["num_farm_runners"], result["num_joined"], result["num_left"]) == (2, 5, 3)
    resumed = new_totals(num_env_runners=4, listen="127.0.0.1:0")
    resumed.set_state(totals.get_state())
    again = resumed.add(iteration(runners=PoolStatistics(num_runners=1, num_joined=1, num_refused=2)))
    assert (again["num_joined"], again["num_duplicates"], again["num_refused"]) == (6, 1, 2)
    assert "num_joined" not in new_totals(num_env_runners=4).add(iteration(runners=runners))


def test_a_checkpoint_of_a_release_that_counted_less_can_be_resumed() -> None:
    state = new_totals().get_state()
    del state["counts"]["num_joined"]
    resumed = new_totals(num_env_runners=1, listen="127.0.0.1:0")
    resumed.set_state(state)
    assert resumed.add(iteration())["num_joined"] == 0
