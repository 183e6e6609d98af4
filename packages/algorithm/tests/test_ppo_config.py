from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import gymnasium as gym
import pytest
from gymnasium.envs.registration import VectorizeMode

from outrider.algorithm import PPOConfig
from outrider.algorithm.algorithms import config_class
from outrider.algorithm.commands.flags import Parser, add_flags
from outrider.algorithm.commands.train_command import flag_groups
from outrider.algorithm.settings.algorithm_settings import settings_from_json
from outrider.algorithm.settings.field_docs import field_docs
from outrider.algorithm.settings.setting_value import field_types, to_json


def test_the_snippets_of_the_scaling_guide_parse() -> None:
    config = (
        PPOConfig()
        # Use 4 EnvRunner actors (default is 2).
        .env_runners(num_env_runners=4)
    )
    config.env_runners(
        num_cpus_per_env_runner=2,
        num_gpus_per_env_runner=0.5,
    )
    assert PPOConfig.env_runners.of(config).num_env_runners == 4
    assert PPOConfig.env_runners.of(config).num_gpus_per_env_runner == 0.5

    config = (
        PPOConfig()
        # Use 10 sub-environments (vector) per EnvRunner.
        .env_runners(num_envs_per_env_runner=10)
    )
    config.env_runners(
        gym_env_vectorize_mode=gym.envs.registration.VectorizeMode.ASYNC,  # default is `SYNC`
    )
    assert PPOConfig.env_runners.of(config).num_envs_per_env_runner == 10
    assert PPOConfig.env_runners.of(config).gym_env_vectorize_mode is VectorizeMode.ASYNC

    config = (
        PPOConfig()
        # Use 2 remote Learner actors (default is 0) for distributed data parallelism.
        # Choosing 0 creates a local Learner instance on the main Algorithm process.
        .learners(num_learners=2)
    )
    config.learners(num_gpus_per_learner=1)
    assert PPOConfig.learners.of(config).num_learners == 2
    assert PPOConfig.learners.of(config).num_gpus_per_learner == 1


def test_an_algorithm_without_environment_says_how_to_give_one() -> None:
    with pytest.raises(ValueError, match=r"PPOConfig has no env; give it with \.environment\(env="):
        PPOConfig().build()


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_environments_refuse_is_refused_before_training(seed: int) -> None:
    with pytest.raises(ValueError, match=f"the evaluation seed {seed} is out of range; give a whole"):
        PPOConfig().evaluation(evaluation_seed=seed)


def test_a_configuration_survives_json() -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1", env_config={"sutton_barto_reward": True})
        .training(lr=[[0, 1e-3], [1000, 0.0]], lambda_=0.8)
        .rl_module(fcnet_hiddens=(32,))
        .debugging(seed=3)
    )
    again = settings_from_json("ppo", to_json(config.settings))
    assert to_json(again) == to_json(config.settings)
    assert again.debugging.seed == 3


@pytest.mark.parametrize("name", ["ppo", "impala", "appo"])
def test_every_setting_has_a_flag_of_its_own_and_words(name: str) -> None:
    groups = flag_groups(config_class(name)())
    add_flags(Parser(prog="test"), groups)  # argparse refuses a name that is taken
    for group in groups:
        names = {field.name for field in fields(group.settings)}
        assert names == set(field_docs(group.settings)), group.section
        assert names == set(field_types(group.settings))


def test_the_help_does_not_wait_for_torch() -> None:
    program = (
        "import sys; from outrider.algorithm.commands.cli import main; main(['--help'])\n"
        "assert not {'torch', 'numpy', 'gymnasium', 'rich', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
