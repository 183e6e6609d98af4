"""Policies as ONNX models: for runners, with weights as inputs, and to keep, with weights inside.

torch.onnx's tracing exporter is used because it takes 0.05 to 0.25 s where the newer one takes 5.7 s.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import torch
from outrider.wire import PolicyGraph, leaf_dtype, leaf_shape, leaves
from torch import Tensor, nn

from outrider.rlmodule.most_likely_action import MostLikelyAction

if TYPE_CHECKING:
    from outrider.rlmodule.policy import Policy

OPSET = 17
NUM_TRACED_ROWS = 2
"""Not 1, which broadcasts and would hide a batch axis that is written down as a number."""


class PolicyNotExportable(Exception):  # noqa: N818 - the name says what is wrong, not that it is an error
    """The module cannot become a policy graph; let it act through torch instead."""


def export_graph(policy: Policy) -> PolicyGraph:
    """Trace what acting needs (never the value), with weights as inputs "weights/" + name.

    Raises PolicyNotExportable where the module does something that a graph cannot say.
    """
    return PolicyGraph(
        model=_export(_Acting(policy, standalone=False), policy),
        fingerprint=policy.fingerprint(),
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        action_heads=policy.action_heads,
        state=policy.state_spec,
    )


def export_standalone(policy: Policy) -> bytes:
    """Trace a model that needs only NumPy and ONNX Runtime, with its present weights inside.

    Inputs "observation" + path [B, ...] and "state/" + name; outputs "action_parameters" [B, k],
    "action" + path [B, ...], the most likely action in the environment's own units and dtype, and
    "next_state/" + name. Raises PolicyNotExportable as `export_graph` does.
    """
    return _export(_Acting(policy, standalone=True), policy)


class _Acting(nn.Module):
    """The policy as a function of a row of tensors; its children are named as graph inputs."""

    def __init__(self, policy: Policy, *, standalone: bool) -> None:
        super().__init__()
        for name, child in policy.named_children():
            self.add_module(f"weights/{name}", child)
        self.standalone = standalone
        self.most_likely_action = MostLikelyAction(policy.action_heads, policy.action_space)
        self.observation_paths = list(leaves(policy.observation_space))
        self.state_names = list(policy.state_spec)
        self.action_paths = [head.path for head in policy.action_heads] if standalone else []
        self._policy = (policy,)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        (policy,) = self._policy
        num_leaves = len(self.observation_paths)
        observations = dict(zip(self.observation_paths, tensors[:num_leaves], strict=True))
        state = dict(zip(self.state_names, tensors[num_leaves:], strict=True))
        parameters, _, next_state = policy.step(observations, state)
        actions: tuple[Tensor, ...] = ()
        if self.standalone:
            actions = self.most_likely_action(parameters)
        return parameters, *actions, *(next_state[name] for name in self.state_names)

    def input_names(self) -> list[str]:
        return [f"observation{path}" for path in self.observation_paths] + [
            f"state/{name}" for name in self.state_names
        ]

    def output_names(self) -> list[str]:
        return [
            "action_parameters",
            *(f"action{path}" for path in self.action_paths),
            *(f"next_state/{name}" for name in self.state_names),
        ]


def _export(acting: _Acting, policy: Policy) -> bytes:
    arguments = _example(policy)
    was_training = policy.training
    policy.eval()
    acting.eval()
    model = io.BytesIO()
    names = acting.input_names() + acting.output_names()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            acting(*arguments)
            _let_only_wrong_traces_warn()
            torch.onnx.export(
                acting,
                arguments,
                model,
                input_names=acting.input_names(),
                output_names=acting.output_names(),
                dynamic_axes={name: {0: "B"} for name in names},
                opset_version=OPSET,
                dynamo=False,
                export_params=acting.standalone,
                keep_initializers_as_inputs=not acting.standalone,
                do_constant_folding=False,
            )
    finally:
        policy.train(was_training)
    return model.getvalue()


def _let_only_wrong_traces_warn() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)


def _example(policy: Policy) -> tuple[Tensor, ...]:
    device = next((p.device for p in policy.parameters()), torch.device("cpu"))
    specs = [(leaf_shape(leaf), leaf_dtype(leaf)) for leaf in leaves(policy.observation_space).values()]
    specs += [(spec.shape, spec.dtype) for spec in policy.state_spec.values()]
    return tuple(
        torch.zeros((NUM_TRACED_ROWS, *shape), dtype=getattr(torch, dtype.name), device=device)
        for shape, dtype in specs
    )
