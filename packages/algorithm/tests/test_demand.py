from __future__ import annotations

import pytest

from outrider.algorithm.cluster.demand import demand_of
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings


def test_each_process_reserves_what_its_settings_say() -> None:
    runners = EnvRunnerSettings(
        num_env_runners=3, num_gpus_per_env_runner=0.25, custom_resources_per_env_runner={"simulator": 2}
    )
    demand = demand_of(runners, LearnerGroupSettings(), num_learners=2)
    assert demand.runners.resources == {"CPU": 1.0, "GPU": 0.25, "simulator": 2.0}
    assert demand.learners.resources == {"CPU": 1.0}
    assert (demand.total("CPU"), demand.total("GPU"), demand.total("simulator")) == (5.0, 0.75, 6.0)


def test_gpus_come_first_because_they_are_what_is_missing() -> None:
    runners = EnvRunnerSettings(
        num_env_runners=1, num_gpus_per_env_runner=1, custom_resources_per_env_runner={"simulator": 2}
    )
    demand = demand_of(runners, LearnerGroupSettings(), num_learners=0)
    assert demand.resources() == ("GPU", "simulator", "CPU")


def test_runtime_environments_go_with_their_processes() -> None:
    runners = EnvRunnerSettings(num_env_runners=1, env_runner_runtime_env={"pip": ["mujoco"]})
    demand = demand_of(runners, LearnerGroupSettings(), num_learners=1)
    assert demand.runners.runtime_env == {"pip": ["mujoco"]}
    assert demand.learners.runtime_env == {}


@pytest.mark.parametrize("gpus", [1.5, 2.25])
def test_part_of_a_second_gpu_is_refused(gpus: float) -> None:
    with pytest.raises(ValueError, match=f"num_gpus_per_learner={gpus} takes part of another GPU"):
        demand_of(EnvRunnerSettings(), LearnerGroupSettings(num_gpus_per_learner=gpus), num_learners=1)
