"""Keeps a vector environment running: makes it, seeds it, and rebuilds it when it fails as a whole."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

import contextlib
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import VectorizeMode
from numpy.typing import NDArray

from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.ends import FAILED
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.restarts import EnvironmentsFailedError, Restarts
from outrider.envrunner.environments.vector_environment import environment_seed, make_vector_environment
from outrider.envrunner.settings import EnvRunnerSettings

Flags = NDArray[np.bool_]


class RunningVector:
    """A vector environment whose every failure is logged, counted and repaired, up to the limit."""

    def __init__(
        self,
        environment: EnvironmentSettings,
        settings: EnvRunnerSettings,
        *,
        seed: int,
        first_environment: int,
        incarnation: int = 0,
        given: gym.vector.VectorEnv[Any, Any, Any] | None = None,
    ) -> None:
        """Make the environments, or keep those that are `given`. Raises ValueError where they cannot be made.

        Given ones must not fail but with EnvironmentsFailedError: nobody here can make them anew.
        """
        self._given = given
        self._environment = environment
        self._settings = settings
        self._seed = seed
        self._first = first_environment
        self.restarts = Restarts(settings.max_env_restarts, first_environment)
        self.num_seedings = 0
        """How often episodes were started with new seeds; none is used twice in a run."""
        self.incarnation = incarnation
        """How often the runner had been made before; together with `num_seedings` it tells seeds apart."""
        self._is_half_stepped = False
        self.vector = self._make()

    def start_episodes(self) -> Any:
        """Reset all copies with new seeds and return what they show."""
        try:
            if self._is_half_stepped:
                close_all(self.vector)
                self.vector, self._is_half_stepped = self._make(), False
            return self._reset()
        except (EnvironmentsFailedError, KeyboardInterrupt):
            self._is_half_stepped = True
            raise
        except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
            return self._rebuild(error)

    def step(self, actions: Any) -> tuple[Any, Any, Flags, Flags, dict[str, Any]]:
        """Step all copies. Where that fails as a whole, every copy is a new one: see `SyncVector`."""
        try:
            return self.vector.step(actions)
        except (EnvironmentsFailedError, KeyboardInterrupt):
            self._is_half_stepped = True  # some copies have stepped, some have answers underway
            raise
        except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
            value = self._rebuild(error)
            everyone = np.ones(self.vector.num_envs, np.bool_)
            return value, np.zeros(len(everyone)), ~everyone, everyone, {FAILED: everyone}

    def reset_some(self, mask: Flags) -> tuple[Any, bool]:
        """Reset some copies of a vector environment in DISABLED mode.

        Returns what all copies show, and whether all had to be made anew because the reset failed.
        """
        try:
            return self.vector.reset(options={"reset_mask": mask})[0], False
        except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
            return self._rebuild(error), True

    def _rebuild(self, error: Exception) -> Any:
        """Replace the vector environment, and return what the new one shows after a reset."""
        while True:
            self.restarts.record(None, error)
            with contextlib.suppress(Exception):
                self.vector.close()
            try:
                self.vector = self._make()
                return self._reset()
            except EnvironmentsFailedError:
                raise
            except Exception as next_error:  # noqa: BLE001 - any error of an environment means a new one
                error = next_error

    def _make(self) -> gym.vector.VectorEnv[Any, Any, Any]:
        if self._given is not None:
            return self._given
        num_envs = self._settings.num_envs_per_env_runner
        return make_vector_environment(
            self._environment, self._settings, num_envs=num_envs, on_failure=self._replace
        )

    def _replace(self, index: int, error: BaseException) -> int:
        """Count the failure of one copy; return the seed for its successor."""
        self.restarts.record(index, error)
        return self._next_seeds()[index]

    def _reset(self) -> Any:
        seeds = self._next_seeds()
        native = self._settings.gym_env_vectorize_mode is VectorizeMode.VECTOR_ENTRY_POINT
        # VectorEnv declares one int; our own vectors take one seed for each copy too.
        return self.vector.reset(seed=seeds[0] if native else seeds)[0]  # type: ignore[arg-type]

    def _next_seeds(self) -> list[int]:
        num_envs, seeding = self._settings.num_envs_per_env_runner, self.num_seedings
        self.num_seedings += 1
        return [
            environment_seed(self._seed, self._first + index, seeding, self.incarnation)
            for index in range(num_envs)
        ]
