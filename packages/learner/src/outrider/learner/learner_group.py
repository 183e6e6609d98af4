"""How many learners there are and what each of them gets. Free of torch."""

from dataclasses import dataclass

from outrider.learner.number_check import check_number


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerGroupSettings:
    """Learners of one run; together they train one set of weights."""

    num_learners: int = 0
    """Learner processes; 0 learns in the process of the algorithm."""
    num_cpus_per_learner: float = 1.0
    """CPU cores that each learner reserves, and threads that its torch uses, one at least; at least 0.
    With `num_learners=0` nothing is reserved."""
    num_gpus_per_learner: float = 0.0
    """GPUs that each learner reserves, 0 or above; a fraction shares one. With `num_learners=0`, any
    value above 0 puts the learner on the first CUDA device."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_number("num_learners", self.num_learners, low=0, whole=True)
        check_number("num_cpus_per_learner", self.num_cpus_per_learner, low=0)
        check_number("num_gpus_per_learner", self.num_gpus_per_learner, low=0)
