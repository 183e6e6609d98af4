"""What `num_learners="auto"` chooses: what RLlib's scaling guide asks its readers to work out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.learner import LearnerGroupSettings


def choose_learners(
    settings: LearnerGroupSettings,
    *,
    num_gpus: float,
    num_gpus_here: int,
    num_ray_env_runners: int,
) -> tuple[LearnerGroupSettings, str]:
    """Return settings that say how many learners there are, and a sentence that says so and why.

    `num_gpus` are those that learners may take, on whatever machine; `num_gpus_here` this process sees.
    One GPU: a learner in this process, which gets its fragments without a detour. Several: one learner
    each. None: one learner in a process of its own, beside the runners and not in their driver's way;
    where no runner is on a cluster, one in this process.
    """
    num_gpus_each = settings.num_gpus_per_learner or 1.0
    if num_gpus > 1 or (num_gpus == 1 and not num_gpus_here):
        num_learners = max(1, int(num_gpus / num_gpus_each))
        what = f"{num_learners} learner{'s' * (num_learners > 1)} with num_gpus_per_learner={num_gpus_each:g}"
        why = f"there are {num_gpus:g} GPUs" if num_gpus > 1 else "there is a GPU, on another machine"
    elif num_gpus == 1:
        num_learners = 0
        what, why = "the learner of this process, with the GPU", "there is one"
    else:
        num_learners, num_gpus_each = int(num_ray_env_runners > 0), 0.0
        if num_learners:
            what = "1 learner without a GPU, in a process of its own"
            why = "there is no GPU, and runners are on a cluster"
        else:
            what = "the learner of this process, without a GPU"
            why = "there is no GPU, and no runner is on a cluster"
    chosen = replace(settings, num_learners=num_learners, num_gpus_per_learner=num_gpus_each)
    return chosen, f"num_learners=auto: {what}, because {why}"
