"""How runners are laid out and how much they sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gymnasium.envs.registration import VectorizeMode

from outrider.envrunner.gateway_settings import GatewaySettings
from outrider.envrunner.setting_checks import require_seconds, require_whole


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvRunnerSettings(GatewaySettings):
    """How many runners step how many environment copies, how, and where they come from."""

    num_env_runners: int = 0
    """Runners in processes of their own; 0 samples in the calling process. Range >= 0."""
    num_envs_per_env_runner: int = 1
    """Environment copies that one runner steps together. More make the policy's calls cheaper. Range >= 1."""
    gym_env_vectorize_mode: VectorizeMode | Literal["sync", "async", "vector_entry_point"] = (
        VectorizeMode.SYNC
    )
    """SYNC steps the copies one after the other; ASYNC gives each a process, which pays off from about
    1 ms a step on; VECTOR_ENTRY_POINT asks for the environment's own vector implementation."""
    rollout_fragment_length: int | Literal["auto"] = "auto"
    """Steps of each environment copy in one fragment; "auto" divides the training batch among all
    copies. Range >= 1."""
    explore: bool = True
    """Whether actions are drawn from the policy's distribution; otherwise the most likely one is taken."""
    record_action_parameters: bool = False
    """Whether fragments hold the distribution's parameters of each row; algorithms that need them set it."""
    max_policies_per_env_runner: int | None = None
    """Policies whose weights a runner elsewhere holds at most, where more may play; it fetches others when
    they begin to, and drops those that played longest ago. None: twice as many as can play in its
    environments at a time, and at least 64. Range >= as many as can play at a time."""
    num_cpus_per_env_runner: float = 1.0
    """Processor cores to reserve for one runner. Range >= 0."""
    num_gpus_per_env_runner: float = 0.0
    """GPUs to reserve for one runner. Range >= 0."""
    custom_resources_per_env_runner: Mapping[str, float] = field(default_factory=dict)
    """Resources of the cluster's own naming to reserve for one runner, such as {"simulator": 1}. Each
    above 0."""
    env_runner_runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """Ray's runtime environment for runners, as a dictionary of its documentation: packages, variables,
    files. Empty: that of the run."""
    runner_start_timeout_s: float = 60.0
    """Seconds that a runner may take to start and make its environments. Range (0, 1e6]."""
    sample_timeout_s: float = 60.0
    """Seconds that an update waits for a runner's fragment; one that comes later joins the next update.
    A runner that delivers nothing for twice as long is made anew. Range (0, 1e6]."""
    sample_ahead: bool = False
    """Synchronous algorithms only: whether runners sample the next fragments, with the weights before the
    update, while the learners learn. Faster, and as reproducible; weights act one update late."""
    max_requests_in_flight_per_env_runner: int = 2
    """Asynchronous algorithms only: fragments that one runner may be at work on or have finished before
    one is taken. More hide longer round trips, and make weights older. Range >= 1."""
    max_env_runner_restarts: int = 10
    """Times that one runner is made anew, because its process ended or did not answer, without a fragment
    of it in between; one more stops the run. Range >= 0."""
    max_env_restarts: int = 10
    """Rebuilds of one environment copy after errors without an episode of it ending in between; one more
    stops the run. Raise it for environments whose episodes hardly ever end. Range >= 0."""
    env_step_timeout_s: float = 60.0
    """ASYNC only: seconds after which an environment process that does not answer a step or a reset is
    killed and rebuilt; also those after which a peer whose environments are acted for is sent away. Range
    (0, 1e6]."""

    @property
    def num_farm_env_runners(self) -> int:
        """Of `num_env_runners`, those that come from farms."""
        if self.listen is None:
            return 0
        return self.num_env_runners if self.num_farm_runners is None else self.num_farm_runners

    @property
    def num_own_env_runners(self) -> int:
        """Of `num_env_runners`, those that the run starts itself."""
        return self.num_env_runners - self.num_farm_env_runners

    @property
    def num_ray_env_runners(self) -> int:
        """Of those, the ones on Ray; all of them as long as that is not decided."""
        return 0 if self.env_runner_backend == "process" else self.num_own_env_runners

    @property
    def num_seats(self) -> int:
        """Most runners of farms that take part at a time."""
        return max(self.num_farm_env_runners, self.max_runners or 0) if self.listen is not None else 0

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        GatewaySettings.__post_init__(self)
        object.__setattr__(self, "gym_env_vectorize_mode", _vectorize_mode(self.gym_env_vectorize_mode))
        require_whole("num_env_runners", self.num_env_runners, at_least=0)
        require_whole("num_envs_per_env_runner", self.num_envs_per_env_runner, at_least=1)
        require_whole("max_env_restarts", self.max_env_restarts, at_least=0)
        require_whole("max_env_runner_restarts", self.max_env_runner_restarts, at_least=0)
        in_flight = self.max_requests_in_flight_per_env_runner
        require_whole("max_requests_in_flight_per_env_runner", in_flight, at_least=1)
        if self.max_policies_per_env_runner is not None:
            require_whole("max_policies_per_env_runner", self.max_policies_per_env_runner, at_least=1)
        if self.rollout_fragment_length != "auto":
            require_whole("rollout_fragment_length", self.rollout_fragment_length, at_least=1)
        for name in ("num_cpus_per_env_runner", "num_gpus_per_env_runner"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a number >= 0")
        for name in ("env_step_timeout_s", "sample_timeout_s", "runner_start_timeout_s"):
            require_seconds(name, getattr(self, name))
        _require_amounts("custom_resources_per_env_runner", self.custom_resources_per_env_runner)
        if not isinstance(self.env_runner_runtime_env, Mapping):
            raise ValueError(
                f"env_runner_runtime_env is {self.env_runner_runtime_env!r}; give Ray's runtime environment "
                "as a dictionary, such as {'env_vars': {'MUJOCO_GL': 'egl'}}"
            )


def _vectorize_mode(mode: object) -> VectorizeMode:
    try:
        return VectorizeMode(mode)
    except ValueError:
        allowed = ", ".join(repr(each.value) for each in VectorizeMode)
        raise ValueError(f"gym_env_vectorize_mode is {mode!r}; allowed are {allowed}") from None


def _require_amounts(name: str, amounts: object) -> None:
    if not isinstance(amounts, Mapping):
        raise ValueError(f"{name} is {amounts!r}; give amounts by name, such as {{'simulator': 1}}")
    for resource, amount in amounts.items():
        if not isinstance(resource, str) or not isinstance(amount, int | float) or not 0 < amount < math.inf:
            raise ValueError(
                f"{name} asks for {amount!r} of {resource!r}; give a name and a number above 0, such as "
                "{'simulator': 1}"
            )
