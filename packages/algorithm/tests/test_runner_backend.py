from __future__ import annotations

from typing import Any

import pytest

from outrider.algorithm import PPOConfig
from outrider.algorithm.assembly import runner_backend
from outrider.algorithm.assembly.learner_assembly import with_num_learners
from outrider.algorithm.assembly.resources import check_resources
from outrider.algorithm.assembly.runner_backend import with_backend


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of this machine decide."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(runner_backend, "_is_connected", lambda: False)
    monkeypatch.setattr(runner_backend, "find_spec", lambda _: object())


def config() -> PPOConfig:
    return PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=2)


def chosen(config: Any) -> str:
    backend: str = with_backend(config.settings).env_runners.env_runner_backend
    return backend


def test_runners_are_processes_where_nothing_asks_for_ray() -> None:
    assert chosen(config()) == "process"
    assert chosen(config().learners(num_learners="auto")) == "process"


@pytest.mark.parametrize(
    "asking",
    [
        config().resources(ray_address="local"),
        config().resources(placement_strategy="SPREAD"),
        config().learners(num_learners=1),
        config().env_runners(num_gpus_per_env_runner=0.5),
        config().env_runners(num_cpus_per_env_runner=2),
        config().env_runners(custom_resources_per_env_runner={"simulator": 1}),
        config().env_runners(env_runner_runtime_env={"pip": ["my-game"]}),
    ],
)
def test_runners_are_on_ray_where_a_setting_asks_for_it(asking: Any) -> None:
    assert chosen(asking) == "ray"


def test_runners_are_on_ray_where_the_machine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as inside_a_job:
        inside_a_job.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        assert chosen(config()) == "ray"
    with monkeypatch.context() as connected:
        connected.setattr(runner_backend, "_is_connected", lambda: True)
        assert chosen(config()) == "ray"
    monkeypatch.setattr(runner_backend, "find_spec", lambda _: None)
    assert chosen(config()) == "ray"


def test_nothing_is_chosen_for_runners_that_are_not_started() -> None:
    assert chosen(config().env_runners(num_env_runners=0)) == "auto"
    assert chosen(config().env_runners(listen="127.0.0.1:0")) == "auto"


@pytest.mark.parametrize("num_env_runners", [0, 2])
def test_no_choice_is_said_to_be_ignored(num_env_runners: int, recwarn: pytest.WarningsRecorder) -> None:
    check_resources(with_backend(config().env_runners(num_env_runners=num_env_runners).settings))
    assert not recwarn.list


@pytest.mark.parametrize("backend", ["ray", "process"])
def test_what_was_given_stays(backend: Any) -> None:
    given = config().env_runners(env_runner_backend=backend).resources(ray_address="local")
    assert chosen(given) == backend


def test_a_learner_stays_in_this_process_beside_runners_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    settings = with_num_learners(config().learners(num_learners="auto").settings)
    assert settings.learners.num_learners == 0
