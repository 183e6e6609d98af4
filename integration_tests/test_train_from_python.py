"""What the configurations promise to who trains from Python, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym

from outrider.algorithm import Algorithm, PPOConfig, RunDirectory, TrainingRun


def test_the_asynchronous_snippet_of_the_scaling_guide_trains() -> None:
    config = (
        PPOConfig()
        # Use 10 sub-environments (vector) per EnvRunner.
        .env_runners(num_envs_per_env_runner=10)
    )
    config.env_runners(
        gym_env_vectorize_mode=gym.envs.registration.VectorizeMode.ASYNC,  # default is `SYNC`
    )
    config.environment("CartPole-v1").training(train_batch_size_per_learner=100)
    with config.build() as algorithm:
        assert algorithm.train()["num_env_steps"] == 100


def test_python_trains_saves_and_goes_on(tmp_path: Path) -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=10)
        .training(train_batch_size_per_learner=200, num_epochs=1)
        .evaluation(evaluation_duration=2)
        .debugging(seed=1)
    )
    with config.build() as algorithm:
        algorithm.train()
        algorithm.save(tmp_path / "checkpoint")
        expected = algorithm.train()
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        result = again.train()
        assert again.evaluate()["num_episodes"] == 2
    assert result["learner/policy_loss"] == expected["learner/policy_loss"]
    assert result["num_env_steps"] == 400


class Echo(gym.Env[Any, Any]):
    """Shows one of three numbers, and rewards the action that repeats it. One step, then the end."""

    observation_space = gym.spaces.Discrete(3)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._number = self.np_random.integers(3)
        return self._number, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._number, float(action == self._number), True, False, {}


def test_a_probe_environment_is_learned_perfectly(tmp_path: Path) -> None:
    config = (
        PPOConfig()
        .environment(Echo)
        .env_runners(num_envs_per_env_runner=16)
        .training(train_batch_size_per_learner=256, minibatch_size=64, lr=3e-3)
        .stopping(evaluation_return_mean=1.0, num_env_steps=20_000)
        .debugging(seed=0)
    )
    with config.build() as algorithm:
        outcome = TrainingRun(algorithm, RunDirectory.create(tmp_path / "run", {})).run()
    assert outcome.reason == "evaluated return 1 reached 1"
