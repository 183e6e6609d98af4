"""Settings of PPO. Free of torch, so that a command line may read them at once."""

from dataclasses import dataclass

from outrider.learner.training.ignored import ignored
from outrider.learner.training.number_check import check_number
from outrider.learner.training.schedule import Schedule, check_schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOSettings:
    """How PPO turns fragments into new weights. Schulman et al. 2017 (arXiv 1707.06347)."""

    lr: Schedule = 3e-4
    """Step size of Adam; at least 0. A number, or [[environment steps, value], ...]."""
    gamma: float = 0.99
    """Weight of the next step's reward. Range [0, 1]; higher looks further ahead."""
    lambda_: float = 0.95
    """Weight of longer returns in the advantages. Range [0, 1]; higher is less biased and noisier."""
    train_batch_size_per_learner: int = 2048
    """Rows that each learner gets for one update; at least 1. More is steadier and slower to start."""
    minibatch_size: int = 128
    """Rows of one gradient step on each learner; at least 1. An epoch is cut into the smallest number
    of parts none of which is larger; their sizes differ by at most one row."""
    num_epochs: int = 10
    """Passes over the rows in one update; at least 1."""
    clip_param: Schedule = 0.2
    """How far the probability ratio may move from 1 before its gradient stops; at least 0. A number, or
    [[environment steps, value], ...]."""
    vf_clip_param: float | None = None
    """How far a value may move from the one before the update before its gradient stops, in units of
    (normalised) returns; above 0. None: as far as it likes. RLlib's setting of this name clips the
    squared error instead, which ends learning where errors are large."""
    vf_loss_coeff: float = 0.5
    """Weight of the mean squared error of the values; at least 0."""
    entropy_coeff: Schedule = 0.0
    """Weight of the policy's entropy; at least 0, higher explores more. A number, or
    [[environment steps, value], ...]."""
    use_kl_loss: bool = False
    """Whether the divergence from the acting policy is a loss of its own, whose coefficient adapts."""
    kl_coeff: float = 0.2
    """First coefficient of that loss; at least 0. It grows by half when the divergence is above twice
    `kl_target` and halves when it is below half of it. Ignored without `use_kl_loss`."""
    kl_target: float = 0.01
    """Divergence in nats that one update should cause; above 0. Ignored without `use_kl_loss`."""
    early_stop_kl: float | None = None
    """Divergence in nats after which no further epoch of an update begins; above 0. None: never."""
    grad_clip: float | None = 0.5
    """Largest global norm of the gradient; above 0. None: unlimited."""
    adam_epsilon: float = 1e-5
    """Term in Adam's denominator; above 0. Larger damps the steps of rarely used weights."""
    normalize_advantages: bool = True
    """Whether advantages are shifted and scaled to mean 0 and deviation 1 over all rows of an update."""
    recompute_advantages: bool = False
    """Whether each pass but the first begins with advantages and targets of values estimated anew, with the
    values as they are by then: values that depend on values come true in fewer updates. Each such pass
    takes about a third longer. Ignored where there is one pass. Andrychowicz et al. 2021
    (arXiv 2006.05990), section 3.5."""
    max_seq_len: int = 20
    """Rows through which gradients flow back in time; at least 1. Ignored by modules without memory."""
    max_consecutive_skipped_steps: int = 1000
    """How many gradient steps in a row may be skipped because a loss or gradient was not finite before
    training stops with an error, or one of several policies is frozen; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("train_batch_size_per_learner", "minibatch_size", "num_epochs", "max_seq_len"):
            check_number(name, getattr(self, name), low=1, whole=True)
        check_number("max_consecutive_skipped_steps", self.max_consecutive_skipped_steps, low=0, whole=True)
        check_number("gamma", self.gamma, low=0, high=1)
        check_number("lambda_", self.lambda_, low=0, high=1)
        check_number("vf_loss_coeff", self.vf_loss_coeff, low=0)
        check_number("kl_coeff", self.kl_coeff, low=0)
        check_number("kl_target", self.kl_target, above=0)
        check_number("adam_epsilon", self.adam_epsilon, above=0)
        for name in ("vf_clip_param", "early_stop_kl", "grad_clip"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        check_schedule("lr", self.lr, low=0)
        check_schedule("clip_param", self.clip_param, low=0)
        check_schedule("entropy_coeff", self.entropy_coeff, low=0)

    def ignored(self) -> list[str]:
        """Return a sentence for each setting that was given and has no effect."""
        found = []
        if not self.use_kl_loss:
            found += ignored(self, "kl_coeff", "kl_target", cure="set use_kl_loss=True to use it")
        if self.num_epochs == 1:
            found += ignored(self, "recompute_advantages", cure="set num_epochs above 1 to use it")
        return found
