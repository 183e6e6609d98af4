"""Settings of APPO. Free of torch, so that a command line may read them at once."""

from dataclasses import dataclass

from outrider.learner.training.ignored import ignored
from outrider.learner.training.number_check import check_number
from outrider.learner.training.schedule import Schedule, check_schedule
from outrider.learner.training.vtrace_settings import VTraceSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class APPOSettings(VTraceSettings):
    """How asynchronous PPO turns fragments into new weights. Luo et al. 2020 (IMPACT, arXiv 1912.00167)."""

    lr: Schedule = 5e-4
    """Step size of Adam; at least 0. A number, or [[environment steps, value], ...]. With 1e-3 runs of
    CartPole-v1 take as many steps in the mean, half of them fewer, and some never leave a return of 165."""
    normalize_advantages: bool = True
    """Whether advantages are shifted and scaled to mean 0 and deviation 1 over all rows of a step."""
    clip_param: Schedule = 0.2
    """How far the policy's ratio to the target network's may move from 1 before its gradient stops; at
    least 0. A number, or [[environment steps, value], ...]."""
    target_worker_clipping: float = 2.0
    """Largest ratio of the acting policy to the target network's in the surrogate; above 0. It bounds
    what an action counts that the target network has become much less likely to take."""
    target_network_update_freq: int = 4
    """Updates after which the target network is brought up to date; at least 1."""
    tau: float = 1.0
    """Share of the newest weights in the target network then; above 0, at most 1."""
    circular_buffer_num_batches: int = 4
    """Updates over which the uses of a batch are spread; at least 1. As many batches are kept."""
    circular_buffer_iterations_per_batch: int = 2
    """How often each batch is used; at least 1."""
    use_kl_loss: bool = False
    """Whether the divergence from the target network's policy is a loss of its own, whose coefficient
    adapts."""
    kl_coeff: float = 0.2
    """First coefficient of that loss; at least 0. Where the target network is brought up to date, it
    grows by half if the divergence since the time before was above twice `kl_target`, and halves if it
    was below half of it. Ignored without `use_kl_loss`."""
    kl_target: float = 0.01
    """Divergence in nats between two target networks; above 0. Ignored without `use_kl_loss`."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        VTraceSettings.__post_init__(self)
        for name in (
            "target_network_update_freq",
            "circular_buffer_num_batches",
            "circular_buffer_iterations_per_batch",
        ):
            check_number(name, getattr(self, name), low=1, whole=True)
        check_number("target_worker_clipping", self.target_worker_clipping, above=0)
        check_number("tau", self.tau, above=0, high=1)
        check_number("kl_coeff", self.kl_coeff, low=0)
        check_number("kl_target", self.kl_target, above=0)
        check_schedule("clip_param", self.clip_param, low=0)

    def ignored(self) -> list[str]:
        """Return a sentence for each setting that was given and has no effect."""
        if self.use_kl_loss:
            return []
        return ignored(self, "kl_coeff", "kl_target", cure="set use_kl_loss=True to use it")
