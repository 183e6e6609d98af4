"""How the policy is evaluated: when, on how many episodes, from which seeds."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SEED = 2**31
"""Environments in other languages take a seed as a signed number of 32 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """How the policy is evaluated, apart from its training."""

    evaluation_interval: int = 0
    """Iterations between two evaluations during a run. 0: only where a stop condition asks for one, and
    at the end."""
    evaluation_duration: int = 100
    """Number of episodes of an evaluation, however long they take; fewer where episodes are long or slow."""
    evaluation_num_envs: int = 16
    """Environment copies that play these episodes side by side, at most one for each; in vectorize mode
    ASYNC each has a process. The number does not change the episodes."""
    evaluation_seed: int = 10_000
    """Seed of the first episode, 0 or above; the others take the numbers that follow."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.evaluation_interval < 0:
            raise ValueError(
                f"evaluation_interval={self.evaluation_interval} is negative; give iterations, or 0 for none"
            )
        check_evaluation_seed(self.evaluation_seed)
        for name in ("evaluation_duration", "evaluation_num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is too few; give at least 1")


def check_evaluation_seed(seed: int) -> None:
    """Raise ValueError where environments would refuse the seed, which is long after the start."""
    if not 0 <= seed < MAX_SEED:
        raise ValueError(
            f"the evaluation seed {seed} is out of range; give a whole number from 0 to {MAX_SEED - 1}"
        )
