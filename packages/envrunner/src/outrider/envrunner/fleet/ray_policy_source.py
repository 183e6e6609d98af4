"""Where a runner on Ray has its weights from: the object store, whole or in pieces.

Of pieces it reads those with policies that it holds, and later, while it acts with them, those with policies
that begin to play. Nobody is asked for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import ray
from numpy.typing import NDArray

from outrider.envrunner.policies.some_policies import of_policies
from outrider.envrunner.policies.weights_loading import LostWeightsError
from outrider.transport.ray_pieces import StoredPolicies
from outrider.transport.ray_references import LOAD_TIMEOUT_S, fetch_objects, read_weights
from outrider.wire import Weights


class Holder(Protocol):
    """A runner, as far as this asks for it."""

    @property
    def version(self) -> int | None:
        """Version of the weights that act."""
        ...

    @property
    def held(self) -> NDArray[np.int32]:
        """Whose weights it has."""
        ...


@dataclass(frozen=True, slots=True)
class GivenWeights:
    """Weights that the driver has named; a `WeightsReference` that loads what its reader needs of them."""

    ref: ray.ObjectRef[Any]
    version: int
    """Version of these weights."""
    read: Callable[[Any], Weights]

    def load(self) -> Weights:
        """Return what is needed; raises as `RayWeights.load`."""
        (message,) = fetch_objects([self.ref], f"version {self.version} of the weights", LOAD_TIMEOUT_S)
        return self.read(message)


class PolicySource:
    """Remembers which weights act; keeps them in the object store as long as they do."""

    def __init__(self) -> None:
        """Nothing acts before `read`."""
        self.holder: Holder | None = None
        """The runner, where it fetches the policies that play."""
        self._acting: StoredPolicies | Weights | None = None

    def read(self, message: Any) -> Weights:  # noqa: ANN401 - `Message` or `Index`
        """Return what the runner needs of weights that act from now on."""
        if isinstance(message, dict):
            assert self.holder is not None, "pieces are for runners that say that they fetch them"
            stored = StoredPolicies(message)
            weights = stored.of(self.holder.held, since=self.holder.version)
            self._acting = stored
            return weights
        whole = read_weights(message)
        if self.holder is not None:
            self._acting = whole
        return whole

    def fetch(self, wanted: NDArray[np.int32], dropped: NDArray[np.int32]) -> Weights:
        """Return policies that begin to play. Raises LostWeightsError where they are gone."""
        assert self._acting is not None, "weights come before anybody plays"
        if isinstance(self._acting, Weights):
            return of_policies(self._acting, wanted)
        try:
            return self._acting.of(wanted)
        except (ConnectionError, TimeoutError) as error:
            raise LostWeightsError(f"it cannot have the policies that play: {error}") from error
