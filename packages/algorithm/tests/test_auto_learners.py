from __future__ import annotations

import pytest

from outrider.algorithm.assembly.auto_learners import choose_learners
from outrider.learner import LearnerGroupSettings

AUTO = LearnerGroupSettings(num_learners="auto")


@pytest.mark.parametrize(
    ("num_gpus", "num_gpus_here", "num_ray_env_runners", "num_learners", "num_gpus_per_learner"),
    [
        (1, 1, 4, 0, 1.0),
        (1, 1, 0, 0, 1.0),
        (1, 0, 4, 1, 1.0),  # the GPU is on another machine of the cluster
        (0, 0, 4, 1, 0.0),
        (0, 0, 0, 0, 0.0),
        (4, 1, 8, 4, 1.0),
        (4, 4, 0, 4, 1.0),
    ],
)
def test_auto_does_what_the_scaling_guide_warns_of(
    num_gpus: int,
    num_gpus_here: int,
    num_ray_env_runners: int,
    num_learners: int,
    num_gpus_per_learner: float,
) -> None:
    chosen, _ = choose_learners(
        AUTO, num_gpus=num_gpus, num_gpus_here=num_gpus_here, num_ray_env_runners=num_ray_env_runners
    )
    assert (chosen.num_learners, chosen.num_gpus_per_learner) == (num_learners, num_gpus_per_learner)


def test_auto_says_what_it_chose_and_why() -> None:
    _, sentence = choose_learners(AUTO, num_gpus=0, num_gpus_here=0, num_ray_env_runners=2)
    assert sentence.startswith("num_learners=auto: 1 learner without a GPU, in a process of its own, because")


def test_learners_that_share_gpus_are_as_many_as_their_shares() -> None:
    settings = LearnerGroupSettings(num_learners="auto", num_gpus_per_learner=0.5)
    chosen, _ = choose_learners(settings, num_gpus=2, num_gpus_here=2, num_ray_env_runners=1)
    assert chosen.num_learners == 4
