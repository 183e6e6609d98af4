"""A vector environment whose copies live with a peer: actions go out, what happened comes in.

    runner's thread                               network's thread
    step(actions) --- send(Action 7) ----------->
                      waits                        deliver(Step 8)
                  <-- checked, as arrays
    raises PeerGoneError                           cut(PeerGoneError("the connection broke"))

It resets its own episodes, as `Step` says: SAME_STEP. Nobody can reset it from here.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.environments.spaces import column_reader, column_writer, space_to_gymnasium
from outrider.envrunner.gateway.step_rules import StepRules
from outrider.wire import Space, WireError
from outrider.wire.session import Action, Step


class PeerGoneError(EnvironmentsFailedError):
    """Raised where the copies cannot be stepped any more: their peer went away, or was sent away."""


class PeerLeftError(PeerGoneError):
    """Raised where the peer said goodbye."""


class PeerMisbehavedError(PeerGoneError):
    """Raised where the peer sent what cannot be, or nothing in time. The sentence is for the peer."""


class RemoteVector(gym.vector.VectorEnv[Any, Any, Any]):
    """Stepped by one thread; `deliver` and `cut` may be called by another."""

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        num_envs: int,
        *,
        send: Callable[[Action], None],
        timeout_s: float,
    ) -> None:
        """Take the spaces of one copy. A peer that does not answer for `timeout_s` has misbehaved."""
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = space_to_gymnasium(observation_space)
        self.single_action_space = space_to_gymnasium(action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rules = StepRules(observation_space, num_envs)
        self._to_value = column_writer(self.single_observation_space)
        self._to_columns = column_reader(action_space)
        self._send = send
        self._timeout_s = timeout_s
        self._shown: Any = None
        self._changed = threading.Condition()
        self._due = 1  # the sequence of the step that may come; 0 where none may
        self._sequence = 0
        self._arrived: Step | None = None
        self._end: PeerGoneError | None = None

    def deliver(self, step: Step) -> None:
        """Take a step and return at once. Raises WireError where it is not its turn."""
        with self._changed:
            if step.sequence != self._due:
                due = f"step {self._due} is due" if self._due else "none is due before the next action"
                raise WireError(
                    f"step {step.sequence} came and {due}; send one step for each action, in turn"
                )
            self._due = 0
            self._arrived = step
            self._changed.notify_all()

    def cut(self, end: PeerGoneError) -> None:
        """Say that nothing comes any more; `end` is raised where it is waited for."""
        with self._changed:
            self._end = self._end or end
            self._changed.notify_all()

    def require_peer(self) -> None:
        """Raise what `cut` was told, if it was called."""
        with self._changed:
            if self._end is not None:
                raise self._end

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return what the copies show: at first the first step's observations, later the latest ones."""
        del seed, options  # a peer draws its own
        if self._shown is None:
            first = self._receive()
            _checked(self._rules.check_first, first)
            self._shown = self._to_value(first.observations)
        return self._shown, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Send actions and wait for what follows. Raises PeerGoneError."""
        with self._changed:
            self._due = self._sequence + 1
        self._send(Action(sequence=self._sequence, actions=self._to_columns(actions)))
        step = self._receive()
        _checked(self._rules.check, step)
        self._shown = self._to_value(step.observations)
        infos = {"final_obs": self._final(step)} if len(step.ended) else {}
        return self._shown, step.rewards, step.terminated, step.truncated, infos

    def _receive(self) -> Step:
        with self._changed:
            self._changed.wait_for(lambda: self._arrived or self._end, self._timeout_s)
            self.require_peer()
            step, self._arrived = self._arrived, None
            if step is None:
                raise PeerMisbehavedError(
                    f"step {self._sequence + 1} did not come within {self._timeout_s:g} s; step faster, or "
                    "raise env_step_timeout_s of the run"
                )
            self._sequence = step.sequence
            return step

    def _final(self, step: Step) -> Any:
        """Put what really followed at the places of the copies, as a vector environment's infos do."""
        columns = {}
        for path, ended in step.final_observations.items():
            columns[path] = np.zeros((self.num_envs, *ended.shape[1:]), ended.dtype)
            columns[path][step.ended] = ended
        return self._to_value(columns)


def _checked(check: Callable[[Step], None], step: Step) -> None:
    try:
        check(step)
    except ValueError as error:
        raise PeerMisbehavedError(f"step {step.sequence} is not valid: {error}") from error
