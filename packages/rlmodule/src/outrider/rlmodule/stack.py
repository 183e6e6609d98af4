"""Policies of one architecture, stored and computed together.

Axes: P policies; B rows of each policy, alike for all; k action parameters. Tensors go by the names of
`Policy.state_dict`, each with a first axis P, so that row i is the state of the plain policy.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from outrider.rlmodule.first_weights import draw_weights, gains
from outrider.rlmodule.ignored_settings import told_before
from outrider.rlmodule.stack_room import StackRoom
from outrider.rlmodule.stacked_call import held, stacked_call
from outrider.rlmodule.stacked_recurrence import StackedRecurrence

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from outrider.rlmodule.normalizer import ObservationNormalizer, RunningNormalizer
    from outrider.rlmodule.policy import Policy
    from outrider.rlmodule.recipe import PolicyRecipe
    from outrider.rlmodule.stacked_sequences import StackedSequences
    from outrider.wire import PolicyGraph

Tensors = dict[str, Tensor]
Module = TypeVar("Module", bound=nn.Module)


class PolicyStack:
    """P policies that one recipe makes, with a place from 0 each.

    `tensors` is storage, without gradients. Training goes through `forward_with`, on leaves that hold
    the policies that take part. Never index a tensor that wants gradients by policy: the backward of
    each index fills all of [P, ...] (4.7 s instead of 0.2 s at P = 1,000).
    """

    def __init__(self, recipe: PolicyRecipe, seeds: Sequence[int]) -> None:
        """Policy i begins as `recipe` makes it with seed `seeds[i]`.

        Raises ValueError for what cannot be stacked: it needs a plain policy for each.
        """
        self.recipe = recipe
        self.plain = recipe.build()
        """One policy of this architecture: spaces, distribution, what it is built of. Its weights mean
        nothing; new policies begin with all else of its state."""
        self._call = None if self.plain.is_recurrent else stacked_call(self.plain)
        self._recurrence = StackedRecurrence(self.plain) if self.plain.is_recurrent else None
        self.parameter_names = tuple(name for name, p in self.plain.named_parameters() if p.requires_grad)
        """Names of those tensors that are trained."""
        self._room = StackRoom()
        self.tensors = {
            name: tensor.new_empty((0, *tensor.shape)) for name, tensor in self.plain.state_dict().items()
        }
        self.grow(seeds)

    @property
    def tensors(self) -> Tensors:
        """All tensors of all policies, [P, ...]."""
        return self._tensors

    @tensors.setter
    def tensors(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._room.drop()

    @property
    def num_policies(self) -> int:
        """P."""
        return next(iter(self.tensors.values())).shape[0]

    def __call__(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return action parameters [P, B, k] and values [P, B] of observations {path: [P, B, ...]}."""
        return self.forward_with(self.tensors, observations)

    def forward_with(
        self, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Do the same with the tensors of any policies in any order, in the place of those stored here.

        Each policy computes what a plain one does, and neither outputs nor gradients depend on the others.
        """
        self._check(tensors)
        if self._call is None:
            raise ValueError("these policies are recurrent; call step_with or unroll_with, which take states")
        return self._call(self.plain, tensors, observations)

    def step_with(
        self, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Do the same with policies that remember: take a step from a state {name: [P, B, ...]}.

        Returns action parameters, values and the next state. Without recurrent state both are empty.
        """
        if self._recurrence is None:
            return *self.forward_with(tensors, observations), {}
        self._check(tensors)
        return self._recurrence.step(tensors, observations, state)

    def unroll_with(
        self, tensors: Mapping[str, Tensor], observations: Mapping[str, Tensor], sequences: StackedSequences
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Run sequences of rows through policies that remember.

        Returns action parameters [P, B, k], values [P, B], and the state after each place of `sequences`
        {name: [P, L, ...]}, to be read without gradient.
        """
        self._check(tensors)
        if self._recurrence is None:
            raise ValueError("these policies are not recurrent; call forward_with, which takes rows alone")
        return self._recurrence.unroll(tensors, observations, sequences)

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        if tensors.keys() != self.tensors.keys():
            wrong = sorted(tensors.keys() ^ self.tensors.keys())
            raise ValueError(f"a call of stacked policies needs all of their tensors and no other: {wrong}")

    def observation_normalizer(self, tensors: Mapping[str, Tensor]) -> ObservationNormalizer | None:
        """Return the normaliser whose statistics are these, [P, ...]; `merge` changes them in place."""
        return self._part("observation_normalizer", self.plain.observation_normalizer, tensors)

    def reward_normalizer(self, tensors: Mapping[str, Tensor]) -> RunningNormalizer | None:
        """Return the normaliser of rewards [P, B] whose statistics are these, [P]."""
        return self._part("reward_normalizer", self.plain.reward_normalizer, tensors)

    def _part(self, name: str, part: Module | None, tensors: Mapping[str, Tensor]) -> Module | None:
        if part is None:
            return None
        return held(part, {key: tensors[f"{name}.{key}"] for key in part.state_dict()})

    def fingerprint(self) -> str:
        """Return what the plain policy's is: one state dict fits both, a row of the stack the other."""
        return self.plain.fingerprint()

    def policy_graph(self) -> PolicyGraph:
        """Export what acts, for any P and B; see `outrider.rlmodule.export_stacked_graph`."""
        from outrider.rlmodule.export import export_stacked_graph

        return export_stacked_graph(self.plain)

    @torch.no_grad()
    def policy_tensors(self, place: int) -> Tensors:
        """Copy the tensors of one policy, the state of the plain one."""
        return {name: tensor[place].clone() for name, tensor in self.tensors.items()}

    @torch.no_grad()
    def load_policy(self, place: int, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `policy_tensors`, or the `state_dict` of a plain policy, returned."""
        for name, stored in self.tensors.items():
            if name not in tensors or tensors[name].shape != stored.shape[1:]:
                given = f"shape {tuple(tensors[name].shape)}" if name in tensors else "no such tensor"
                raise ValueError(
                    f"this policy's {name} needs shape {tuple(stored.shape[1:])}, and {given} came; load "
                    "what a policy of the same spaces and module settings returned"
                )
        for name, stored in self.tensors.items():
            stored[place].copy_(tensors[name])

    def policy(self, place: int) -> Policy:
        """Return a plain policy with a copy of the weights of one."""
        policy = copy.deepcopy(self.plain)
        policy.load_state_dict(self.policy_tensors(place))
        return policy

    def grow(self, seeds: Sequence[int]) -> range:
        """Add a policy for each seed behind the others; return their places."""
        first = self.num_policies
        self._tensors = self._room.extended(self._tensors, len(seeds))
        new = {name: tensor[first:] for name, tensor in self.tensors.items()}
        if self.recipe.network is None:
            self._begin(seeds, new)
        else:
            self._build_each(seeds, new)
        return range(first, first + len(seeds))

    def _begin(self, seeds: Sequence[int], into: Tensors) -> None:
        """Write what `build_policy` begins with, without building any: 0.2 instead of 1.8 ms a policy."""
        gain_of = gains(self.plain)
        for name, tensor in self.plain.state_dict().items():
            if name not in gain_of:
                into[name].copy_(tensor)
        draw_weights(gain_of, seeds, into)

    def _build_each(self, seeds: Sequence[int], into: Tensors) -> None:
        """Write what networks of the user's begin with; only they know."""
        with told_before():
            for place, seed in enumerate(seeds):
                for name, tensor in dataclasses.replace(self.recipe, seed=seed).build().state_dict().items():
                    into[name][place] = tensor

    def remove(self, places: Collection[int]) -> None:
        """Drop policies; those behind them move up."""
        kept = [place for place in range(self.num_policies) if place not in set(places)]
        self.tensors = {name: tensor[kept] for name, tensor in self.tensors.items()}

    def to(self, device: torch.device | str) -> PolicyStack:
        """Move all tensors."""
        self.plain.to(device)
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return self
