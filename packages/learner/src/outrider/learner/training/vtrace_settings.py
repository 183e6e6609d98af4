"""What IMPALA and APPO have in common to set. Free of torch, so that a command line may read it at once."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from outrider.learner.training.number_check import check_number
from outrider.learner.training.schedule import Schedule, check_schedule


class RatioBounds(NamedTuple):
    """The largest importance ratios that V-trace lets pass; math.inf lets all."""

    rho: float = math.inf
    """In temporal differences."""
    c: float = math.inf
    """In traces."""
    pg_rho: float = math.inf
    """In advantages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VTraceSettings:
    """How an asynchronous algorithm turns fragments of older policies into new weights."""

    lr: Schedule = 1e-3
    """Step size of Adam; at least 0. A number, or [[environment steps, value], ...]."""
    gamma: float = 0.99
    """Weight of the next step's reward. Range [0, 1]; higher looks further ahead."""
    lambda_: float = 1.0
    """Weight of longer returns in the V-trace targets. Range [0, 1]; lower is more biased and less noisy."""
    train_batch_size_per_learner: int = 500
    """Rows that each learner waits for before an update; at least 1. More is steadier, and slower to
    react to newer fragments."""
    num_epochs: int = 1
    """Passes over the rows each time they are used; at least 1."""
    minibatch_size: int | None = None
    """Rows of one gradient step on each learner; at least 1. A pass is cut into as many parts, of whole
    streams, so that parts have about so many rows. None: one part."""
    vtrace_clip_rho_threshold: float | None = 1.0
    """Largest importance ratio in a temporal difference (rho-bar); above 0. It decides which policy the
    values are of: None, unlimited, the one that learns; lower, nearer to the one that acted."""
    vtrace_clip_c_threshold: float | None = 1.0
    """Largest importance ratio in a trace (c-bar); above 0. It decides how far later differences reach
    back, not what is learned. None: unlimited."""
    vtrace_clip_pg_rho_threshold: float | None = 1.0
    """Largest importance ratio in an advantage; above 0. None: unlimited."""
    vf_loss_coeff: float = 0.5
    """Weight of the mean squared error of the values; at least 0."""
    entropy_coeff: Schedule = 0.01
    """Weight of the policy's entropy; at least 0, higher explores more. A number, or
    [[environment steps, value], ...]."""
    normalize_advantages: bool = False
    """Whether advantages are shifted and scaled to mean 0 and deviation 1 over all rows of a step."""
    grad_clip: float | None = 40.0
    """Largest global norm of the gradient; above 0. None: unlimited."""
    adam_epsilon: float = 1e-5
    """Term in Adam's denominator; above 0. Larger damps the steps of rarely used weights."""
    max_staleness: int = 20
    """How many versions older than the learner's weights a fragment's may be; at least 0. Older ones are
    thrown away and counted."""
    learner_queue_size: int = 2
    """Updates whose fragments may wait for the learners, the next one included; at least 1. Runners whose
    fragments find no room wait. More bridge longer pauses of the runners, and make fragments older."""
    min_time_s_per_iteration: float = 0.5
    """Seconds that an iteration lasts at least, so that a fast learner reports in a readable rhythm; at
    least 0."""
    max_consecutive_skipped_steps: int = 1000
    """How many gradient steps in a row may be skipped because a loss or gradient was not finite before
    training stops with an error, or one of several policies is frozen; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("train_batch_size_per_learner", "num_epochs", "learner_queue_size"):
            check_number(name, getattr(self, name), low=1, whole=True)
        for name in ("max_staleness", "max_consecutive_skipped_steps"):
            check_number(name, getattr(self, name), low=0, whole=True)
        if self.minibatch_size is not None:
            check_number("minibatch_size", self.minibatch_size, low=1, whole=True)
        check_number("gamma", self.gamma, low=0, high=1)
        check_number("lambda_", self.lambda_, low=0, high=1)
        check_number("vf_loss_coeff", self.vf_loss_coeff, low=0)
        check_number("min_time_s_per_iteration", self.min_time_s_per_iteration, low=0)
        check_number("adam_epsilon", self.adam_epsilon, above=0)
        thresholds = ("rho", "c", "pg_rho")
        for name in ("grad_clip", *(f"vtrace_clip_{which}_threshold" for which in thresholds)):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        check_schedule("lr", self.lr, low=0)
        check_schedule("entropy_coeff", self.entropy_coeff, low=0)

    def ignored(self) -> list[str]:
        """Return a sentence for each setting that was given and has no effect: none."""
        return []

    def ratio_bounds(self) -> RatioBounds:
        """Return the three thresholds as `outrider.learner.training.vtrace` takes them."""
        bounds = (
            self.vtrace_clip_rho_threshold,
            self.vtrace_clip_c_threshold,
            self.vtrace_clip_pg_rho_threshold,
        )
        return RatioBounds(*(math.inf if bound is None else bound for bound in bounds))
