"""Settings of evaluations: episodes with fixed seeds and no exploration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """How the policy is evaluated, apart from its training."""

    evaluation_interval: int = 0
    """Iterations between two evaluations during a run. 0: only where a stop condition asks for one."""
    evaluation_duration: int = 100
    """Number of episodes of an evaluation."""
    evaluation_num_envs: int = 16
    """Environment copies that play these episodes side by side; at most as many as episodes are used."""
    evaluation_seed: int = 10_000
    """Seed of the first episode; the others take the numbers that follow."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.evaluation_interval < 0:
            raise ValueError(
                f"evaluation_interval={self.evaluation_interval} is negative; give iterations, or 0 for none"
            )
        for name in ("evaluation_duration", "evaluation_num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is too few; give at least 1")
