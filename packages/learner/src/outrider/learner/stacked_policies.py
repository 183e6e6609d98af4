"""All that is kept of each stacked policy from one update to the next, one row each.

Axes: P = policies of the stack, B = policies of a block, D = trained numbers of a policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.rlmodule import PolicyStack

COUNTERS: dict[str, type] = {
    "num_steps": np.int64,
    "num_env_steps": np.int64,
    "num_updates": np.int64,
    "version": np.int64,
    "shuffle_key": np.uint64,
    "kl_coeff": np.float64,
    "num_skipped_in_a_row": np.int64,
    "is_frozen": np.bool_,
}
"""num_steps are those of Adam; version is that of the weights at which a policy last changed."""


class Layout:
    """Where each trained tensor of a policy lies among its D numbers."""

    def __init__(self, stack: PolicyStack) -> None:
        trained = set(stack.parameter_names)
        self.shapes = {n: tuple(t.shape[1:]) for n, t in stack.tensors.items() if n in trained}
        self._sizes = [int(np.prod(shape, dtype=np.int64)) for shape in self.shapes.values()]
        self.width = sum(self._sizes)

    def views(self, flat_BD: Tensor) -> dict[str, Tensor]:
        """Return each trained tensor [B, ...] as a view of the numbers of some policies."""
        parts = torch.split(flat_BD, self._sizes, 1)
        return {
            name: part.view(len(part), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def join(self, tensors: Mapping[str, Tensor | None], out_BD: Tensor) -> None:
        """Write trained tensors, or their gradients, side by side into `out_BD`; None counts as zeros."""
        num_policies = len(out_BD)
        parts = [
            out_BD.new_zeros(num_policies, size) if tensor is None else tensor.reshape(num_policies, size)
            for tensor, size in zip((tensors[name] for name in self.shapes), self._sizes, strict=True)
        ]
        torch.cat(parts, 1, out=out_BD)


@dataclass(kw_only=True, slots=True)
class Block:
    """What is kept of some policies, to be changed in place; a copy, or a view where they lie together."""

    weight_BD: Tensor
    first_BD: Tensor
    second_BD: Tensor
    others: dict[str, Tensor]
    """[B, ...] tensors that no gradient trains: the statistics of normalisers."""


class StackedPolicies:
    """Weights, moments and counters of P policies. The tensors of the stack become views of the weights."""

    def __init__(self, stack: PolicyStack) -> None:
        self.stack = stack
        self.layout = Layout(stack)
        self.counters: dict[str, NDArray[Any]] = {
            name: np.zeros(stack.num_policies, dtype) for name, dtype in COUNTERS.items()
        }
        self._gather_weights()
        self.first_PD, self.second_PD = torch.zeros_like(self.weight_PD), torch.zeros_like(self.weight_PD)
        self.copies: dict[str, dict[str, Tensor]] = {}
        """By what they are for, earlier tensors of each policy, [P, ...]; a new policy's are its first."""

    def keep_copy(self, name: str) -> None:
        """Begin to keep a copy of all tensors, which goes where the policies go."""
        self.copies[name] = {key: tensor.clone() for key, tensor in self.stack.tensors.items()}

    def __len__(self) -> int:
        return len(self.weight_PD)

    def take(self, place_B: NDArray[np.int64]) -> Block:
        """Gather what is kept of the policies at `place_B`."""
        places = self._places(place_B)
        return Block(
            weight_BD=self.weight_PD[places],
            first_BD=self.first_PD[places],
            second_BD=self.second_PD[places],
            others={
                name: t[places] for name, t in self.stack.tensors.items() if name not in self.layout.shapes
            },
        )

    def put(self, place_B: NDArray[np.int64], block: Block) -> None:
        """Bring back what `take` returned."""
        places = self._places(place_B)
        if isinstance(places, slice):
            return
        self.weight_PD[places] = block.weight_BD
        self.first_PD[places] = block.first_BD
        self.second_PD[places] = block.second_BD
        for name, tensor in block.others.items():
            self.stack.tensors[name][places] = tensor

    def grow(self, seed: int) -> None:
        """Put a new policy behind the others."""
        self.stack.grow([seed])
        self._gather_weights()
        nothing = torch.zeros_like(self.weight_PD[:1])
        self.first_PD = torch.cat((self.first_PD, nothing))
        self.second_PD = torch.cat((self.second_PD, nothing))
        for name, copy in self.copies.items():
            new = self.stack.tensors
            self.copies[name] = {key: torch.cat((tensor, new[key][-1:])) for key, tensor in copy.items()}
        for name, column in self.counters.items():
            self.counters[name] = np.append(column, np.zeros(1, column.dtype))

    def keep(self, place_P: NDArray[np.int64]) -> None:
        """Put the policies in this order, and drop those that are not in it."""
        places = torch.from_numpy(place_P).to(self.weight_PD.device)
        self.stack.tensors = {name: t.index_select(0, places) for name, t in self.stack.tensors.items()}
        self._gather_weights()
        self.first_PD, self.second_PD = self.first_PD[places], self.second_PD[places]
        for name, copy in self.copies.items():
            self.copies[name] = {key: tensor.index_select(0, places) for key, tensor in copy.items()}
        self.counters = {name: column[place_P] for name, column in self.counters.items()}

    def get_state(self) -> StateTree:
        """Copy everything; arrays have a first axis P."""
        return {
            **{name: _arrays(tensors) for name, tensors in self._parts().items()},
            "counters": {name: column.copy() for name, column in self.counters.items()},
        }

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned of as many policies."""
        self._write(slice(None), state)

    def policy_state(self, place: int) -> StateTree:
        """Copy the row of one policy; arrays have no first axis."""
        return {
            **{
                name: _arrays({key: tensor[place] for key, tensor in tensors.items()})
                for name, tensors in self._parts().items()
            },
            "counters": {name: np.array(column[place]) for name, column in self.counters.items()},
        }

    def set_policy_state(self, place: int, state: StateTree) -> None:
        """Overwrite the row of one policy by what `policy_state` returned."""
        self._write(place, state)

    def _write(self, place: int | slice, state: StateTree) -> None:
        for part, tensors in self._parts().items():
            for name, tensor in tensors.items():
                tensor[place] = torch.from_numpy(np.array(state[part][name])).to(tensor)
        for name, column in self.counters.items():
            column[place] = state["counters"][name]

    def _parts(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors [P, ...] by the names under which they are saved."""
        return {
            "module": self.stack.tensors,
            "first_moments": self.layout.views(self.first_PD),
            "second_moments": self.layout.views(self.second_PD),
            **self.copies,
        }

    def _gather_weights(self) -> None:
        tensors = self.stack.tensors
        device = next(iter(tensors.values())).device
        self.weight_PD = torch.empty(self.stack.num_policies, self.layout.width, device=device)
        self.layout.join(tensors, self.weight_PD)
        self.stack.tensors = tensors | self.layout.views(self.weight_PD)

    def _places(self, place_B: NDArray[np.int64]) -> Tensor | slice:
        """Say where policies lie: as a slice, whose elements are views, where they are neighbours."""
        first = int(place_B[0])
        if np.array_equal(place_B, np.arange(first, first + len(place_B))):
            return slice(first, first + len(place_B))
        return torch.from_numpy(place_B).to(self.weight_PD.device)


def _arrays(tensors: Mapping[str, Tensor]) -> StateTree:
    return {name: np.array(tensor.cpu().numpy()) for name, tensor in tensors.items()}
