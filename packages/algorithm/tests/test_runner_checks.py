"""What is said of runners fits together, or is answered in one sentence before anything starts."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from outrider.algorithm import PPOConfig
from outrider.algorithm.assembly.farm_assembly import farm_command, gateway_security, packed_as
from outrider.algorithm.assembly.learner_assembly import with_num_learners
from outrider.algorithm.assembly.one_policy_assembly import policy_recipe
from outrider.algorithm.assembly.resources import check_resources
from outrider.algorithm.cluster.demand import demand_of
from outrider.algorithm.settings.setting_value import from_json, to_json
from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.environments.spaces import space_to_gymnasium
from outrider.learner import LearnerGroupSettings

LOCAL = "127.0.0.1:0"
FARM = "outrider-farm --connect gpu:1 --env CartPole-v1"


def check(**runners: Any) -> int:
    config = PPOConfig().environment("CartPole-v1").env_runners(**runners)
    return check_resources(config.settings)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"listen": LOCAL}, "num_env_runners=0 samples in this process; set num_env_runners to how many"),
        (
            {"listen": LOCAL, "num_env_runners": 1, "num_farm_runners": 2},
            "num_farm_runners=2 is more than num_env_runners=1, which counts them too; raise that",
        ),
        (
            {"listen": LOCAL, "num_env_runners": 2, "min_runners": 3},
            "min_runners=3 can never be reached with at most 2 runners; lower it",
        ),
        (
            {"num_env_runners": 1, "min_runners": 2},
            "min_runners=2 can never be reached with at most 1 runner;",
        ),
        (
            {"listen": LOCAL, "num_env_runners": 1, "num_gpus_per_env_runner": 1},
            "num_gpus_per_env_runner=1 .*, and all runners come from farms",
        ),
        (
            {"num_env_runners": 1, "env_runner_backend": "process", "num_gpus_per_env_runner": 1},
            'env_runner_backend="process" reserves nothing; set env_runner_backend="ray"',
        ),
        ({"num_farm_runners": 2}, "num_farm_runners=2 waits for farms, and without listen none can connect"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check(**given)


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"token_file": "t"}, "token_file='t' is ignored without listen: no farm can connect"),
        ({"env_runner_backend": "process"}, "env_runner_backend='process' is ignored with num_env_runners=0"),
        (
            {"num_env_runners": 1, "env_runner_backend": "process", "num_cpus_per_env_runner": 2.0},
            "num_cpus_per_env_runner=2 is ignored with env_runner_backend=.process.",
        ),
        (
            {"num_env_runners": 1, "listen": LOCAL, "num_cpus_per_env_runner": 2.0},
            "num_cpus_per_env_runner=2 is ignored where all runners come from farms",
        ),
        (
            {"max_policies_per_env_runner": 9},
            "max_policies_per_env_runner=9 is ignored with num_env_runners=0: the runner is in this process",
        ),
        (
            {"num_env_runners": 1, "env_runner_backend": "process", "max_policies_per_env_runner": 9},
            "max_policies_per_env_runner=9 is ignored where there is one policy",
        ),
    ],
)
def test_what_has_no_effect_is_said(given: dict[str, Any], warning: str) -> None:
    with pytest.warns(UserWarning, match=warning):
        check(**given)


def test_fragments_are_as_long_wherever_runners_come_from() -> None:
    lengths = {
        check(num_env_runners=4),
        check(num_env_runners=4, env_runner_backend="process"),
        check(num_env_runners=4, listen=LOCAL),
        check(num_env_runners=4, listen=LOCAL, num_farm_runners=1, max_runners=9),
    }
    assert lengths == {512}


BOX, TWO = gym.spaces.Box(-1.0, 1.0, (3,)), gym.spaces.Discrete(2)


def without_environment(**runners: Any) -> PPOConfig:
    config = PPOConfig().environment(None, observation_space=BOX, action_space=TWO)
    return config.env_runners(**{"num_env_runners": 2, "listen": LOCAL} | runners)


def test_a_run_whose_environment_only_farms_have_knows_its_spaces() -> None:
    settings = without_environment().settings
    check_resources(settings)
    recipe = policy_recipe(settings, seed=0)
    assert space_to_gymnasium(recipe.observation_space) == BOX
    assert space_to_gymnasium(recipe.action_space) == TWO


def test_spaces_are_recorded_with_the_run() -> None:
    settings = without_environment().settings
    assert from_json(type(settings), json.loads(json.dumps(to_json(settings)))) == settings


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            without_environment(num_farm_runners=1),
            "env is None, and runners that the run starts itself need one",
        ),
        (without_environment(num_env_runners=0, listen=None), "env is None, and runners that the run starts"),
        (without_environment().evaluation(evaluation_interval=5), "evaluations need an environment here"),
        (without_environment().stopping(evaluation_return_mean=9.0), "stop by the return of training"),
    ],
)
def test_what_needs_an_environment_here_is_refused_without_one(config: PPOConfig, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_resources(config.settings)


@pytest.mark.parametrize(
    ("given", "num_reserving"),
    [
        ({}, 4),
        ({"env_runner_backend": "process"}, 0),
        ({"listen": LOCAL}, 0),
        ({"listen": LOCAL, "num_farm_runners": 3}, 1),
    ],
)
def test_only_runners_on_ray_reserve_anything(given: dict[str, Any], num_reserving: int) -> None:
    runners = EnvRunnerSettings(num_env_runners=4, **given)
    assert demand_of(runners, LearnerGroupSettings(), num_learners=0).runners.num == num_reserving


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"tls_key": "k.pem"}, "tls_certificate and tls_key belong together"),
        ({"tls_client_ca": "ca.pem"}, "tls_client_ca='ca.pem' asks farms for certificates without one"),
        (
            {"tls_key": "k.pem", "tls_certificate": "c.pem"},
            "tls_certificate='c.pem' is not there; give a PEM file",
        ),
        ({"token_file": "tokens"}, "tokens"),
        ({"listen": "0.0.0.0:0"}, "insecure"),
        ({"listen": "here"}, "here"),
    ],
)
def test_a_gateway_that_would_not_be_safe_is_refused(
    given: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTRIDER_TOKEN", raising=False)
    with pytest.raises(ValueError, match=sentence):
        check(**{"listen": LOCAL, "num_env_runners": 1} | given)


def test_a_gateway_asks_for_what_the_settings_say(tmp_path: Path) -> None:
    for name in ("token", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("secret")
    security = gateway_security(
        EnvRunnerSettings(
            listen="0.0.0.0:0",
            token_file=str(tmp_path / "token"),
            tls_certificate=str(tmp_path / "cert.pem"),
            tls_key=str(tmp_path / "key.pem"),
        )
    )
    assert security.tokens == ("secret",)
    assert (security.certificate, security.client_ca) == (tmp_path / "cert.pem", None)


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({}, FARM),
        ({"insecure": True}, f"{FARM} --insecure"),
        (
            {"tls_certificate": "c", "tls_key": "k", "tls_client_ca": "ca", "insecure": True},
            f"{FARM} --tls-ca FILE --tls-certificate FILE --tls-key FILE",
        ),
        ({"token_file": "t"}, f"{FARM} --token-file FILE"),
        ({"gym_env_vectorize_mode": "async"}, f"{FARM} --gym-env-vectorize-mode async"),
    ],
)
def test_the_command_for_a_farm_can_be_copied(given: dict[str, Any], command: str) -> None:
    environment = EnvironmentSettings("CartPole-v1")
    assert farm_command(EnvRunnerSettings(listen=LOCAL, **given), "gpu:1", environment) == command


@pytest.mark.parametrize(("env", "typed"), [(json.loads, "json:loads"), (lambda: None, "ENVIRONMENT")])
def test_a_function_that_a_farm_can_import_goes_by_its_name(env: Any, typed: str) -> None:
    command = farm_command(EnvRunnerSettings(), "gpu:1", EnvironmentSettings(env))
    assert command == f"outrider-farm --connect gpu:1 --env {typed}"


@pytest.mark.parametrize("anywhere", ["0.0.0.0", "[::]"])
def test_a_farm_is_told_this_machine_where_the_gateway_listens_on_all_addresses(anywhere: str) -> None:
    command = farm_command(EnvRunnerSettings(), f"{anywhere}:7", EnvironmentSettings("CartPole-v1"))
    assert f" --connect {socket.gethostname()}:7 " in command


def test_arguments_of_the_environment_are_part_of_the_command() -> None:
    environment = EnvironmentSettings("CartPole-v1", env_config={"sutton_barto_reward": True})
    command = farm_command(EnvRunnerSettings(), "gpu:1", environment)
    assert command.endswith("--env CartPole-v1 --env-config '{\"sutton_barto_reward\": true}'")


@pytest.mark.parametrize("num_learners", [2, "auto"])
def test_learners_beside_those_of_a_service_are_refused(num_learners: Any) -> None:
    config = PPOConfig().environment("CartPole-v1")
    config.learners(num_learners=num_learners, learner_address="gpu:1")
    with pytest.raises(ValueError, match=r"outrider-learner --num-learners\), and leave num_learners out"):
        with_num_learners(config.settings)


def test_what_a_learner_service_does_not_reserve_is_said() -> None:
    config = PPOConfig().environment("CartPole-v1")
    config.learners(learner_address="gpu:1", custom_resources_per_learner={"fast": 1})
    with pytest.warns(UserWarning, match="custom_resources_per_learner=.* is ignored with learner_address"):
        check_resources(config.settings)


def test_a_compression_that_is_not_installed_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outrider.algorithm.assembly.farm_assembly.capabilities", lambda: frozenset({"lz4"}))
    check(listen=LOCAL, num_env_runners=1, fragment_compression="lz4")
    with pytest.raises(ValueError, match=r"fragment_compression='zstd' needs .*outrider-wire\[compression\]"):
        check(listen=LOCAL, num_env_runners=1, fragment_compression="zstd")


@pytest.mark.parametrize(
    ("given", "needed"),
    [({"listen": LOCAL}, []), ({"listen": LOCAL, "fragment_compression": "lz4"}, ["lz4"])],
)
def test_what_farms_pack_a_learner_service_must_unpack(given: dict[str, Any], needed: list[str]) -> None:
    assert packed_as(EnvRunnerSettings(**given)) == set(needed)
