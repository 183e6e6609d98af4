"""A video shows one episode, frame by frame, and appears only when it is whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.sampling.video import FilmedEpisode, record_video
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import Columns, DiscreteSpace, TensorSpec, Weights, action_heads

ffmpeg = pytest.importorskip("imageio_ffmpeg")
MODE = gym.VectorizeMode
NUM_PIXELS = 200 * 32


class Brightness(gym.Env[NDArray[np.uint8], np.int64]):
    """Draws itself with a brightness of 40 for each step so far; an episode has four steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium has it
    observation_space = gym.spaces.Box(0, 255, (2, 200, 32), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(
        self, render_mode: str | None = None, *, breaks: bool = False, shape: Any = (200, 31, 3)
    ) -> None:
        self.render_mode, self._breaks, self._shape = render_mode, breaks, shape
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        self._steps = 0
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._breaks and self._steps == 2:
            raise OSError("the lamp broke")
        return self._observe(), 2.0, self._steps == 4, False, {}

    def render(self) -> Any:
        return np.full(self._shape, 40 * self._steps, np.uint8)

    def _observe(self) -> NDArray[np.uint8]:
        return np.full((2, 200, 32), 40 * self._steps, np.uint8)


class First:
    """Takes action 0."""

    state_spec: Mapping[str, TensorSpec] = {}

    def set_weights(self, weights: Weights) -> None: ...

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        return np.tile(np.float32([1, 0]), (len(observations[""]), 1)), {}


def film(env: Any, path: Path, mode: gym.VectorizeMode = MODE.SYNC, **config: Any) -> FilmedEpisode:
    return record_video(
        First(),
        EnvironmentSettings(env, env_config=config),
        EnvRunnerSettings(gym_env_vectorize_mode=mode),
        action_heads=action_heads(DiscreteSpace(num_values=2)),
        path=path,
        seed=0,
    )


def brightness_of_frames(path: Path) -> list[int]:
    command = [
        ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(path),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    ]
    pixels = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)
    frames = pixels.reshape(-1, NUM_PIXELS)
    return [round(int(np.median(frame)) / 40) for frame in frames]


def make_many(num_envs: int) -> gym.vector.VectorEnv:
    mode = gym.vector.AutoresetMode.NEXT_STEP
    return gym.vector.SyncVectorEnv([Brightness] * num_envs, autoreset_mode=mode)


def test_every_observation_of_the_episode_is_a_frame(tmp_path: Path) -> None:
    episode = film(Brightness, tmp_path / "new" / "episode.mp4")
    assert (episode.episode_return, episode.num_steps) == (8.0, 4)
    assert brightness_of_frames(episode.path) == [0, 1, 2, 3, 4]
    assert [file.name for file in episode.path.parent.iterdir()] == ["episode.mp4"]


def test_an_atari_like_vector_environment_is_filmed_as_the_policy_sees_it(tmp_path: Path) -> None:
    episode = film(make_many, tmp_path / "episode.mp4", MODE.VECTOR_ENTRY_POINT)
    assert brightness_of_frames(episode.path) == [0, 1, 2, 3, 4]


def test_a_native_vector_environment_that_can_draw_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    episode = film("CartPole-v1", tmp_path / "episode.mp4", MODE.VECTOR_ENTRY_POINT, max_episode_steps=4)
    assert episode.num_steps == 4
    assert episode.path.stat().st_size > 1000


def test_one_that_can_neither_draw_nor_show_images_is_refused(tmp_path: Path) -> None:
    def make(num_envs: int) -> gym.vector.VectorEnv:
        return gym.make_vec("CartPole-v1", num_envs)

    with pytest.raises(ValueError, match="cannot draw itself; let it take render_mode, or film it in"):
        film(make, tmp_path / "episode.mp4", MODE.VECTOR_ENTRY_POINT)


def test_nothing_is_left_of_an_episode_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"environment Brightness could not be filmed: .*: the lamp broke"):
        film(Brightness, tmp_path / "episode.mp4", breaks=True)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_was_there_stays_when_a_new_one_fails(tmp_path: Path) -> None:
    (tmp_path / "episode.mp4").write_bytes(b"old")
    with pytest.raises(ValueError, match="the lamp broke"):
        film(Brightness, tmp_path / "episode.mp4", breaks=True)
    assert (tmp_path / "episode.mp4").read_bytes() == b"old"


def test_pictures_of_the_wrong_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 4, 4\) and dtype uint8; render must return"):
        film(Brightness, tmp_path / "episode.mp4", shape=(4, 4, 4))


def test_a_path_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"give a path that ends in \.mp4"):
        film(Brightness, tmp_path / "episode.gif")


def test_a_missing_encoder_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ValueError, match=r'pip install "outrider-envrunner\[video\]"'):
        film(Brightness, tmp_path / "episode.mp4")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"video .*episode\.mp4 was not written: .*file"):
        film(Brightness, tmp_path / "file" / "episode.mp4")
