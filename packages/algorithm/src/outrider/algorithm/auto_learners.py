"""What `num_learners="auto"` chooses: what RLlib's scaling guide asks its readers to work out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.learner import LearnerGroupSettings


def choose_learners(
    settings: LearnerGroupSettings, *, num_gpus: int, num_env_runners: int
) -> tuple[LearnerGroupSettings, str]:
    """Return settings that say how many learners there are, and a sentence that says so and why.

    One GPU: a learner in this process, which gets its fragments without a detour. Several: one learner
    each. None: one learner in a process of its own, beside the runners and not in their driver's way;
    where there are no runners to work beside, one in this process.
    """
    num_gpus_each = settings.num_gpus_per_learner or 1.0
    if num_gpus > 1:
        num_learners = int(num_gpus / num_gpus_each)
        chosen = replace(settings, num_learners=num_learners, num_gpus_per_learner=num_gpus_each)
        what = f"{num_learners} learners with num_gpus_per_learner={num_gpus_each:g}"
        why = f"there are {num_gpus} GPUs"
    elif num_gpus == 1:
        chosen = replace(settings, num_learners=0, num_gpus_per_learner=num_gpus_each)
        what, why = "the learner of this process, with the GPU", "there is one"
    elif num_env_runners:
        chosen = replace(settings, num_learners=1, num_gpus_per_learner=0.0)
        what = "1 learner without a GPU, in a process of its own"
        why = "there is no GPU, and runners are in processes of their own"
    else:
        chosen = replace(settings, num_learners=0, num_gpus_per_learner=0.0)
        what = "the learner of this process, without a GPU"
        why = "there is no GPU, and runners are in this process too"
    return chosen, f"num_learners=auto: {what}, because {why}"
