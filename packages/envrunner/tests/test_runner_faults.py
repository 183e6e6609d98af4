"""An environment that fails costs the row in flight, and in the end one clear error."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvironmentsFailedError, EnvRunner, EnvRunnerSettings
from outrider.envrunner.environments.async_vector import AsyncVector
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.testing.scripted import ScriptedEnvironment, ScriptedPolicy, scripted_weights
from outrider.wire import Fragment

LONG = {"ends": [(1000, "terminated")]}


def make_runner(
    env: Any = ScriptedEnvironment, env_config: Any = None, num_steps: int = 6, **settings: Any
) -> EnvRunner:
    policy = ScriptedPolicy()
    runner = EnvRunner(
        EnvironmentSettings(env=env, env_config=env_config or {}),
        EnvRunnerSettings(num_envs_per_env_runner=2, **settings),
        policy,
        observation_space=space_from_gymnasium(ScriptedEnvironment().observation_space),
        action_heads=policy.action_heads,
        num_steps=num_steps,
        seed=1,
    )
    runner.set_weights(scripted_weights(0))
    return runner


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def raising(mode: str, at: int, ends: Any = LONG["ends"], **more: Any) -> EnvRunner:
    return make_runner(env_config={"raises_at": at, "ends": ends}, gym_env_vectorize_mode=mode, **more)


def test_an_environment_that_raises_costs_one_row(mode: str) -> None:
    runner = raising(mode, at=4)
    fragment = runner.sample()
    runner.close()
    assert fragment.streams.lengths.tolist() == [5, 5]
    assert (fragment.statistics.num_lost_rows, fragment.statistics.num_restarts) == (2, 2)
    np.testing.assert_array_equal(fragment.observations[""][:5, 2], [0, 1, 2, 0, 1])


def test_the_row_before_a_failure_is_truncated_and_keeps_what_followed() -> None:
    runner = raising("sync", at=4)
    fragment = runner.sample()
    runner.close()
    assert fragment.truncated[:5].tolist() == [False, False, True, False, False]
    assert fragment.next_rows.tolist() == [2, 4, 7, 9]
    np.testing.assert_array_equal(fragment.next_observations[""][:, 2], [3, 2, 3, 2])


def test_an_episode_that_failed_is_not_counted() -> None:
    runner = raising("sync", at=4, ends=[(5, "terminated")], num_steps=4)
    fragments = [runner.sample(), runner.sample()]
    runner.close()
    assert [fragment.episodes.lengths.tolist() for fragment in fragments] == [[], []]


def test_recurrent_state_starts_afresh_in_the_new_copy() -> None:
    runner = raising("sync", at=4, num_steps=4)
    runner.sample()
    fragment = runner.sample()
    runner.close()
    np.testing.assert_array_equal(fragment.streams.state["count"], [[0], [0]])


def test_a_copy_that_fails_leaves_the_others_alone() -> None:
    runner = make_runner(env=fails_once, env_config={"odd_seed_raises_at": 3}, gym_env_vectorize_mode="sync")
    fragment = runner.sample()
    assert sorted(fragment.streams.lengths.tolist()) == [5, 6]


class fails_once(ScriptedEnvironment):  # noqa: N801 - used like a function
    """Raises in the copy whose seed is the first one of this run that it sees odd."""

    def __init__(self, odd_seed_raises_at: int) -> None:
        super().__init__(**LONG)
        self._odd_seed_raises_at = odd_seed_raises_at

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None and seed % 2:
            self._raises_at = self._odd_seed_raises_at
        return super().reset(seed=seed, options=options)


def test_a_failure_is_logged_once_with_its_traceback(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    runner = raising(mode, at=4)
    runner.sample()
    runner.close()
    records = [record for record in caplog.records if record.name == "outrider.envrunner"]
    assert [record.exc_info is not None for record in records] == [True]
    assert "scripted failure at step 4" in caplog.text
    assert "in step" in caplog.text


def test_failing_again_and_again_ends_in_one_clear_error() -> None:
    runner = raising("sync", at=1, max_env_restarts=3)
    with pytest.raises(EnvironmentsFailedError, match=r"failed 4 times .* max_env_restarts is 3") as failure:
        runner.sample()
    runner.close()
    assert "scripted failure" in str(failure.value)


def test_an_episode_that_ends_clears_the_count() -> None:
    runner = raising("sync", at=4, ends=[(2, "terminated")], max_env_restarts=1, num_steps=20)
    assert runner.sample().statistics.num_restarts == 10
    runner.close()


def test_a_native_vector_environment_that_raises_is_rebuilt(caplog: pytest.LogCaptureFixture) -> None:
    runner = make_runner(env=native_that_raises, gym_env_vectorize_mode="vector_entry_point")
    fragment = runner.sample()
    assert fragment.streams.lengths.tolist() == [5, 5]
    assert fragment.truncated.reshape(2, 5)[:, 2].all()
    assert "the vector environment failed" in caplog.text


def native_that_raises(num_envs: int) -> Any:
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    make = functools.partial(ScriptedEnvironment, ends=LONG["ends"], raises_at=4)
    return SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)


@pytest.fixture
def asynchronous() -> Iterator[EnvRunner]:
    runner = make_runner(env_config=LONG, gym_env_vectorize_mode="async")
    yield runner
    runner.close()


def test_a_killed_process_costs_one_row(asynchronous: EnvRunner, caplog: pytest.LogCaptureFixture) -> None:
    asynchronous.sample()
    os.kill(processes(asynchronous)[1], signal.SIGKILL)
    fragment = asynchronous.sample()
    assert fragment.streams.lengths.tolist() == [6, 5]
    assert fragment.statistics.num_restarts == 1
    assert "was killed by SIGKILL" in caplog.text
    assert whole(asynchronous.sample())


def test_a_stopped_process_is_replaced_after_the_timeout() -> None:
    runner = make_runner(env_config=LONG, gym_env_vectorize_mode="async", env_step_timeout_s=0.5)
    runner.sample()
    os.kill(processes(runner)[0], signal.SIGSTOP)
    fragment = runner.sample()
    runner.close()
    assert fragment.streams.lengths.tolist() == [5, 6]


def test_an_environment_that_hangs_is_replaced_after_the_timeout(caplog: pytest.LogCaptureFixture) -> None:
    config = {"hangs_at": 5, **LONG}
    runner = make_runner(env_config=config, gym_env_vectorize_mode="async", env_step_timeout_s=0.5)
    fragment = runner.sample()
    runner.close()
    assert fragment.streams.lengths.tolist() == [5, 5]
    assert "did not answer in time" in caplog.text


def test_processes_end_when_the_runner_is_closed(asynchronous: EnvRunner) -> None:
    started = processes(asynchronous)
    asynchronous.close()
    for process in started:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def processes(runner: EnvRunner) -> list[int]:
    vector = runner._running.vector
    assert isinstance(vector, AsyncVector)
    return vector.process_ids


def whole(fragment: Fragment) -> bool:
    return fragment.streams.lengths.tolist() == [6, 6] and fragment.statistics.num_lost_rows == 0


def test_an_environment_that_cannot_be_made_in_its_process_says_so() -> None:
    with pytest.raises(ValueError, match="env_config has 'nonsense'"):
        make_runner(env_config={"nonsense": 1}, gym_env_vectorize_mode="async")


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="outrider.envrunner")


class FailsToReset(ScriptedEnvironment):
    """Fails at its first reset without a seed, which is the one after its first episode."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is None:
            raise ArithmeticError("scripted failure in reset")
        return super().reset(seed=seed, options=options)


