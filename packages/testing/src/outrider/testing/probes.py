"""Tiny environments that each ask for one ability, so that a failure to learn says what is broken.

    ConstantReward      a value at all
    ObservedReward      a value that depends on the observation
    DelayedReward       discounting: the first step's value is the discount
    EndlessReward       bootstrapping where truncated: the value is 1 / (1 - discount) everywhere
    MatchingAction      a policy that depends on the observation
    MatchingNumber      the same with a continuous action
    DelayedCredit       credit for an action whose reward comes later
    RememberedCue       memory: what to do was seen at the first step only

The first four reward every action alike: look at the value. For the others `BEST_RETURN` is what the
best policy gets in an episode. All can be saved (`get_state`, `set_state`) beside their generator.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Observation = NDArray[np.float32]
Step = tuple[Observation, float, bool, bool, dict[str, Any]]


class _Probe(gym.Env[Observation, Any]):
    """Episodes of `LENGTH` steps that show `_show()` and reward `_reward(action)`."""

    LENGTH: ClassVar[int] = 1
    NUM_FEATURES: ClassVar[int] = 1
    BEST_RETURN: ClassVar[float] = 1.0

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (self.NUM_FEATURES,), np.float32)
        self.action_space: gym.Space[Any] = gym.spaces.Discrete(2)
        self._step = 0
        self._cue = 0
        self._choice = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        self._cue = int(self.np_random.integers(2))
        return np.array(self._show(), np.float32), {}

    def step(self, action: Any) -> Step:
        if self._step == 0:
            self._choice = int(np.ravel(action)[0])
        reward = self._reward(action)
        self._step += 1
        return np.array(self._show(), np.float32), reward, *self._over(), {}

    def get_state(self) -> dict[str, int]:
        """Return what the next step depends on."""
        return {"step": self._step, "cue": self._cue, "choice": self._choice}

    def set_state(self, state: dict[str, int]) -> None:
        """Continue from what `get_state` returned."""
        self._step, self._cue, self._choice = state["step"], state["cue"], state["choice"]

    def _show(self) -> list[float]:
        return [0.0]

    def _reward(self, action: Any) -> float:
        return 1.0

    def _over(self) -> tuple[bool, bool]:
        return self._step >= self.LENGTH, False

    @property
    def _sign(self) -> float:
        return 2.0 * self._cue - 1.0


class ConstantReward(_Probe):
    """One step, one reward."""


class ObservedReward(_Probe):
    """One step that shows 1 or -1 and rewards the same."""

    BEST_RETURN = 0.0  # on average

    def _show(self) -> list[float]:
        return [self._sign]

    def _reward(self, action: Any) -> float:
        return self._sign


class DelayedReward(_Probe):
    """Two steps, shown as 0 and 1; only the second is rewarded."""

    LENGTH = 2

    def _show(self) -> list[float]:
        return [float(self._step == 1)]

    def _reward(self, action: Any) -> float:
        return float(self._step == 1)


class EndlessReward(_Probe):
    """Rewards 1 for ever, and truncates every five steps."""

    BEST_RETURN = 5.0

    def _over(self) -> tuple[bool, bool]:
        return False, self._step >= 5


class MatchingAction(_Probe):
    """Shows 1 or -1; rewards 1 for action 1 or 0, and -1 for the other."""

    def _show(self) -> list[float]:
        return [self._sign]

    def _reward(self, action: Any) -> float:
        return 1.0 if int(action) == self._cue else -1.0


class MatchingNumber(_Probe):
    """Shows 1 or -1; costs the squared distance of the action from half of it."""

    BEST_RETURN = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def _show(self) -> list[float]:
        return [self._sign]

    def _reward(self, action: Any) -> float:
        return -float((np.ravel(action)[0] - 0.5 * self._sign) ** 2)


class DelayedCredit(_Probe):
    """Four steps; at the last one rewards 1 if the first action was 1."""

    LENGTH = 4
    NUM_FEATURES = 2

    def _show(self) -> list[float]:
        return [float(self._step == 0), self._step / self.LENGTH]

    def _reward(self, action: Any) -> float:
        return float(self._step == self.LENGTH - 1 and self._choice == 1)


class RememberedCue(_Probe):
    """Shows a cue, 1 or -1, at the first of five steps; the last one rewards the action that it meant."""

    LENGTH = 5
    NUM_FEATURES = 2

    def _show(self) -> list[float]:
        return [self._sign if self._step == 0 else 0.0, float(self._step == self.LENGTH - 1)]

    def _reward(self, action: Any) -> float:
        if self._step < self.LENGTH - 1:
            return 0.0
        return 1.0 if int(action) == self._cue else -1.0


PROBES: tuple[type[_Probe], ...] = (
    ConstantReward,
    ObservedReward,
    DelayedReward,
    EndlessReward,
    MatchingAction,
    MatchingNumber,
    DelayedCredit,
    RememberedCue,
)
