"""Keeps a vector of environments for several agents running: seeds it, and makes it anew when it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.restarts import EnvironmentsFailedError, Restarts
from outrider.envrunner.environments.sync_vector import OnFailure
from outrider.envrunner.environments.vector_environment import environment_seed

MakeVector: TypeAlias = Callable[[OnFailure], MultiAgentVector]
"""Makes the vector, which tells what it is given of every copy that it had to replace."""


class RunningMultiAgent:
    """A vector whose every failure is logged, counted and repaired, up to the limit."""

    def __init__(
        self,
        make: MakeVector | None,
        *,
        given: MultiAgentVector | None = None,
        max_env_restarts: int,
        seed: int,
        first_environment: int,
        incarnation: int,
    ) -> None:
        """Make the vector, or keep the one that is `given`, which nobody here can make anew.

        Raises ValueError where the environments cannot be made.
        """
        self._seed = seed
        self._first = first_environment
        self._make_vector = make
        self.restarts = Restarts(max_env_restarts, first_environment)
        self.num_seedings = 0
        """How often episodes were started with new seeds; none is used twice in a run."""
        self.incarnation = incarnation
        """How often the runner had been made before; together with `num_seedings` it tells seeds apart."""
        self._is_half_stepped = False
        self.vector = self._make() if given is None else given

    def start_episodes(self) -> MultiAgentStep:
        """Reset all copies with new seeds."""
        try:
            if self._is_half_stepped and self._make_vector is not None:
                close_all(self.vector)
                self.vector = self._make()
            self._is_half_stepped = False
            return self.vector.reset(self._next_seeds())
        except (AgentsError, EnvironmentsFailedError, KeyboardInterrupt):
            self._is_half_stepped = True
            raise
        except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
            return self._rebuild(error)

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Step all copies. Where that fails as a whole, every copy is a new one and has `failed`."""
        try:
            return self.vector.step(actions)
        except (AgentsError, EnvironmentsFailedError, KeyboardInterrupt):
            self._is_half_stepped = True  # some copies have stepped, some have answers underway
            raise
        except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
            return replace(self._rebuild(error), failed=np.ones(self.vector.num_envs, np.bool_))

    def _rebuild(self, error: Exception) -> MultiAgentStep:
        """Replace the vector, and return what the new one shows after a reset."""
        while True:
            self.restarts.record(None, error)
            if self._make_vector is not None:
                with contextlib.suppress(Exception):
                    self.vector.close()
            try:
                if self._make_vector is not None:
                    self.vector = self._make()
                return self.vector.reset(self._next_seeds())
            except (AgentsError, EnvironmentsFailedError):
                raise
            except Exception as next_error:  # noqa: BLE001 - any error of an environment means a new one
                error = next_error

    def _make(self) -> MultiAgentVector:
        assert self._make_vector is not None
        return self._make_vector(self._replace)

    def _replace(self, index: int, error: BaseException) -> int:
        """Count the failure of one copy; return the seed for its successor."""
        self.restarts.record(index, error)
        seeding = self.num_seedings
        self.num_seedings += 1
        return environment_seed(self._seed, self._first + index, seeding, self.incarnation)

    def _next_seeds(self) -> list[int]:
        seeding = self.num_seedings
        self.num_seedings += 1
        return [
            environment_seed(self._seed, self._first + index, seeding, self.incarnation)
            for index in range(self.vector.num_envs)
        ]
