"""Acts through ONNX Runtime, without torch.

Weights, observations, state and results live in NumPy arrays that are bound to the session once, so
a call copies observations in and computes; new weights are written into the bound arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.acting_policy import require_fit
from outrider.wire import Columns, PolicyGraph, TensorSpec, Weights, leaf_dtype, leaf_shape, leaves

if TYPE_CHECKING:
    import onnxruntime as ort

WEIGHTS = "weights/"
_MOST_SIZES = 16
"""Batch sizes whose arrays are kept. A runner has one; peers that are acted for come in any number."""
ONNX_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64,
    "tensor(uint32)": np.uint32,
    "tensor(uint16)": np.uint16,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class OnnxPolicy:
    """Executes a policy graph on one CPU thread. An `ActingPolicy`."""

    def __init__(self, graph: PolicyGraph) -> None:
        """Load the graph. Its weights are zeros until `set_weights`.

        Raises ValueError where ONNX Runtime cannot load the model.
        """
        self._graph = graph
        self._session = open_session(graph.model)
        self._leaves = {
            f"observation{path}": (path, leaf_shape(leaf), leaf_dtype(leaf))
            for path, leaf in leaves(graph.observation_space).items()
        }
        self._weights = {
            node.name.removeprefix(WEIGHTS): np.zeros(node.shape, ONNX_DTYPES[node.type])
            for node in self._session.get_inputs()
            if node.name.startswith(WEIGHTS)
        }
        self._bound: dict[int, _Bound] = {}

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Recurrent state by name, without the batch axis."""
        return self._graph.state

    def set_weights(self, weights: Weights) -> None:
        """Write new weights in place. Raises ValueError where they do not fit; then the old ones stay."""
        require_fit(weights, self._graph.fingerprint)
        for name, bound in self._weights.items():
            tensor = weights.tensors.get(name)
            if tensor is None or tensor.shape != bound.shape:
                found = "missing" if tensor is None else f"of shape {tensor.shape}"
                raise ValueError(
                    f"weight {name!r} is {found}, the policy graph takes {bound.shape}; "
                    "export graph and weights from the same module"
                )
        for name, bound in self._weights.items():
            np.copyto(bound, weights.tensors[name])

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [B, k] and the next recurrent state, valid until the next call."""
        for column in observations.values():
            num_rows = len(column)
            break
        bound = self._bound.get(num_rows) or self._bind(num_rows)
        for path, destination in bound.observations:
            destination[...] = observations[path]
        for name, destination in bound.state:
            destination[...] = state[name]
        bound.run(bound.binding, None)
        return bound.action_parameters, bound.next_state

    def _bind(self, num_rows: int) -> _Bound:
        """Reserve and bind the arrays for one batch size; they are kept for the next call of that size."""
        if len(self._bound) == _MOST_SIZES:
            del self._bound[next(iter(self._bound))]
        bound = _Bound(self._session, num_rows, self._graph, self._leaves, self._weights)
        self._bound[num_rows] = bound
        return bound


class _Bound:
    """The arrays of one batch size, bound to the session by address."""

    def __init__(
        self,
        session: ort.InferenceSession,
        num_rows: int,
        graph: PolicyGraph,
        leaves_by_input: Mapping[str, tuple[str, tuple[int, ...], np.dtype[Any]]],
        weights: Mapping[str, NDArray[Any]],
    ) -> None:
        self.observations: list[tuple[str, NDArray[Any]]] = []
        self.state: list[tuple[str, NDArray[Any]]] = []
        self.next_state = {
            name: np.zeros((num_rows, *spec.shape), spec.dtype) for name, spec in graph.state.items()
        }
        num_parameters = max(head.stop for head in graph.action_heads)
        self.action_parameters = np.zeros((num_rows, num_parameters), np.float32)
        self.binding = session.io_binding()
        self.run = session.run_with_iobinding
        for node in session.get_inputs():
            name = node.name
            if name.startswith(WEIGHTS):
                array = weights[name.removeprefix(WEIGHTS)]
            elif name.startswith("state/"):
                spec = graph.state[name.removeprefix("state/")]
                array = np.zeros((num_rows, *spec.shape), spec.dtype)
                self.state.append((name.removeprefix("state/"), array))
            else:
                path, shape, dtype = leaves_by_input[name]
                array = np.zeros((num_rows, *shape), dtype)
                self.observations.append((path, array))
            self.binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._bind_output("action_parameters", self.action_parameters)
        for name, array in self.next_state.items():
            self._bind_output(f"next_state/{name}", array)

    def _bind_output(self, name: str, array: NDArray[Any]) -> None:
        self.binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def open_session(model: bytes) -> ort.InferenceSession:
    import onnxruntime as ort  # 0.1 s, which an environment's process does not need to wait for

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(
            f"ONNX Runtime {ort.__version__} cannot load the policy graph: {error}; export it for an older "
            "opset, or install a newer onnxruntime"
        ) from error
