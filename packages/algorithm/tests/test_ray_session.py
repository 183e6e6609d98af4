"""Connecting to Ray; what needs a real one is in the integration tests."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from outrider.algorithm.cluster.demand import demand_of
from outrider.algorithm.cluster.ray_session import RaySession, _say_once
from outrider.algorithm.settings.resource_settings import ResourceSettings
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings


class SlowRay(ModuleType):
    """A Ray whose processes do not come up in time."""

    has_shut_down = False

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: object) -> None:
        raise Exception("the node timed out\nduring startup")  # noqa: TRY002 - as Ray does

    def shutdown(self) -> None:
        self.has_shut_down = True


def test_a_ray_that_does_not_start_is_one_sentence_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = SlowRay("ray")
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr("outrider.algorithm.cluster.ray_session.check_ray_version", lambda: None)
    demand = demand_of(EnvRunnerSettings(num_env_runners=1), LearnerGroupSettings(), num_learners=0)
    with pytest.raises(
        ValueError, match=r"^Ray did not start on this machine: the node timed out during startup$"
    ):
        RaySession.join(ResourceSettings(ray_address="local"), demand)
    assert ray.has_shut_down


def test_that_processes_share_cores_is_said_once_by_a_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SlowRay("ray"))
    monkeypatch.setattr("outrider.algorithm.cluster.ray_session.check_ray_version", lambda: None)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    _say_once.cache_clear()
    demand = demand_of(EnvRunnerSettings(num_env_runners=3), LearnerGroupSettings(), num_learners=0)
    for _ in range(2):
        with pytest.raises(ValueError, match="did not start"):
            RaySession.join(ResourceSettings(ray_address="local"), demand)
    assert [record.getMessage() for record in caplog.records] == [
        "3 processes share the 2 cores of this machine"
    ]
