"""What happens to sampling on Ray when something is killed, hangs, or raises."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import pytest
import ray
from ray.exceptions import ObjectLostError

from held_steps import Held, kill_in_a_step, processes
from outrider.envrunner import (
    AsyncRunnerFleet,
    EnvironmentSettings,
    EnvironmentsFailedError,
    EnvRunnerSettings,
    RunnerFleet,
    RunnerPlan,
)
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.fleet.ray_runners import RayRunners
from outrider.envrunner.fleet.remote_runners import Failed, Lost, Placed, Ready, RunnerEvent, Sampled
from outrider.envrunner.policies.weights_loading import LostWeightsError
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.transport import FragmentReference, LocalWeights
from outrider.transport.ray_references import RayWeights

pytestmark = pytest.mark.usefixtures("local_ray")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # runners cannot import a test

DEADLINE_S = 60.0
NUM_STEPS = 20


class Broken(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> Any:
        raise OSError("the cable is out")


def plan_of(env: Any, **settings: Any) -> RunnerPlan:
    space = spaces_of(EnvironmentSettings("CartPole-v1"), "sync")
    return RunnerPlan(
        environment=EnvironmentSettings(env),
        settings=EnvRunnerSettings(**settings),
        policy=mlp_graph(*space, num_hidden=8),
        num_steps=NUM_STEPS,
        seed=5,
    )


def held_plan(folder: Path, **settings: Any) -> RunnerPlan:
    return plan_of(lambda: Held(gym.make("CartPole-v1"), folder), **settings)


def runners_of(plan: RunnerPlan, num_runners: int = 1, **options: Any) -> RayRunners:
    return RayRunners(plan, num_runners=num_runners, options=lambda _: {"num_cpus": 0}, **options)


def weights_of(plan: RunnerPlan, version: int) -> LocalWeights:
    return LocalWeights(mlp_weights(plan.policy, version=version))  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE_S:g} s"
        time.sleep(0.01)


def first_observations(fragments: list[FragmentReference]) -> list[Any]:
    return [fragment.load().observations[""][0].tolist() for fragment in fragments]


def events_of(runners: RayRunners) -> list[RunnerEvent]:
    with closing(runners):
        runners.start(0, incarnation=0)
        return placed_and_then(runners)


def placed_and_then(runners: RayRunners) -> list[RunnerEvent]:
    events = runners.events(DEADLINE_S)
    return runners.events(DEADLINE_S) if events == [Placed(0)] else events


@pytest.mark.parametrize(("num_runners", "num_killed"), [(2, 1), (4, 2)])
def test_an_update_goes_on_without_killed_runners_and_they_come_back_with_new_episodes(
    tmp_path: Path, num_runners: int, num_killed: int
) -> None:
    plan = held_plan(tmp_path)
    with closing(RunnerFleet(runners_of(plan, num_runners), plan.settings, num_steps=NUM_STEPS)) as fleet:
        begun = first_observations(fleet.sample(weights_of(plan, 0)))
        killer = kill_in_a_step(tmp_path, of=num_runners, num_killed=num_killed)
        num_survivors = num_runners - num_killed
        assert len(fleet.sample(weights_of(plan, 1))) == num_survivors  # it did not wait for new ones
        killer.join()
        statistics = fleet.statistics()
        assert statistics.num_lost_rows == num_killed * NUM_STEPS
        wait_until(lambda: len(fleet.sample(weights_of(plan, 2))) == num_runners, "the return of all")
        assert fleet.statistics().num_runner_restarts == num_killed
        assert not [
            start for start in first_observations(fleet.sample(weights_of(plan, 3))) if start in begun
        ]


def test_runners_without_pause_go_on_when_one_is_killed(tmp_path: Path) -> None:
    plan = held_plan(tmp_path)
    with closing(AsyncRunnerFleet(runners_of(plan, 2), plan.settings, num_steps=NUM_STEPS)) as fleet:
        fleet.offer(weights_of(plan, 0))
        killer = kill_in_a_step(tmp_path, of=2, num_killed=1)
        wait_until(lambda: bool(fleet.collect(at_most=9, timeout_s=1) and not killer.is_alive()), "the kill")
        environments = set()

        def both_sample() -> bool:
            for fragment in fleet.collect(at_most=9, timeout_s=1):
                environments.update(fragment.load().streams.environment.tolist())
            return environments == {0, 1} and fleet.statistics().num_runner_restarts == 1

        wait_until(both_sample, "the return of the killed runner")
        assert fleet.statistics().num_lost_rows >= NUM_STEPS


def test_a_killed_environment_process_costs_its_own_row_and_no_runner(tmp_path: Path) -> None:
    plan = held_plan(tmp_path, gym_env_vectorize_mode="async", num_envs_per_env_runner=2)
    with closing(RunnerFleet(runners_of(plan), plan.settings, num_steps=NUM_STEPS)) as fleet:
        fleet.sample(weights_of(plan, 0))
        killer = kill_in_a_step(tmp_path, of=2, num_killed=1)
        (fragment,) = fleet.sample(weights_of(plan, 1))
        killer.join()
        assert fragment.summary.statistics.num_lost_rows == 1
        assert fragment.summary.statistics.num_restarts == 1
        assert fleet.statistics().num_runner_restarts == 0


def test_nothing_is_left_running_after_close(tmp_path: Path) -> None:
    plan = held_plan(tmp_path, gym_env_vectorize_mode="async", num_envs_per_env_runner=2)
    runners = runners_of(plan)
    fleet = RunnerFleet(runners, plan.settings, num_steps=NUM_STEPS)
    fleet.sample(weights_of(plan, 0))
    pids = processes(tmp_path)
    pids.append(ray.get(runners._actors[0].handle.__ray_call__.remote(lambda _: os.getpid())))
    fleet.close()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of all processes")


def test_environments_of_a_killed_runner_end_too(tmp_path: Path) -> None:
    plan = held_plan(tmp_path, gym_env_vectorize_mode="async", num_envs_per_env_runner=2)
    runners = runners_of(plan)
    with closing(RunnerFleet(runners, plan.settings, num_steps=NUM_STEPS)) as fleet:
        fleet.sample(weights_of(plan, 0))
        pids = processes(tmp_path)
        os.kill(ray.get(runners._actors[0].handle.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of environments")


def test_an_environment_beyond_repair_stops_the_run_with_its_own_sentence() -> None:
    plan = plan_of(lambda: Broken(gym.make("CartPole-v1")), max_env_restarts=1)
    with closing(RunnerFleet(runners_of(plan), plan.settings, num_steps=NUM_STEPS)) as fleet:
        with pytest.raises(
            EnvironmentsFailedError, match=r"max_env_restarts is 1.*the cable is out"
        ) as raised:
            fleet.sample(weights_of(plan, 0))
        assert "In runner 0:\nTraceback" in raised.value.__notes__[0]


def test_an_environment_that_cannot_be_made_is_no_lost_runner() -> None:
    (event,) = events_of(runners_of(plan_of("Nonexistent-v1")))
    assert isinstance(event, Failed)
    assert isinstance(event.error, ValueError)
    assert "Nonexistent" in str(event.error)


def test_an_environment_that_takes_its_process_with_it_is_a_lost_runner() -> None:
    (event,) = events_of(runners_of(plan_of(lambda: os._exit(3))))
    assert isinstance(event, Lost)
    assert event.reason == "its process is gone"


def test_runners_that_cannot_be_placed_end_the_run_and_say_what_they_wait_for() -> None:
    plan = plan_of("CartPole-v1", runner_start_timeout_s=1)
    options = {"num_cpus": 1, "resources": {"moon": 1}}
    runners = RayRunners(plan, num_runners=2, options=lambda _: options, start_timeout_s=1)
    sentence = (
        r"^no runner could be started\. Of runner 0: it was not ready within runner_start_timeout_s=1, "
        r"because Ray has not placed its process, which waits for 1 CPU and 1 moon; add a node"
    )
    with (
        closing(RunnerFleet(runners, plan.settings, num_steps=NUM_STEPS)) as fleet,
        pytest.raises(TimeoutError, match=sentence),
    ):
        fleet.sample(weights_of(plan, 0))


def test_the_others_sample_while_a_runner_waits_for_room_and_it_joins_when_there_is_some() -> None:
    plan = plan_of("CartPole-v1")
    cpus = ray.cluster_resources()["CPU"]  # type: ignore[no-untyped-call]
    other_run = ray.remote(lambda: time.sleep(DEADLINE_S)).options(num_cpus=cpus, max_retries=0).remote()
    available: Any = ray.available_resources
    wait_until(lambda: not available().get("CPU"), "the other run")
    runners = RayRunners(plan, num_runners=2, options=lambda index: {"num_cpus": index})
    with closing(AsyncRunnerFleet(runners, plan.settings, num_steps=NUM_STEPS)) as fleet:
        fleet.offer(weights_of(plan, 0))
        wait_until(lambda: bool(fleet.collect(at_most=1, timeout_s=1)), "a fragment")
        runners._actors[1].start_deadline = time.monotonic()  # it is over
        assert fleet.collect(at_most=9, timeout_s=1)
        assert runners._actors[1].start_deadline == math.inf
        ray.cancel(other_run, force=True)
        wait_until(
            lambda: bool(fleet.collect(at_most=9, timeout_s=1)) and fleet.statistics().num_runners == 2,
            "room",
        )
        assert fleet.statistics().num_runner_restarts == 0


def test_an_environment_that_is_never_made_says_so() -> None:
    runners = runners_of(plan_of(lambda: time.sleep(DEADLINE_S)))
    with closing(runners):
        runners.start(0, incarnation=0)
        wait_until(
            lambda: not runners.events(0.1) and runners._actors[0].calls[0].method == "make", "a handshake"
        )
        runners._actors[0].start_deadline = time.monotonic()  # it is over
        (event,) = runners.events(DEADLINE_S)
    assert isinstance(event, Lost)
    assert "within runner_start_timeout_s=60, because it is still making its environments" in event.reason


def test_an_option_that_ray_refuses_is_an_error_of_the_settings() -> None:
    runners = RayRunners(plan_of("CartPole-v1"), num_runners=1, options=lambda _: {"num_cpus": -1})
    (event,) = events_of(runners)
    assert isinstance(event, Failed)
    assert "runner 0 cannot be started" in str(event.error)


def test_a_runner_that_was_killed_while_idle_is_noticed_at_the_next_request() -> None:
    runners = runners_of(plan_of("CartPole-v1"))
    with closing(runners):
        runners.start(0, incarnation=0)
        assert placed_and_then(runners) == [Ready(0)]
        runners._actors[0].handle.__ray_call__.remote(lambda _: os._exit(1))
        runners.ask(0, weights_of(plan_of("CartPole-v1"), 0))
        (event,) = runners.events(DEADLINE_S)
        assert isinstance(event, Lost)
        with pytest.raises(ConnectionError, match="runner 0 is not up"):
            runners.get_state(0, 1.0)


@ray.remote(num_cpus=0)
def gone() -> None:
    """Leave an object behind that is as lost as with its node."""
    raise ObjectLostError("ab" * 28, None, "")


def test_weights_without_which_a_runner_could_not_begin_are_told_once_to_who_asks_with_them() -> None:
    plan = plan_of("CartPole-v1")
    lost = RayWeights(gone.remote(), 3)
    with closing(runners_of(plan)) as runners:
        runners.start(0, incarnation=0)
        assert placed_and_then(runners) == [Ready(0)]
        runners.ask(0, lost)
        (event,) = runners.events(DEADLINE_S)
        assert isinstance(event, Lost)
        assert event.reason.startswith("it has no weights to begin with: version 3 of the weights is gone")
        runners.start(0, incarnation=1)
        assert placed_and_then(runners) == [Ready(0)]
        with pytest.raises(LostWeightsError, match="version 3 of the weights is gone"):
            runners.ask(0, lost)
        runners.ask(0, weights_of(plan, 4))
        (event,) = runners.events(DEADLINE_S)
        assert isinstance(event, Sampled)
        assert event.fragment.summary.policy_version == 4
