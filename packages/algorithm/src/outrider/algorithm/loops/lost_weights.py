"""What a training loop does where the newest weights went with the process or node that held them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from outrider.envrunner.policies.weights_loading import LostWeightsError
from outrider.learner import AsyncLearnerGroup, LearnerGroup
from outrider.transport import WeightsReference

R = TypeVar("R")
_LOGGER = logging.getLogger(__name__)


def give(
    weights: WeightsReference,
    to: Callable[[WeightsReference], R],
    learners: LearnerGroup | AsyncLearnerGroup,
) -> tuple[R, WeightsReference]:
    """Return what `to` returns of these weights, or of those that learners who went back have, and which.

    How often learners may go back is theirs to say. Raises LostWeightsError where none of them is lost and
    the same weights do not come again.
    """
    is_again = False
    while True:
        try:
            return to(weights), weights
        except LostWeightsError as error:
            if is_again:
                raise
            _LOGGER.warning(
                "runners cannot have version %d of the weights, and learners are asked for theirs: %s",
                weights.version,
                error,
            )
        learners.get_state()  # who is lost is found out by it, and made anew
        newest = learners.publish()
        is_again = newest.version == weights.version
        weights = newest
