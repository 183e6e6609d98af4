"""What a policy costs over the bare layers, what a sequence costs, and how long a graph takes to make.

    python packages/rlmodule/benchmarks/policy_call.py [--rounds 15]

Both sides of a ratio take turns in one process with one thread. Microseconds, and the ratio of medians.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from outrider.rlmodule import ModuleSettings, build_policy, export_graph, forward_by_steps
from outrider.wire import BoxSpace, DiscreteSpace, Space

POSITION = BoxSpace(low=np.full(17, -1, np.float32), high=np.full(17, 1, np.float32))
CONTROLS = BoxSpace(low=np.full(6, -1, np.float32), high=np.full(6, 1, np.float32))
PIXELS = BoxSpace(low=np.zeros((4, 84, 84), np.uint8), high=np.full((4, 84, 84), 255, np.uint8))


def main() -> None:
    """Run all races."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=15, help="how often the sides take turns")
    num_rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {platform.platform()}, torch {torch.__version__}, one thread")
    for name, space in (("discrete", DiscreteSpace(num_values=4)), ("box", CONTROLS)):
        for num_rows in (1, 64, 4096):
            race_forward(f"{name}, {num_rows} rows", space, num_rows, num_rounds)
    race_sequence(num_rounds)
    time_exports()


def race_forward(title: str, action_space: Space, num_rows: int, num_rounds: int) -> None:
    """Compare `Policy.forward` with the same two stacks of layers in nn.Sequential."""
    policy = build_policy(POSITION, action_space, ModuleSettings(), seed=0)
    network: Any = policy.network
    head, log_std = network.policy_head, getattr(network.policy_head, "log_std", None)
    actor = nn.Sequential(*network.policy_encoder, head.linear)
    critic = nn.Sequential(*network.value_encoder, network.value_head)
    rows = torch.randn(num_rows, 17)

    def bare() -> tuple[Tensor, Tensor]:
        mean = actor(rows)
        values = critic(rows).squeeze(-1)
        return (mean if log_std is None else torch.cat((mean, log_std.expand(num_rows, -1)), 1)), values

    observations = {"": rows}
    race(title, bare, lambda: policy(observations), num_rounds, 200 if num_rows < 1000 else 10)


def race_sequence(num_rounds: int) -> None:
    """Compare the LSTM's packed sequences, forwards and backwards, with walking step by step."""
    policy = build_policy(POSITION, CONTROLS, ModuleSettings(use_lstm=True, vf_share_layers=True), seed=0)
    rows, starts = torch.randn(32, 20, 17), torch.rand(32, 20) < 0.02
    state = {name: torch.zeros(32, *spec.shape) for name, spec in policy.state_spec.items()}

    def backward(outputs: tuple[Tensor, Tensor]) -> None:
        torch.autograd.backward([outputs[0].sum(), outputs[1].sum()])

    race(
        "LSTM, 32 sequences of 20",
        lambda: backward(forward_by_steps(policy.network, rows, state, starts)),
        lambda: backward(policy.forward_sequence({"": rows}, state, starts)),
        num_rounds,
        3,
    )


def race(
    title: str, bare: Callable[[], object], ours: Callable[[], object], num_rounds: int, num_calls: int
) -> None:
    """Let both take turns and print their medians, minima and the ratio."""
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(num_rounds):
        for name, call in (("bare", bare), ("ours", ours)):
            begin = time.perf_counter()
            for _ in range(num_calls):
                call()
            times[name].append((time.perf_counter() - begin) / num_calls * 1e6)
    medians = {name: statistics.median(column) for name, column in times.items()}
    print(
        f"{title:28s} bare {medians['bare']:9.1f} (min {min(times['bare']):9.1f})   "
        f"ours {medians['ours']:9.1f} (min {min(times['ours']):9.1f})   "
        f"ratio {medians['ours'] / medians['bare']:.3f}"
    )


def time_exports() -> None:
    """Print how long a network takes to build and its graph to make; the first one imports the exporter."""
    for title, space, settings in (
        ("mlp, first", POSITION, ModuleSettings()),
        ("mlp", POSITION, ModuleSettings()),
        ("lstm", POSITION, ModuleSettings(use_lstm=True)),
        ("nature cnn", PIXELS, ModuleSettings(vf_share_layers=True)),
        ("impala resnet, lstm", PIXELS, ModuleSettings(encoder="impala_resnet", use_lstm=True)),
    ):
        begin = time.perf_counter()
        policy = build_policy(space, CONTROLS, settings, seed=0)
        built = time.perf_counter()
        graph = export_graph(policy)
        done = time.perf_counter()
        print(
            f"{title:28s} build {built - begin:.3f} s   graph {done - built:.3f} s, {len(graph.model)} bytes"
        )


if __name__ == "__main__":
    main()
