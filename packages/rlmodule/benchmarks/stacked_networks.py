"""What a call and a gradient of stacked policies cost beside those of each policy by itself.

    python packages/rlmodule/benchmarks/stacked_networks.py [--rounds 9]

All ways of a line take turns in one process with one thread: medians in ms of CPU time, minima in brackets.

    act     the stack's policy graph; the graph of one policy, called for each; the stack through torch, and
            through torch.vmap
    learn   forward and backward: the stack; each policy by itself; the stack through torch.vmap
"""

# ruff: noqa: ANN401 - a network takes what the library gives it

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.func import functional_call

from outrider.rlmodule import ModuleSettings, Policy, PolicyRecipe, PolicyStack, export_graph
from outrider.wire import BoxSpace, DiscreteSpace, PolicyGraph

POSITION = BoxSpace(low=np.full(8, -1, np.float32), high=np.full(8, 1, np.float32))


class Normed(nn.Module):
    """A network of the user's own: two hidden layers with their norms."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Linear(8, 64), nn.LayerNorm(64), nn.Tanh()),
            *(nn.Linear(64, 64), nn.LayerNorm(64), nn.Tanh()),
        )
        self.policy, self.value = nn.Linear(64, num_action_parameters), nn.Linear(64, 1)

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(position)
        return self.policy(features), self.value(features).squeeze(-1)


def pixels(*shape: int) -> BoxSpace:
    return BoxSpace(low=np.zeros(shape, np.uint8), high=np.full(shape, 255, np.uint8))


def recipe(space: BoxSpace, encoder: Any = "auto", network: Any = None) -> PolicyRecipe:
    settings = ModuleSettings(encoder=encoder, vf_share_layers=network is None)
    actions = DiscreteSpace(num_values=4)
    return PolicyRecipe(
        observation_space=space, action_space=actions, settings=settings, network=network, seed=0
    )


FEW: Any = {"act": ((4, 1), (64, 1), (64, 8)), "learn": ((4, 8), (16, 32), (64, 8))}
"""Policies, and rows of each."""
MANY: Any = {"act": (*FEW["act"], (1000, 1), (1000, 8)), "learn": FEW["learn"]}
NETWORKS = {
    "Nature CNN, 84x84x4": (recipe(pixels(84, 84, 4), "nature_cnn"), FEW),
    "IMPALA ResNet, 42x42x3": (recipe(pixels(42, 42, 3), "impala_resnet"), FEW),
    "IMPALA ResNet, 10x10x3": (recipe(pixels(10, 10, 3), "impala_resnet"), FEW),
    "own, 2x64 with norms": (recipe(POSITION, network=Normed), MANY),
    "MLP, 2x64": (recipe(POSITION), MANY),
}


def main() -> None:
    """Measure all networks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9, help="how often the ways take turns")
    num_rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.empty(31 << 20, dtype=torch.uint8)  # glibc keeps freed memory from here on, as in learners
    print(
        f"{platform.machine()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, one thread"
    )
    for name, (made_of, cases) in NETWORKS.items():
        for what, ways in (("act", acting), ("learn", learning)):
            for num_policies, num_rows in cases[what]:
                stack = PolicyStack(made_of, range(num_policies))
                rows = drawn(made_of.observation_space, num_policies, num_rows)
                race(f"{what:6s} {name}, P {num_policies}, rows {num_rows}", ways(stack, rows), num_rounds)


def drawn(space: Any, *axes: int) -> Tensor:
    generator = np.random.default_rng(0)
    shape = (*axes, *space.low.shape)
    if space.low.dtype == np.uint8:
        return torch.from_numpy(generator.integers(0, 256, shape, np.uint8))
    return torch.from_numpy(generator.normal(size=shape).astype(np.float32))


def acting(stack: PolicyStack, rows: Tensor) -> dict[str, Callable[[], object]]:
    """Return ways to act."""
    together = bound(stack.policy_graph(), stack.tensors, rows)
    session = opened(export_graph(stack.plain))
    alone = [bound(session, stack.policy_tensors(place), rows[place]) for place in range(stack.num_policies)]
    return {
        "graph": together,
        "one by one": lambda: [call() for call in alone],
        "torch": without_gradients(lambda: stack({"": rows})),
        "vmap": without_gradients(lambda: by_vmap(stack.plain, stack.tensors, rows)),
    }


def without_gradients(call: Callable[[], object]) -> Callable[[], object]:
    return torch.inference_mode()(call)


def opened(graph: PolicyGraph) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])


def bound(
    graph: PolicyGraph | onnxruntime.InferenceSession, tensors: Mapping[str, Tensor], rows: Tensor
) -> Callable[[], object]:
    """Bind weights and rows, as runners do."""
    session = opened(graph) if isinstance(graph, PolicyGraph) else graph
    binding = session.io_binding()
    held = []
    for node in session.get_inputs():
        array = (tensors.get(node.name.removeprefix("weights/"), rows)).numpy()
        held.append(array)
        binding.bind_input(node.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    result = np.zeros((*rows.shape[: 2 if isinstance(graph, PolicyGraph) else 1], 4), np.float32)
    held.append(result)
    binding.bind_output("action_parameters", "cpu", 0, np.float32, result.shape, result.ctypes.data)

    def call(_: object = held) -> None:
        session.run_with_iobinding(binding)

    return call


def learning(stack: PolicyStack, rows: Tensor) -> dict[str, Callable[[], object]]:
    """Return ways to make gradients."""

    def leaves() -> dict[str, Tensor]:
        return {
            name: tensor.detach().requires_grad_(name in stack.parameter_names)
            for name, tensor in stack.tensors.items()
        }

    def one_by_one() -> None:
        for place, policy in enumerate(policies):
            policy.zero_grad()
            backward(policy({"": rows[place]}))

    policies = [stack.policy(place) for place in range(stack.num_policies)]
    return {
        "stack": lambda: backward(stack.forward_with(leaves(), {"": rows})),
        "one by one": one_by_one,
        "vmap": lambda: backward(by_vmap(stack.plain, leaves(), rows)),
    }


def by_vmap(policy: Policy, tensors: Mapping[str, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    result: tuple[Tensor, Tensor] = torch.vmap(
        lambda *given: functional_call(policy, given[0], ({"": given[1]},))
    )(dict(tensors), rows)
    return result


def backward(outputs: tuple[Tensor, Tensor]) -> None:
    torch.autograd.backward([output.square().sum() for output in outputs])


def race(title: str, ways: Mapping[str, Callable[[], object]], num_rounds: int) -> None:
    """Let all ways take turns, and print a line."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(num_rounds):
        for name, call in ways.items():
            begin = time.process_time()
            call()
            times[name].append((time.process_time() - begin) * 1e3)
    line = "   ".join(f"{name} {statistics.median(t):8.2f} ({min(t):.2f})" for name, t in times.items())
    print(f"{title:46s} {line}", flush=True)


if __name__ == "__main__":
    main()
