"""A native vector environment of E * n copies as E environments of n independent agents.

Agents end one by one, and an environment is over when all of its agents have ended. A native vector
environment does not wait with its resets, so an agent that has ended lets its copy play on, unseen, and
begins its next episode where that copy begins one:

    copy        1 2 3 end | 1 2 3 4 5 end | 1 2 ...       (| the copy's reset)
    agent       acts        waits           acts          as all others have ended in between

Nobody waits where all end at once, as they do at a time limit, and where the vector environment is in
DISABLED mode, which resets what it is told to.

Axes: E = environments, A = agents.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.agents.agent_slots import group_agents
from outrider.envrunner.agents.multi_agent_vector import LastObservations, MultiAgentStep
from outrider.envrunner.environments.autoreset import autoreset_mode, final_observations
from outrider.envrunner.environments.environment_state import (
    restore_environment_state,
    save_environment_state,
)
from outrider.envrunner.environments.spaces import column_reader, column_writer, space_from_gymnasium

Flags = NDArray[np.bool_]
_REMEMBERED = ("pending", "acting", "resetting")


class IndependentVector:
    """A `MultiAgentVector` without a Python object for an agent. It does not repair what fails."""

    state_space = None

    def __init__(self, vector: gym.vector.VectorEnv[Any, Any, Any], num_agents: int) -> None:
        """Take over a vector environment of a multiple of `num_agents` copies."""
        self._vector = vector
        self._mode = autoreset_mode(vector)
        self.num_envs = vector.num_envs // num_agents
        observation_space, action_space = vector.single_observation_space, vector.single_action_space
        self.agents = tuple(str(index) for index in range(num_agents))
        self.groups = group_agents([(observation_space, action_space)] * num_agents)
        self._shape = shape = (self.num_envs, num_agents)
        self._read = column_reader(space_from_gymnasium(observation_space))
        self._write = column_writer(action_space)
        self._filler = _fillers(action_space, vector.num_envs)
        self._pending = np.ones(shape, np.bool_)
        """Who has not ended in this episode."""
        self._acting = np.ones(shape, np.bool_)
        self._resetting = np.zeros(shape, np.bool_)
        """NEXT_STEP: copies that reset in the next step."""
        self._none = np.zeros(shape, np.bool_)
        self._nothing: Sequence[LastObservations] = ()

    @property
    def vector(self) -> gym.vector.VectorEnv[Any, Any, Any]:
        """The vector environment itself."""
        return self._vector

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin new episodes in all copies; the first seed is that of the vector environment."""
        value, _ = self._vector.reset(seed=seeds[0])
        self._pending = np.ones(self._shape, np.bool_)
        self._acting = np.ones(self._shape, np.bool_)
        self._resetting = self._none
        observations = self._shown(value)
        nobody = np.zeros(0, np.intp)
        empty = {path: column[nobody, nobody] for path, column in observations.items()}
        self._nothing = [LastObservations(environments=nobody, members=nobody, observations=empty)]
        return self._step(
            observations, np.zeros(self._shape, np.float32), self._none, self._none, self._nothing
        )

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Step all copies. Those whose agents wait do what they were given once."""
        acting = self._acting
        everybody = bool(acting.all())
        columns = {path: self._acted(path, column, everybody) for path, column in actions[0].items()}
        value, rewards, terminated, truncated, infos = self._vector.step(self._write(columns))
        ended_anyhow = np.logical_or(terminated, truncated).reshape(self._shape)
        rewards = np.reshape(rewards, self._shape).astype(np.float32)
        observations = self._shown(value)
        if everybody and not ended_anyhow.any():
            return self._step(observations, rewards, self._none, self._none, self._nothing)
        if not everybody:
            rewards = np.where(acting, rewards, np.float32(0))
        terminated = np.reshape(terminated, self._shape) & acting
        truncated = np.reshape(truncated, self._shape) & acting
        last = self._last(truncated, observations, infos) if truncated.any() else self._nothing
        ended = ended_anyhow & acting
        pending = self._pending & ~ended
        over = ~pending.any(axis=1)
        pending[over] = True
        began = ended_anyhow
        if self._mode is AutoresetMode.NEXT_STEP:
            began, self._resetting = self._resetting, ended_anyhow
        elif self._mode is AutoresetMode.DISABLED:
            began = ended_anyhow | over[:, None]
            if began.any():
                observations = self._reset(began)
        self._pending = pending
        self._acting = ((acting & ~ended) | began) & pending
        return self._step(observations, rewards, terminated, truncated, last, over)

    def get_state(self) -> Any:
        """Return a tree to continue from; None where the vector environment cannot tell its own."""
        saved = save_environment_state(self._vector)
        waiting = {name: getattr(self, f"_{name}").copy() for name in _REMEMBERED}
        return None if saved is None else {"vector": saved, **waiting}

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned. Raises ValueError where it is of other environments."""
        restore_environment_state(self._vector, state["vector"])
        for name in _REMEMBERED:
            setattr(self, f"_{name}", np.array(state[name], np.bool_))

    def close(self) -> None:
        """Close the vector environment."""
        self._vector.close()

    def _acted(self, path: str, column: NDArray[Any], everybody: bool) -> NDArray[Any]:  # noqa: FBT001
        """Put the actions of all environments behind each other; those who wait do something allowed."""
        flat = np.reshape(column, (-1, *column.shape[2:]))
        if everybody:
            return flat
        acting = self._acting.reshape(-1, *[1] * (flat.ndim - 1))
        return np.where(acting, flat, self._filler[path])

    def _shown(self, value: Any) -> dict[str, NDArray[Any]]:
        return {
            path: column.reshape(*self._shape, *column.shape[1:])
            for path, column in self._read(value).items()
        }

    def _last(self, truncated: Flags, shown: wire.Columns, infos: dict[str, Any]) -> list[LastObservations]:
        environments, members = np.nonzero(truncated)
        if self._mode is AutoresetMode.SAME_STEP:
            copies = environments * self._shape[1] + members
            observations = final_observations(infos, copies, self._read)
        else:
            observations = {path: column[environments, members] for path, column in shown.items()}
        return [LastObservations(environments=environments, members=members, observations=observations)]

    def _reset(self, mask: Flags) -> dict[str, NDArray[Any]]:
        return self._shown(self._vector.reset(options={"reset_mask": mask.ravel()})[0])

    def _step(
        self,
        observations: wire.Columns,
        rewards: NDArray[np.float32],
        terminated: Flags,
        truncated: Flags,
        last: Sequence[LastObservations],
        over: Flags | None = None,
    ) -> MultiAgentStep:
        return MultiAgentStep(
            observations=[observations],
            acting=self._acting,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            over=np.zeros(self.num_envs, np.bool_) if over is None else over,
            last=last,
        )


def _fillers(space: gym.Space[Any], num_copies: int) -> wire.Columns:
    """Draw an action for each copy, to be done where nobody watches."""
    batched = gym.vector.utils.batch_space(space, num_copies)
    batched.seed(0)
    return column_reader(space_from_gymnasium(space))(batched.sample())
