"""How many learners there are and what each of them gets. Free of torch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerGroupSettings:
    """Learners of one run; together they train one set of weights."""

    num_learners: int = 0
    """Learner processes; 0 learns in the process of the algorithm."""
    num_cpus_per_learner: float = 1.0
    """CPU cores that each learner reserves; at least 0. Ignored with `num_learners=0`."""
    num_gpus_per_learner: float = 0.0
    """GPUs that each learner reserves, 0 or above; a fraction shares one. With `num_learners=0`, any
    value above 0 puts the learner on the first CUDA device."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if (
            not isinstance(self.num_learners, int)
            or isinstance(self.num_learners, bool)
            or self.num_learners < 0
        ):
            raise ValueError(f"num_learners is {self.num_learners!r}; give a whole number from 0")
        for name in ("num_cpus_per_learner", "num_gpus_per_learner"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value!r}; give a finite number from 0")
