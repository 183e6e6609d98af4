"""All that is kept of each stacked policy from one update to the next, one row each.

Axes: P = policies of the stack, B = policies of a block.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.rlmodule import PolicyStack, StackRoom, in_large_pages

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


@dataclass(kw_only=True, slots=True)
class Block:
    """What is kept of some policies, [B, ...], to be changed in place; views where they lie together."""

    weights: dict[str, Tensor]
    """Those that are trained."""
    first_moments: dict[str, Tensor]
    second_moments: dict[str, Tensor]
    others: dict[str, Tensor]
    """Tensors that no gradient trains: the statistics of normalisers."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the policies."""
        return self.weights | self.others


class StackedPolicies:
    """Weights, moments and counters of P policies."""

    def __init__(self, stack: PolicyStack) -> None:
        self.stack = stack
        # Products and the kernel of Adam go twice as fast over tensors without gaps.
        stack.tensors = {name: tensor.contiguous() for name, tensor in stack.tensors.items()}
        self.counters: dict[str, NDArray[Any]] = {
            name: np.zeros(stack.num_policies, dtype) for name, dtype in COUNTERS.items()
        }
        self.first_moments, self.second_moments = (
            {
                name: in_large_pages(torch.empty_like(stack.tensors[name])).zero_()
                for name in stack.parameter_names
            }
            for _ in range(2)
        )
        self._rooms = {"first_moments": StackRoom(), "second_moments": StackRoom()}
        self.copies: dict[str, dict[str, Tensor]] = {}
        """By what they are for, earlier tensors of each policy, [P, ...]; a new policy's are its first."""

    def keep_copy(self, name: str) -> None:
        """Begin to keep a copy of all tensors, which goes where the policies go."""
        self._rooms[name] = StackRoom()
        self.copies[name] = {key: tensor.clone() for key, tensor in self.stack.tensors.items()}

    def __len__(self) -> int:
        return self.stack.num_policies

    def take(self, place_B: NDArray[np.int64]) -> Block:
        """Gather what is kept of the policies at `place_B`."""
        places = self._places(place_B)
        tensors, trained = self.stack.tensors, self.first_moments.keys()
        return Block(
            weights={name: tensors[name][places] for name in trained},
            first_moments={name: tensor[places] for name, tensor in self.first_moments.items()},
            second_moments={name: tensor[places] for name, tensor in self.second_moments.items()},
            others={name: tensors[name][places] for name in tensors.keys() - trained},
        )

    def put(self, place_B: NDArray[np.int64], block: Block) -> None:
        """Bring back what `take` returned."""
        places = self._places(place_B)
        if isinstance(places, slice):
            return
        for kept, changed in (
            (self.stack.tensors, block.tensors),
            (self.first_moments, block.first_moments),
            (self.second_moments, block.second_moments),
        ):
            for name, tensor in changed.items():
                kept[name][places] = tensor

    def grow(self, seed: int) -> None:
        """Put a new policy behind the others."""
        self.stack.grow([seed])
        self.first_moments = self._rooms["first_moments"].extended(self.first_moments, 1)
        self.second_moments = self._rooms["second_moments"].extended(self.second_moments, 1)
        for moment in (*self.first_moments.values(), *self.second_moments.values()):
            moment[-1] = 0.0
        for name, copy in self.copies.items():
            self.copies[name] = self._rooms[name].extended(copy, 1)
            for key, tensor in self.copies[name].items():
                tensor[-1] = self.stack.tensors[key][-1]
        for name, column in self.counters.items():
            self.counters[name] = np.append(column, np.zeros(1, column.dtype))

    def keep(self, place_P: NDArray[np.int64]) -> None:
        """Put the policies in this order, and drop those that are not in it."""
        places = torch.from_numpy(place_P).to(self._device)

        def kept(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: torch.index_select(
                    tensor, 0, places, out=in_large_pages(tensor.new_empty((len(places), *tensor.shape[1:])))
                )
                for name, tensor in tensors.items()
            }

        self.stack.tensors = kept(self.stack.tensors)
        self.first_moments, self.second_moments = kept(self.first_moments), kept(self.second_moments)
        self.copies = {name: kept(copy) for name, copy in self.copies.items()}
        for room in self._rooms.values():
            room.drop()
        self.counters = {name: column[place_P] for name, column in self.counters.items()}

    def get_state(self) -> StateTree:
        """Copy everything; arrays have a first axis P."""
        return {
            **{name: _arrays(tensors) for name, tensors in self.parts().items()},
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
                for name, tensors in self.parts().items()
            },
            "counters": {name: np.array(column[place]) for name, column in self.counters.items()},
        }

    def set_policy_state(self, place: int, state: StateTree) -> None:
        """Overwrite the row of one policy by what `policy_state` returned."""
        self._write(place, state)

    def _write(self, place: int | slice, state: StateTree) -> None:
        for part, tensors in self.parts().items():
            for name, tensor in tensors.items():
                tensor[place] = torch.from_numpy(np.require(state[part][name], requirements="W")).to(tensor)
        for name, column in self.counters.items():
            column[place] = state["counters"][name]

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors [P, ...] by the names under which they are saved."""
        return {
            "module": self.stack.tensors,
            "first_moments": self.first_moments,
            "second_moments": self.second_moments,
            **self.copies,
        }

    @property
    def _device(self) -> torch.device:
        return next(iter(self.stack.tensors.values())).device

    def _places(self, place_B: NDArray[np.int64]) -> Tensor | slice:
        """Say where policies lie: as a slice, whose elements are views, where they are neighbours."""
        first = int(place_B[0])
        if np.array_equal(place_B, np.arange(first, first + len(place_B))):
            return slice(first, first + len(place_B))
        return torch.from_numpy(place_B).to(self._device)


def _arrays(tensors: Mapping[str, Tensor]) -> StateTree:
    return {name: np.array(tensor.cpu().numpy()) for name, tensor in tensors.items()}
