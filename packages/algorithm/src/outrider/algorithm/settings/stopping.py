"""When a run stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from outrider.algorithm.figure import figure

if TYPE_CHECKING:
    from collections.abc import Mapping

NEAR = 0.5
"""A training mean within this share of the wanted return is worth a look: without exploration a policy
does better than while it trains (on CartPole 340 where training sees 45)."""
NUM_LOOK_EPISODES = 20
"""Episodes of a look, which decides whether a whole evaluation is worth its time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StopSettings:
    """When a run stops: at whichever limit is reached first."""

    num_env_steps: int | None = 500_000
    """Environment steps, counted over the whole run. None: no limit."""
    evaluation_return_mean: float | Literal["auto"] | None = "auto"
    """Mean return of an evaluation (see the evaluation settings). "auto": the reward threshold that the
    environment is registered with, if it has one. None: no limit. The evaluation runs when training has
    come near and a first look at a few episodes agrees."""
    episode_return_mean: float | None = None
    """Mean return of the last 100 training episodes, with exploration. None: no limit."""
    time_s: float | None = None
    """Seconds of training, interruptions not counted. None: no limit."""
    iterations: int | None = None
    """Iterations of collect, learn, publish. None: no limit."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("num_env_steps", "time_s", "iterations"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise ValueError(
                    f"{name}={limit} stops a run before it starts; give a positive number or None"
                )
        wanted = self.evaluation_return_mean
        if isinstance(wanted, str) and wanted != "auto":
            raise ValueError(
                f"evaluation_return_mean={wanted!r} is not a return; give a number, 'auto' or None"
            )


class StopRule:
    """Decides after each iteration whether a run goes on."""

    def __init__(self, settings: StopSettings, *, reward_threshold: float | None) -> None:
        """`reward_threshold` is the one that the environment is registered with."""
        self._settings = settings
        wanted = settings.evaluation_return_mean
        self.wanted_return = reward_threshold if wanted == "auto" else wanted
        self._look_from_step = 0

    def reason(self, result: Mapping[str, Any]) -> str | None:
        """Return why the run stops after this result, or None if it goes on."""
        settings = self._settings
        evaluated = result.get("evaluation/episode_return_mean")
        if self.wanted_return is not None and evaluated is not None and evaluated >= self.wanted_return:
            return f"evaluated return {figure(evaluated)} reached {self.wanted_return:g}"
        if _reached(result.get("episode_return_mean"), settings.episode_return_mean):
            return f"mean return of training reached {settings.episode_return_mean:g}"
        if _reached(result["num_env_steps"], settings.num_env_steps):
            return f"{result['num_env_steps']:,} environment steps done"
        if _reached(result["time_s"], settings.time_s):
            return f"{result['time_s']:.0f} s of training done"
        if _reached(result["iteration"], settings.iterations):
            return f"{result['iteration']} iteration{'s' * (result['iteration'] > 1)} done"
        return None

    def wants_look(self, result: Mapping[str, Any]) -> bool:
        """Tell whether a few episodes without exploration may show that the wanted return is reached."""
        recent = result.get("recent_return_mean")
        if self.wanted_return is None or recent is None or result["num_env_steps"] < self._look_from_step:
            return False
        return bool(recent >= self.wanted_return - NEAR * abs(self.wanted_return))

    def worth_evaluating(self, result: Mapping[str, Any], look: Mapping[str, Any]) -> bool:
        """Tell whether a look has shown the wanted return.

        If not, the next look waits for a tenth more steps, and for half of those that this one took, so
        that looking stays a small part of the run.
        """
        num_look_steps = look["episode_length_mean"] * look["num_episodes"]
        num_env_steps = result["num_env_steps"]
        self._look_from_step = num_env_steps + round(max(num_env_steps / 10, num_look_steps / 2))
        return self.wanted_return is None or look["episode_return_mean"] >= self.wanted_return

    def progress(self, result: Mapping[str, Any]) -> float:
        """Return the share of the way to the nearest limit on steps, time or iterations, 0 to 1."""
        settings = self._settings
        return max(
            (
                min(1.0, result[name] / limit)
                for name, limit in (
                    ("num_env_steps", settings.num_env_steps),
                    ("time_s", settings.time_s),
                    ("iteration", settings.iterations),
                )
                if limit is not None
            ),
            default=0.0,
        )


def _reached(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value >= limit
