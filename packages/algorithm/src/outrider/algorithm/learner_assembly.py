"""Makes the learners of an algorithm from its settings: in this process, or ranks on Ray."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from outrider.algorithm.auto_learners import choose_learners
from outrider.algorithm.run_settings import RunSettings
from outrider.learner import LocalLearnerGroup, choose_device
from outrider.learner.algorithms import make_learner

if TYPE_CHECKING:
    from outrider.learner import Learner
    from outrider.rlmodule import Policy

R = TypeVar("R", bound=RunSettings)

log = logging.getLogger(__name__)


def with_num_learners(settings: R) -> R:
    """Return settings in which "auto" has become a number, and say which."""
    if settings.learners.num_learners != "auto":
        return settings
    import torch

    learners, sentence = choose_learners(
        settings.learners,
        num_gpus=torch.cuda.device_count(),
        num_env_runners=settings.env_runners.num_env_runners,
    )
    log.warning(sentence)
    return replace(settings, learners=learners)


def make_local_learner(name: str, settings: RunSettings, policy: Policy, seed: int) -> Learner:
    """Make a learner in this process, which trains `policy` itself."""
    device = choose_device(settings.learners)
    return make_learner(name, policy, settings.training, seed=seed, device=device)


def make_local_learners(name: str, settings: RunSettings, policy: Policy, seed: int) -> LocalLearnerGroup:
    """Make the learner of this process; it trains when it is told to."""
    return LocalLearnerGroup(make_local_learner(name, settings, policy, seed))
