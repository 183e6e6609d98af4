"""Settings of IMPALA. Free of torch, so that a command line may read them at once."""

from dataclasses import dataclass

from outrider.learner.training.vtrace_settings import VTraceSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class IMPALASettings(VTraceSettings):
    """How IMPALA turns fragments into new weights. Espeholt et al. 2018 (arXiv 1802.01561)."""

    grad_clip: float | None = 0.5
    """Largest global norm of the gradient; above 0. None: unlimited. With fragments of up to four versions
    ago, CartPole-v1 took half as many steps with 0.5 as with 40."""
