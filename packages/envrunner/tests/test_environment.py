"""Settings make environments, or say in one sentence why they cannot."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from outrider import wire
from outrider.envrunner.environments.environment import (
    EnvironmentSettings,
    make_environment,
    make_native_vector,
    spaces_of,
)

MODE = gym.VectorizeMode


class Corridor(gym.Env[int, int]):
    """Walk right until the end."""

    observation_space = gym.spaces.Discrete(10)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int, *, slippery: bool = False) -> None:
        self.length, self.slippery, self.position = length, slippery, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.position += 1
        return self.position, 1.0, self.position == self.length, False, {}


class BrokenStep(Corridor):
    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        raise RuntimeError("the motor\nis off")


def refuse_to_make() -> gym.Env[Any, Any]:
    raise OSError("no simulator on port 7000")


def make_nothing() -> str:
    return "no environment"


def message_of(env: Any, mode: gym.VectorizeMode = MODE.SYNC, **settings: Any) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller compares the message
        spaces_of(EnvironmentSettings(env, **settings), mode)
    return str(caught.value)


# ------------------------------------------------------------------------------------ what works


def test_a_registered_id_makes_its_environment_with_its_time_limit() -> None:
    env = make_environment(EnvironmentSettings("CartPole-v1"), checked=False)
    assert isinstance(env, gym.wrappers.TimeLimit)
    assert "PassiveEnvChecker" not in str(env)


def test_a_checked_environment_is_watched() -> None:
    assert "PassiveEnvChecker" in str(make_environment(EnvironmentSettings("CartPole-v1"), checked=True))
    corridor = EnvironmentSettings(Corridor, env_config={"length": 3})
    assert "PassiveEnvChecker" in str(make_environment(corridor, checked=True))


def test_env_config_reaches_the_constructor() -> None:
    settings = EnvironmentSettings(Corridor, env_config={"length": 3, "slippery": True})
    env = make_environment(settings, checked=False).unwrapped
    assert isinstance(env, Corridor)
    assert (env.length, env.slippery) == (3, True)


def test_env_config_may_shorten_the_episodes_of_a_registered_environment() -> None:
    settings = EnvironmentSettings("CartPole-v1", env_config={"max_episode_steps": 2})
    env = make_environment(settings, checked=False)
    env.reset(seed=0)
    assert [env.step(0)[3], env.step(0)[3]] == [False, True]


def test_the_first_wrapper_is_innermost() -> None:
    def add_one(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        return gym.wrappers.TransformReward(env, lambda reward: float(reward) + 1)

    def double(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        return gym.wrappers.TransformReward(env, lambda reward: float(reward) * 2)

    env = make_environment(EnvironmentSettings("CartPole-v1", wrappers=(add_one, double)), checked=False)
    env.reset(seed=0)
    assert env.step(0)[1] == 4.0


def test_a_module_named_before_the_id_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corridors_of_mine.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Corridor-v3', CartPoleEnv)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env = make_environment(EnvironmentSettings("corridors_of_mine:Corridor-v3"), checked=False)
    assert isinstance(env.unwrapped, CartPoleEnv)
    assert sys.modules.pop("corridors_of_mine")
    del gym.registry["Corridor-v3"]


def test_the_native_vector_environment_takes_env_config() -> None:
    settings = EnvironmentSettings("CartPole-v1", env_config={"sutton_barto_reward": True})
    vector = make_native_vector(settings, 4)
    assert isinstance(vector, CartPoleVectorEnv)
    vector.reset(seed=0)
    assert vector.step(np.zeros(4, np.int64))[1].tolist() == [0.0] * 4


def test_a_callable_may_make_a_vector_environment() -> None:
    vector = make_native_vector(EnvironmentSettings(CartPoleVectorEnv), 4)
    assert vector.num_envs == 4


@pytest.mark.parametrize("mode", [MODE.SYNC, MODE.VECTOR_ENTRY_POINT, "sync"])
def test_spaces_are_those_of_one_copy(mode: gym.VectorizeMode | str) -> None:
    observation_space, action_space = spaces_of(EnvironmentSettings("CartPole-v1"), mode)
    assert isinstance(observation_space, wire.BoxSpace)
    assert observation_space.low.shape == (4,)
    assert action_space == wire.DiscreteSpace(num_values=2)


@pytest.mark.parametrize(
    ("env_id", "package", "shape"),
    [
        ("HalfCheetah-v5", "mujoco", (17,)),
        ("LunarLander-v3", "Box2D", (8,)),
        ("ALE/Pong-v5", "ale_py", (210, 160, 3)),
    ],
)
def test_environments_of_the_extras_work_where_they_are_installed(
    env_id: str, package: str, shape: tuple[int, ...]
) -> None:
    pytest.importorskip(package)
    observation_space, _ = spaces_of(EnvironmentSettings(env_id), MODE.SYNC)
    assert isinstance(observation_space, wire.BoxSpace)
    assert observation_space.low.shape == shape


def test_atari_in_native_mode_is_preprocessed_and_stacked() -> None:
    pytest.importorskip("ale_py")
    observation_space, action_space = spaces_of(EnvironmentSettings("ALE/Pong-v5"), MODE.VECTOR_ENTRY_POINT)
    assert isinstance(observation_space, wire.BoxSpace)
    assert observation_space.low.shape == (4, 84, 84)
    assert observation_space.low.dtype == np.uint8
    assert action_space == wire.DiscreteSpace(num_values=6)


# ---------------------------------------------------------------------------------- what does not


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("CartPole", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("CartPole-v9", "CartPole-v1"),
        ("phys2d/CartPol-v1", "phys2d/CartPole-v1"),
    ],
)
def test_an_unknown_id_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    message = message_of(wrong)
    assert message.startswith(f"unknown environment {wrong!r}; did you mean {right}")


def test_an_unknown_atari_id_is_answered_with_the_nearest() -> None:
    pytest.importorskip("ale_py")
    assert "did you mean ALE/Pong-v5" in message_of("ALE/Pnog-v5")
    assert "ALE/Breakout-v5" in message_of("Breakout-v5")


def test_an_id_unlike_any_other_is_told_how_to_register() -> None:
    assert "register it first" in message_of("Xyzzyqwk-v0")
    assert "register it first" in message_of("no id at all!")


def test_a_module_that_is_not_there_is_named() -> None:
    assert "there is no module corridors_of_yours; install it" in message_of("corridors_of_yours:Corridor-v0")


def test_atari_without_its_package_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    assert 'pip install "outrider-envrunner[atari]"' in message_of("ALE/Pong-v5")


@pytest.mark.parametrize(("extra", "module"), [("mujoco", "half_cheetah_v5"), ("box2d", "lunar_lander")])
def test_an_environment_without_its_package_says_how_to_install(
    extra: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"gymnasium.envs.{extra}", None)
    gym.register("Elsewhere-v0", f"gymnasium.envs.{extra}.{module}:Env")
    monkeypatch.setitem(sys.modules, f"gymnasium.envs.{extra}.{module}", None)
    message = message_of("Elsewhere-v0")
    del gym.registry["Elsewhere-v0"]
    assert message.endswith(f'not installed; install it with: pip install "outrider-envrunner[{extra}]"')


def test_an_env_config_key_that_is_not_taken_is_named_with_those_that_are() -> None:
    message = message_of("CartPole-v1", env_config={"gravity": 1.6})
    assert message == (
        "env_config has 'gravity', which CartPole-v1 does not take; it takes max_episode_steps, render_mode, "
        "sutton_barto_reward"
    )
    message = message_of(Corridor, env_config={"width": 3})
    assert message == "env_config has 'width', which Corridor does not take; it takes length, slippery"


def test_the_number_of_copies_is_not_for_env_config() -> None:
    message = message_of("CartPole-v1", MODE.VECTOR_ENTRY_POINT, env_config={"num_envs": 3})
    assert message.startswith("env_config has 'num_envs', which CartPole-v1 does not take")


def test_a_missing_argument_is_named() -> None:
    assert message_of(Corridor) == "Corridor needs length; give a value for each in env_config"


def test_a_callable_that_raises_is_quoted() -> None:
    message = message_of(refuse_to_make)
    assert message == "environment refuse_to_make could not be made: OSError: no simulator on port 7000"


def test_a_callable_that_makes_no_environment_is_refused() -> None:
    message = message_of(make_nothing)
    assert message == "make_nothing returned 'no environment'; it must return a gymnasium.Env"


def test_a_vector_environment_is_refused_where_copies_are_wanted() -> None:
    assert "use vectorize mode VECTOR_ENTRY_POINT" in message_of(CartPoleVectorEnv)


def test_an_environment_that_cannot_step_is_found_before_training() -> None:
    message = message_of(BrokenStep, env_config={"length": 3})
    assert message == "environment BrokenStep failed at its first step: RuntimeError: the motor is off"


def test_an_environment_without_native_vector_names_the_modes_it_has() -> None:
    message = message_of("Pendulum-v1", MODE.VECTOR_ENTRY_POINT)
    assert message.startswith(
        "environment Pendulum-v1 has no vector entry point; use vectorize mode SYNC or ASYNC"
    )


def test_native_vectors_take_no_wrappers() -> None:
    message = message_of("CartPole-v1", MODE.VECTOR_ENTRY_POINT, wrappers=(gym.wrappers.ClipReward,))
    assert message.startswith(
        "wrappers ['ClipReward'] cannot be applied in vectorize mode VECTOR_ENTRY_POINT"
    )


def test_a_callable_that_makes_single_environments_is_refused_in_native_mode() -> None:
    def make(num_envs: int) -> gym.Env[Any, Any]:
        return Corridor(num_envs)

    assert "must return a gymnasium.vector.VectorEnv" in message_of(make, MODE.VECTOR_ENTRY_POINT)


def test_a_wrapper_that_returns_no_environment_is_refused() -> None:
    def forget(env: gym.Env[Any, Any]) -> None:
        """Return nothing."""

    message = message_of("CartPole-v1", wrappers=(forget,))
    assert message.endswith("forget returned None; it must return a gymnasium.Env")


def test_a_wrapper_that_raises_is_quoted() -> None:
    assert message_of("CartPole-v1", wrappers=(gym.wrappers.RescaleAction,)).startswith(
        "wrapper RescaleAction raised TypeError: "
    )


def test_a_wrapper_with_arguments_is_called_by_its_name() -> None:
    wrapper = functools.partial(gym.wrappers.TransformReward, function=abs)
    assert message_of("CartPole-v1", wrappers=(wrapper,)).startswith(
        "wrapper TransformReward raised TypeError"
    )


def test_only_callables_that_take_render_mode_can_be_filmed() -> None:
    settings = EnvironmentSettings(Corridor, env_config={"length": 3})
    with pytest.raises(
        ValueError, match="Corridor takes no render_mode, so that its environment cannot be filmed"
    ):
        make_environment(settings, render_mode="rgb_array", checked=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"env": 3}, "env is 3; give a registered id, or a callable"),
        ({"env": "CartPole-v1", "env_config": [1]}, r"env_config is \[1\]; give arguments by name"),
        ({"env": "CartPole-v1", "wrappers": (1,)}, r"wrappers is \(1,\); give a tuple of callables"),
    ],
)
def test_settings_of_the_wrong_type_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnvironmentSettings(**wrong)


def test_a_callable_whose_environment_has_no_spaces_is_refused() -> None:
    class Spaceless(gym.Env[Any, Any]):
        pass

    assert "Spaceless could not be made: AttributeError: The environment must specify" in message_of(
        Spaceless
    )


def test_an_environment_that_only_farms_have_is_known_by_its_spaces_and_cannot_be_made() -> None:
    settings = EnvironmentSettings(
        None, observation_space=gym.spaces.Box(0, 1, (2,)), action_space={"type": "Discrete", "n": 2}
    )
    observations, actions = spaces_of(settings, "sync")
    assert (wire.leaf_shape(observations), actions) == ((2,), wire.DiscreteSpace(num_values=2))
    for make in (
        lambda: make_environment(settings, checked=False),
        lambda: make_native_vector(settings, 2),
    ):
        with pytest.raises(ValueError, match="there is no environment here, as env is None and only farms"):
            make()


def test_spaces_are_for_environments_that_only_farms_have() -> None:
    with pytest.raises(ValueError, match="env is None and action_space too; give action_space"):
        spaces_of(EnvironmentSettings(None, observation_space=gym.spaces.Discrete(3)), "sync")
    with pytest.raises(ValueError, match="action_space is given and env too, which has its own"):
        EnvironmentSettings("CartPole-v1", action_space=gym.spaces.Discrete(2))
