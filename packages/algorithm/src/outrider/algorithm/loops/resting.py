"""Stands in for the training loop of an algorithm that was loaded to be evaluated or exported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from outrider.transport import LocalWeights, WeightsReference
from outrider.wire import Weights

if TYPE_CHECKING:
    from outrider.learner import Learner
    from outrider.rlmodule import Policy

NO_TRAINING = "this algorithm was loaded without runners and learners; load it with to_train=True to train it"


class _Resting:
    """Has weights and neither runners nor learners; obeys `TrainingLoop`, except that it does not train."""

    def __init__(self, weights: Weights) -> None:
        self._weights = LocalWeights(weights)
        self._state: dict[str, Any] = {}

    @property
    def weights(self) -> WeightsReference:
        """Those of the checkpoint."""
        return self._weights

    def iterate(self) -> NoReturn:
        """Refuse."""
        raise ValueError(NO_TRAINING)

    def settle(self) -> None:
        """Do nothing: nobody learns."""

    def interrupt(self) -> None:
        """Do nothing: there is no iteration."""

    def get_state(self) -> dict[str, Any]:
        """Return what was set."""
        return self._state


class RestingLoop(_Resting):
    """Rests with one policy."""

    def __init__(self, policy: Policy) -> None:
        """Take a new policy, into which the weights of a checkpoint come."""
        super().__init__(policy.weights(0))
        self._policy = policy

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take the weights out of the learner's state."""
        learner = state["learner"]
        weights = Weights(
            version=learner["version"], fingerprint=learner["fingerprint"], tensors=learner["module"]
        )
        self._policy.load_weights(weights)
        self._weights = LocalWeights(weights)
        self._state = dict(state)


class RestingPolicies(_Resting):
    """Rests with several policies, whose weights the state of their learner holds."""

    def __init__(self, learner: Learner) -> None:
        """Take a new learner, into which the state of a checkpoint comes."""
        super().__init__(learner.publish())
        self._learner = learner

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Load the learner's state."""
        self._learner.set_state(state["learner"])
        self._weights = LocalWeights(self._learner.publish())
        self._state = dict(state)
