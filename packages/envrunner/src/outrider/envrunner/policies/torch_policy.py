"""Acts through torch, for modules that cannot be exported as a policy graph. Needs the extra `torch`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.acting_policy import require_fit
from outrider.wire import ActionHead, Columns, Space, TensorSpec, Weights

if TYPE_CHECKING:
    import torch


class TorchModule(Protocol):
    """What this door takes: `outrider.rlmodule.Policy`, or anything alike."""

    @property
    def is_recurrent(self) -> bool:
        """Whether `step` has to be called instead of `forward`."""
        ...

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Recurrent state by name, without the batch axis."""
        ...

    def fingerprint(self) -> str:
        """Identify the module that weights must fit."""
        ...

    def load_weights(self, weights: Weights) -> None:
        """Replace all weights."""
        ...

    def forward(self, observations: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return action parameters [B, k] and values [B]."""
        ...

    def step(
        self, observations: dict[str, torch.Tensor], state: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return action parameters [B, k], values [B] and the next state."""
        ...


class TorchPolicyModule(TorchModule, Protocol):
    """A module that knows what it is for: `outrider.rlmodule.Policy`."""

    @property
    def observation_space(self) -> Space:
        """What the policy sees."""
        ...

    @property
    def action_heads(self) -> tuple[ActionHead, ...]:
        """How action parameters are read."""
        ...


class TorchRecipe(Protocol):
    """What a module is made of: `outrider.rlmodule.PolicyRecipe`."""

    def build(self) -> TorchPolicyModule:
        """Make the module."""
        ...

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values."""
        ...


def recipe_from_message(message: Mapping[str, Any], load: Callable[[bytes], Any] | None) -> TorchRecipe:
    """Read a recipe. Raises ImportError where outrider-rlmodule, which builds it, is not installed."""
    try:
        from outrider.rlmodule import PolicyRecipe
    except ImportError as error:
        raise ImportError(
            "the policy cannot be exported and has to be built here, which needs outrider-rlmodule; run "
            "`pip install 'outrider-envrunner[torch]'`"
        ) from error
    return PolicyRecipe.from_message(message, load)


class TorchStack:
    """Policies of one recipe, as far as acting needs them: arrays in, arrays out."""

    def __init__(self, recipe: TorchRecipe) -> None:
        """Raise ImportError where torch or outrider-rlmodule is not installed."""
        try:
            import torch

            from outrider.rlmodule import PolicyStack
        except ImportError as error:
            raise ImportError(
                "these policies cannot be exported and act through torch, which is not installed; run "
                "`pip install 'outrider-envrunner[torch]'`"
            ) from error
        self._from_numpy = torch.from_numpy
        self._no_gradients = torch.inference_mode
        self._stack = PolicyStack(recipe, [])  # type: ignore[arg-type]  # every recipe is outrider.rlmodule's
        self.observation_space = self._stack.plain.observation_space
        self.action_heads = self._stack.plain.action_heads
        self.state_spec = self._stack.plain.state_spec
        self.fingerprint = self._stack.fingerprint()
        self.tensors: Mapping[str, NDArray[Any]] = {
            name: tensor.numpy() for name, tensor in self._stack.tensors.items()
        }
        """Empty ones, [0, ...]: their names, shapes and dtypes."""

    def act(
        self, tensors: Columns, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [C, R, k] and the next state {name: [C, R, ...]}.

        Policies have tensors [C, ...]; rows are [C, R, ...].
        """
        with self._no_gradients():
            weights, inputs, before = (
                {name: self._from_numpy(column) for name, column in columns.items()}
                for columns in (tensors, observations, state)
            )
            parameters, _, after = self._stack.step_with(weights, inputs, before)
            return parameters.numpy(), {name: tensor.numpy() for name, tensor in after.items()}


class TorchPolicy:
    """Executes a torch module. An `ActingPolicy`. The module is this object's own from now on."""

    def __init__(self, module: TorchModule) -> None:
        """Raise ImportError where torch is not installed."""
        try:
            import torch
        except ImportError as error:
            raise ImportError(
                "acting through torch needs torch, which is not installed; run "
                "`pip install 'outrider-envrunner[torch]'`, or act through the exported policy graph"
            ) from error
        self._from_numpy = torch.from_numpy
        self._no_gradients = torch.inference_mode
        self._module = module

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Recurrent state by name, without the batch axis."""
        return self._module.state_spec

    def set_weights(self, weights: Weights) -> None:
        """Load new weights. Raises ValueError where they do not fit."""
        require_fit(weights, self._module.fingerprint())
        self._module.load_weights(weights)

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [B, k] and the next recurrent state."""
        with self._no_gradients():
            inputs = self._tensors(observations)
            if not self._module.is_recurrent:
                return self._module.forward(inputs)[0].numpy(), {}
            parameters, _, next_state = self._module.step(inputs, self._tensors(state))
            return parameters.numpy(), {name: tensor.numpy() for name, tensor in next_state.items()}

    def _tensors(self, columns: Columns) -> dict[str, torch.Tensor]:
        return {name: self._from_numpy(column) for name, column in columns.items()}
