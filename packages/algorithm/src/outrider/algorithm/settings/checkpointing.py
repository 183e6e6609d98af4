"""Settings of the checkpoints that a run writes while it goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSettings:
    """When a run writes checkpoints. One more is always written when it stops or is interrupted."""

    checkpoint_interval_s: float = 60.0
    """Seconds between two checkpoints; 0 writes one after each iteration."""
    num_checkpoints_to_keep: int = 2
    """How many of the newest checkpoints stay; older ones are deleted."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.checkpoint_interval_s >= 0:
            raise ValueError(f"checkpoint_interval_s={self.checkpoint_interval_s} is negative; give seconds")
        if self.num_checkpoints_to_keep < 1:
            raise ValueError(
                f"num_checkpoints_to_keep={self.num_checkpoints_to_keep} would keep none; give at least 1"
            )
