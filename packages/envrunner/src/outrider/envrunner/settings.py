"""How runners are laid out and how much they sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gymnasium.envs.registration import VectorizeMode


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvRunnerSettings:
    """How many runners step how many environment copies, and how."""

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
    num_cpus_per_env_runner: float = 1.0
    """Processor cores to reserve for one runner. Range >= 0."""
    num_gpus_per_env_runner: float = 0.0
    """GPUs to reserve for one runner. Range >= 0."""
    max_env_restarts: int = 10
    """Rebuilds of one environment copy after errors without an episode of it ending in between; one more
    stops the run. Raise it for environments whose episodes hardly ever end. Range >= 0."""
    env_step_timeout_s: float = 60.0
    """ASYNC only: seconds after which an environment process that does not answer a step or a reset is
    killed and rebuilt. Range (0, 1e6]."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        object.__setattr__(self, "gym_env_vectorize_mode", _vectorize_mode(self.gym_env_vectorize_mode))
        _require_whole("num_env_runners", self.num_env_runners, at_least=0)
        _require_whole("num_envs_per_env_runner", self.num_envs_per_env_runner, at_least=1)
        _require_whole("max_env_restarts", self.max_env_restarts, at_least=0)
        if self.rollout_fragment_length != "auto":
            _require_whole("rollout_fragment_length", self.rollout_fragment_length, at_least=1)
        for name in ("num_cpus_per_env_runner", "num_gpus_per_env_runner"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a number >= 0")
        if not 0 < self.env_step_timeout_s <= 1e6:  # the operating system waits no longer than 24 days
            raise ValueError(
                f"env_step_timeout_s is {self.env_step_timeout_s!r}; it must be a number of seconds above 0 "
                "and not above 1e6"
            )


def _vectorize_mode(mode: object) -> VectorizeMode:
    try:
        return VectorizeMode(mode)
    except ValueError:
        allowed = ", ".join(repr(each.value) for each in VectorizeMode)
        raise ValueError(f"gym_env_vectorize_mode is {mode!r}; allowed are {allowed}") from None


def _require_whole(name: str, value: object, *, at_least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number >= {at_least}")