def two_that_fail_to_reset(num_envs: int) -> Any:
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    make = [
        functools.partial(FailsToReset, ends=[(3, "terminated")]),
        functools.partial(FailsToReset, ends=[(100, "terminated")]),
    ]
    return SyncVectorEnv(make, autoreset_mode=AutoresetMode.DISABLED)


def test_a_reset_that_fails_truncates_the_episodes_of_the_others() -> None:
    runner = make_runner(env=two_that_fail_to_reset, gym_env_vectorize_mode="vector_entry_point", num_steps=4)
    fragment = runner.sample()
    assert fragment.streams.lengths.tolist() == [4, 4]
    assert fragment.terminated.reshape(2, 4)[0].tolist() == [False, False, True, False]
    assert fragment.truncated.reshape(2, 4)[1].tolist() == [False, False, True, False]
    assert fragment.episodes.lengths.tolist() == [3]
    np.testing.assert_array_equal(fragment.observations[""][:, 2], [0, 1, 2, 0, 0, 1, 2, 0])
    np.testing.assert_array_equal(fragment.next_observations[""][:, 2], [1, 3, 1])


def test_after_an_interrupt_new_copies_go_on_and_nothing_counts_as_failed(
    asynchronous: EnvRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> Any:
        raise KeyboardInterrupt

    asynchronous.sample()
    vector = asynchronous._running.vector
    assert isinstance(vector, AsyncVector)
    monkeypatch.setattr(vector._processes[1], "answer", interrupt)
    with pytest.raises(KeyboardInterrupt):
        asynchronous.sample()
    fragment = asynchronous.sample()
    assert whole(fragment)
    assert fragment.statistics.num_restarts == 0
    assert (fragment.observations[""][[0, 6], 2] == 0).all()


class FailsToClose(ScriptedEnvironment):
    """Raises when it is closed."""

    num_closed = 0

    def close(self) -> None:
        FailsToClose.num_closed += 1
        raise OSError("the door is stuck")


def test_a_copy_that_fails_to_close_is_logged_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailsToClose, "num_closed", 0)
    make_runner(env=FailsToClose).close()
    assert FailsToClose.num_closed == 2
    assert "the door is stuck" in caplog.text


def test_copies_are_closed_where_a_later_one_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FailsToClose, "num_closed", 0)
    copies = iter([FailsToClose()])

    def make() -> Any:
        return next(copies)

    with pytest.raises(ValueError, match="could not be made"):
        make_runner(env=make)
    assert FailsToClose.num_closed == 1
