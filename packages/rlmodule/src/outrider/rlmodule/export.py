"""Policies as ONNX models: for runners, with weights as inputs, and to keep, with weights inside.

torch.onnx's tracing exporter is used because it takes 0.05 to 0.25 s where the newer one takes 5.7 s.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from outrider.rlmodule.most_likely_action import MostLikelyAction
from outrider.rlmodule.stacked_call import held, is_batched
from outrider.rlmodule.zero_rows import zero_observations, zero_state
from outrider.wire import PolicyGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider.rlmodule.policy import Policy

OPSET = 17
NUM_TRACED_ROWS = 2
"""Not 1, which broadcasts and would hide a batch axis that is written down as a number."""
NUM_TRACED_POLICIES = 3
"""Another number than that of rows."""


class PolicyNotExportable(ValueError):  # noqa: N818 - it names a property of the policy
    """The policy cannot become a graph; let it act through torch instead."""


def export_graph(policy: Policy) -> PolicyGraph:
    """Trace what acting needs, never the value, with weights as inputs "weights/" + name.

    Raises PolicyNotExportable where the network does something that a graph cannot say.
    """
    return _graph(policy, _export(policy, standalone=False))


def export_stacked_graph(policy: Policy) -> PolicyGraph:
    """Trace what policies like this one, stacked, need to act: every tensor has a first axis P.

    Batched products are traced as they are. A convolution of P policies would hold P as a number, and torch
    cannot trace what goes through its vmap: there the graph of one policy is executed for each.
    Raises PolicyNotExportable as `export_graph` does.
    """
    has_images = any(isinstance(layer, nn.Conv2d) for layer in policy.modules())
    if has_images or not is_batched(policy):
        from outrider.rlmodule.scanned_graph import scanned_graph

        return _graph(policy, scanned_graph(_export(policy, standalone=False)), is_stacked=True)
    tensors = {name: torch.stack([t] * NUM_TRACED_POLICIES) for name, t in policy.state_dict().items()}
    model = _with_free_policies(_export(held(policy, tensors), NUM_TRACED_POLICIES, standalone=False))
    return _graph(policy, model, is_stacked=True)


def _graph(policy: Policy, model: bytes, *, is_stacked: bool = False) -> PolicyGraph:
    return PolicyGraph(
        model=model,
        fingerprint=policy.fingerprint(),
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        action_heads=policy.action_heads,
        state=policy.state_spec,
        is_stacked=is_stacked,
    )


def _with_free_policies(model: bytes) -> bytes:
    """Give the first axis of weights a name; the exporter does so for other inputs alone."""
    import onnx

    graph = onnx.load_model_from_string(model)
    for node in graph.graph.input:
        if node.name.startswith("weights/"):
            node.type.tensor_type.shape.dim[0].dim_param = "P"
    named: bytes = graph.SerializeToString()
    return named


def export_standalone(policy: Policy) -> bytes:
    """Trace a model that needs only NumPy and ONNX Runtime, with its present weights inside.

    Inputs "observation" + path [B, ...] and "state/" + name; outputs "action_parameters" [B, k],
    "action" + path [B, ...], which is the most likely action in the environment's own units and
    dtype, and "next_state/" + name. Raises PolicyNotExportable as `export_graph` does.
    """
    return _export(policy, standalone=True)


class _Acting(nn.Module):
    """The policy as a function of a row of tensors. Its children carry the names of graph inputs."""

    def __init__(self, policy: Policy, *, standalone: bool) -> None:
        super().__init__()
        for name, child in policy.named_children():
            self.add_module(f"weights/{name}", child)
        # In a tuple, or torch would count it as one more child.
        self._policy = (policy,)
        self.most_likely_action = (
            MostLikelyAction(policy.action_heads, policy.action_space) if standalone else None
        )
        self.paths = tuple(zero_observations(policy.observation_space, 1))
        self.state_names = tuple(policy.state_spec)
        self.input_names = [
            *(f"observation{path}" for path in self.paths),
            *(f"state/{name}" for name in self.state_names),
        ]
        self.output_names = [
            "action_parameters",
            *(f"action{head.path}" for head in policy.action_heads if standalone),
            *(f"next_state/{name}" for name in self.state_names),
        ]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        (policy,) = self._policy
        observations = dict(zip(self.paths, tensors, strict=False))
        state = dict(zip(self.state_names, tensors[len(self.paths) :], strict=True))
        parameters, _, next_state = policy.step(observations, state)
        actions = () if self.most_likely_action is None else self.most_likely_action(parameters)
        return parameters, *actions, *(next_state[name] for name in self.state_names)


def _export(policy: Policy, *first_axes: int, standalone: bool) -> bytes:
    axes = (*first_axes, NUM_TRACED_ROWS)
    names = ("P", "B")[-len(axes) :]
    device = next((p.device for p in policy.parameters()), torch.device("cpu"))
    # The exporter traces in evaluation mode and then restores the mode that it finds.
    acting = _Acting(policy, standalone=standalone).to(device).train(policy.training)
    rows = (
        *zero_observations(policy.observation_space, *axes).values(),
        *zero_state(policy.state_spec, *axes).values(),
    )
    model = io.BytesIO()
    with torch.no_grad(), _without_fused_attention(), _refusing_wrong_traces(type(policy.network).__name__):
        torch.onnx.export(
            acting,
            tuple(tensor.to(device) for tensor in rows),
            model,  # type: ignore[arg-type] # it takes a stream unless dynamo=True
            input_names=acting.input_names,
            output_names=acting.output_names,
            dynamic_axes={name: dict(enumerate(names)) for name in acting.input_names + acting.output_names},
            opset_version=OPSET,
            dynamo=False,
            export_params=standalone,
            keep_initializers_as_inputs=not standalone,
            do_constant_folding=False,
        )
    return model.getvalue()


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Let attention consist of operations that the exporter knows."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


@contextmanager
def _refusing_wrong_traces(network: str) -> Iterator[None]:
    """Turn failures, and warnings that the trace may differ from the network, into one exception.

    Warnings from within torch itself are about checks of arguments; shapes known to be right.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:
            raise PolicyNotExportable(
                f"{network} has no policy graph: {_first_line(error)}; act through torch, or use operations "
                "that torch.onnx.export(dynamo=False) knows"
            ) from error
    inside_torch = Path(torch.__file__).parent
    for warning in caught:
        if not issubclass(warning.category, torch.jit.TracerWarning):  # type: ignore[attr-defined]
            continue
        is_constant = "registered as constants" in str(warning.message)
        if not is_constant and inside_torch not in Path(warning.filename).parents:
            raise PolicyNotExportable(
                f"{network} has no policy graph: {warning.filename}:{warning.lineno} decides in Python by "
                "the value of a tensor, which a graph cannot follow; use torch.where instead of `if`, and no "
                f"`assert`, float() or .item() in forward ({_first_line(warning.message)})"
            )


def _first_line(problem: object) -> str:
    return str(problem).strip().split("\n", 1)[0].split(". ", 1)[0]
