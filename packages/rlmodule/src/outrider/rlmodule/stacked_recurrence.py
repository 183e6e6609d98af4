"""How stacked policies that remember are computed by the code of one.

Axes: P policies; B rows of each; k action parameters; L places, see `stacked_sequences`.

Those of the catalogue compute batched products, and sequences all at once but for the LSTM itself. Where
there are images, and for networks of the user's, a step goes through torch.vmap, and sequences step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from outrider.rlmodule.stacked_call import is_batched, require_vmapped
from outrider.rlmodule.stacked_sequences import unroll_by_steps
from outrider.rlmodule.zero_rows import zero_observations, zero_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outrider.rlmodule.policy import Policy
    from outrider.rlmodule.stacked_sequences import StackedSequences

NUM_TRIED_ROWS = 2
Outputs = tuple[Tensor, Tensor, dict[str, Tensor]]


class StackedRecurrence:
    """Computes recurrent policies whose tensors are given, [P, ...]."""

    def __init__(self, policy: Policy) -> None:
        """Compute policies like this one; raises ValueError where there is no way."""
        self._policy = policy
        self._step, self._unroll = _Method(policy, "step"), _Method(policy, "unroll")
        self._is_batched = is_batched(policy)
        if not self._is_batched:
            require_vmapped(policy, self._try)

    def step(
        self, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> Outputs:
        """Return action parameters [P, B, k], values [P, B] and the next state {name: [P, B, ...]}."""
        given = (_of_method(tensors), dict(observations), dict(state))
        if self._is_batched:
            return _call(self._step, *given)
        call = torch.vmap(lambda *each: _call(self._step, *each), randomness="different")
        result: Outputs = call(*given)
        return result

    def unroll(
        self, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor], sequences: StackedSequences
    ) -> Outputs:
        """Return action parameters [P, B, k], values [P, B], and the state after each place [P, L, ...]."""
        if self._is_batched:
            return _call(self._unroll, _of_method(tensors), observations, sequences)
        return unroll_by_steps(lambda *given: self.step(tensors, *given), observations, sequences)

    def _try(self, tensors: Mapping[str, Tensor]) -> None:
        axes = len(next(iter(tensors.values()))), NUM_TRIED_ROWS
        spaces, state = self._policy.observation_space, self._policy.state_spec
        self.step(tensors, zero_observations(spaces, *axes), zero_state(state, *axes))


class _Method(nn.Module):
    """A method of a policy as what `functional_call` calls."""

    def __init__(self, policy: Policy, name: str) -> None:
        super().__init__()
        self.policy = policy
        self._name = name

    def forward(self, *given: Any) -> Outputs:  # noqa: ANN401 - what the method takes
        outputs: Outputs = getattr(self.policy, self._name)(*given)
        return outputs


def _of_method(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"policy.{name}": tensor for name, tensor in tensors.items()}


def _call(method: _Method, tensors: dict[str, Tensor], *given: Any) -> Outputs:  # noqa: ANN401
    # Nothing is tied, or it would have been refused.
    outputs: Outputs = functional_call(method, tensors, given, tie_weights=False)
    return outputs
