"""Films one evaluation episode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import VectorizeMode
from numpy.typing import NDArray

from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.environment import (
    EnvironmentSettings,
    make_environment,
    make_native_vector,
)
from outrider.envrunner.environments.seeded_episodes import SeededEpisodes
from outrider.envrunner.environments.sync_vector import SyncVector
from outrider.envrunner.environments.trial_step import one_line
from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.envrunner.sampling.episode_deal import EpisodeDeal
from outrider.envrunner.sampling.evaluation import play
from outrider.envrunner.sampling.film import Film
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import ActionHead, Columns

Show = Callable[[Any], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmedEpisode:
    """What a video shows."""

    path: Path
    """Where it lies."""
    episode_return: float
    """Sum of the rewards."""
    num_steps: int
    """Steps of the episode; the video has one frame more."""


def record_video(
    policy: ActingPolicy,
    environment: EnvironmentSettings,
    settings: EnvRunnerSettings | None = None,
    *,
    action_heads: tuple[ActionHead, ...],
    path: Path | str,
    seed: int,
    explore: bool = False,
    max_episode_steps: int = 10_000,
) -> FilmedEpisode:
    """Play the episode that `evaluate` starts from `seed`, and write it to the .mp4 file `path`.

    The environment draws itself (render mode "rgb_array"); a native vector environment of images that
    cannot draw, as Atari's, is filmed as the policy sees it. The file appears when it is whole. An
    episode longer than `max_episode_steps` is cut. Raises ValueError in one sentence.
    """
    film = Film(Path(path))
    settings = settings or EnvRunnerSettings()
    deal = EpisodeDeal(1, 1, max_episode_steps)
    watch = None
    if settings.gym_env_vectorize_mode is VectorizeMode.VECTOR_ENTRY_POINT:
        vector = make_native_vector(environment, 1, render_mode="rgb_array")
        watch = _watch_native(vector, environment.name, film.add)
    else:
        vector = _make_filmed(environment, film.add, seed, max_episode_steps)
    film.frames_per_second = float(vector.metadata.get("render_fps", 30))
    try:
        rng = np.random.default_rng(seed) if explore else None
        with film:
            play(policy, vector, deal, action_heads=action_heads, seed=seed, rng=rng, watch=watch)
    finally:
        close_all(vector)
    episodes = deal.statistics()
    return FilmedEpisode(
        path=film.path, episode_return=float(episodes.returns[0]), num_steps=int(episodes.lengths[0])
    )


class _Filmed(gym.Wrapper[Any, Any, Any, Any]):
    """Shows a picture after every reset and step."""

    def __init__(self, env: gym.Env[Any, Any], show: Show) -> None:
        super().__init__(env)
        self._show = show

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        first = self.env.reset(seed=seed, options=options)
        self._show(self.env.render())
        return first

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401 - of any space
        after = self.env.step(action)
        self._show(self.env.render())
        return after


def _make_filmed(
    environment: EnvironmentSettings, show: Show, seed: int, max_episode_steps: int
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Make one copy that shows itself and plays one episode."""
    only_one = functools.partial(SeededEpisodes, stride=1, stop=seed + 1, max_episode_steps=max_episode_steps)
    wrappers: tuple[Callable[[Any], Any], ...] = (
        *environment.wrappers,
        functools.partial(_Filmed, show=show),
        only_one,
    )
    filmed = replace(environment, wrappers=wrappers)

    def refuse(_: int, error: BaseException) -> int:
        cure = ""
        if type(error).__module__.startswith("mujoco"):
            cure = "; without a display, set the environment variable MUJOCO_GL to egl or osmesa"
        reason = one_line(error)
        raise ValueError(f"environment {environment.name} could not be filmed: {reason}{cure}") from error

    make = functools.partial(make_environment, filmed, render_mode="rgb_array", checked=False)
    return SyncVector([make], on_failure=refuse)


def _watch_native(
    vector: gym.vector.VectorEnv[Any, Any, Any], name: str, show: Show
) -> Callable[[Columns], None]:
    """Draw the only copy of a native vector environment, or take what it observes for a picture."""
    if vector.render_mode == "rgb_array":

        def draw(_: Columns) -> None:
            frames = vector.render()
            assert frames is not None
            show(frames[0])

        return draw
    space = vector.single_observation_space
    if space.dtype != np.uint8 or space.shape is None or len(space.shape) != 3:
        vector.close()
        raise ValueError(
            f"the vector environment of {name} cannot draw itself; let it take render_mode, or film it in "
            "vectorize mode SYNC"
        )
    return lambda columns: show(_picture(columns[""][0]))


def _picture(observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn frames [F, H, W] (the newest) or an image [H, W, C] into a picture of about 320 pixels."""
    image = observation if observation.shape[-1] in {1, 3} else observation[-1]
    factor = max(1, 320 // image.shape[0])
    return image.repeat(factor, 0).repeat(factor, 1)
