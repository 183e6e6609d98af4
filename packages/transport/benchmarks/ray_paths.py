"""Weights to runners and fragments to learners over Ray, beside the same bytes through Ray alone.

    hatch run bench:ray-paths

Both sides run interleaved on the same actors; a ratio is taken within each round. Printed are medians
[min, max] over the rounds of the wall time that the driver sees.

    weights    put 100 MB of weights, and 4 actors load them and copy each tensor into memory of their own
    plain      ray.put one array of as many bytes, and the same actors get it and copy it once
    fragment   an actor encodes a fragment and returns it, another one loads it: decoded and checked
    put + get  the first actor ray.puts one array of as many bytes, the other one ray.gets it
    returned   the first actor returns that array, the other one ray.gets it
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from fragment_of_size import fragment_of_size
from numpy.typing import NDArray

from outrider.testing.machine import machine
from outrider.transport import LocalWeights
from outrider.transport.ray_references import RayFragment, RayWeights, put_weights, to_message
from outrider.wire import Weights, encode_fragment, summarise

NUM_RUNNERS = 4
SIZES = {"64 KiB": 64 * 2**10, "1 MiB": 2**20, "64 MiB": 64 * 2**20}


def make_weights(size_bytes: int) -> Weights:
    """Return the weights of a wide network: matrices of 4 MiB, and a vector with each."""
    num_layers = round(size_bytes / (4 * 1024 * 1025))
    tensors = {f"{layer}/weight": np.ones((1024, 1024), np.float32) for layer in range(num_layers)}
    tensors |= {f"{layer}/bias": np.ones(1024, np.float32) for layer in range(num_layers)}
    return Weights(version=1, fingerprint="f00d", tensors=tensors)


@ray.remote(num_cpus=0)
class Runner:
    """Both sides' runner: it holds the same bytes as weights, as a fragment and as one array."""

    def prepare_weights(self, size_bytes: int) -> None:
        self._own = {name: np.empty_like(tensor) for name, tensor in make_weights(size_bytes).tensors.items()}
        self._own_array = np.ones(sum(tensor.nbytes for tensor in self._own.values()), np.uint8)
        for tensor in self._own.values():
            tensor.fill(1)  # so that the first round reserves no memory

    def take_weights(self, refs: list[Any]) -> None:
        for name, tensor in RayWeights(refs[0], 1).load().tensors.items():
            np.copyto(self._own[name], tensor)

    def take_array(self, refs: list[Any]) -> None:
        np.copyto(self._own_array, ray.get(refs[0]))

    def prepare_fragment(self, size_bytes: int) -> None:
        self._fragment = fragment_of_size(size_bytes, 128 if size_bytes > 2**20 else 16)
        self._array = np.ones(encode_fragment(self._fragment).num_bytes, np.uint8)

    def sample(self) -> Any:  # noqa: ANN401  (what `to_message` makes, as Ray sees it)
        return to_message(encode_fragment(self._fragment))

    def put_array(self) -> Any:  # noqa: ANN401  (a reference within a list)
        return [ray.put(self._array)]

    def return_array(self) -> NDArray[np.uint8]:
        return self._array


@ray.remote(num_cpus=0)
class Learner:
    """Both sides' learner: it loads what the runner made, and looks at one byte."""

    def __init__(self) -> None:
        self._summary = summarise(fragment_of_size(2**16, 16))

    def load(self, refs: list[Any]) -> float:
        return float(RayFragment(refs[0], self._summary).load().rewards[-1])

    def get_put(self, refs: list[Any]) -> int:
        (inner,) = ray.get(refs[0])
        return int(ray.get(inner)[-1])

    def get(self, refs: list[Any]) -> int:
        return int(ray.get(refs[0])[-1])


def measure(calls: dict[str, Callable[[], object]], num_rounds: int) -> dict[str, list[float]]:
    """Return wall seconds of each side in each round, after two rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(num_rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_ > 1:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(title: str, seconds: dict[str, list[float]]) -> None:
    print(f"\n{title}")
    ours, *others = seconds
    for side, values in seconds.items():
        print(f"  {side:24} {spread(values, ' ms', 1e3)}")
    for side in others:
        ratios = [a / b for a, b in zip(seconds[ours], seconds[side], strict=True)]
        print(f"  {f'{ours} / {side}':24} {spread(ratios)}")


def report_weights(size_bytes: int, num_rounds: int) -> None:
    runners = [Runner.remote() for _ in range(NUM_RUNNERS)]
    ray.get([runner.prepare_weights.remote(size_bytes) for runner in runners])
    weights = make_weights(size_bytes)
    array = np.ones(sum(tensor.nbytes for tensor in weights.tensors.values()), np.uint8)

    def publish() -> None:
        ref = put_weights(LocalWeights(weights)).ref
        ray.get([runner.take_weights.remote([ref]) for runner in runners])

    def publish_array() -> None:
        ref = ray.put(array)
        ray.get([runner.take_array.remote([ref]) for runner in runners])

    title = (
        f"weights of {array.nbytes / 1e6:.0f} MB, {len(weights.tensors)} tensors, to {NUM_RUNNERS} runners"
    )
    report(title, measure({"weights": publish, "plain": publish_array}, num_rounds))
    for runner in runners:
        ray.kill(runner)


def report_fragments(num_rounds: int) -> None:
    runner, learner = Runner.remote(), Learner.remote()
    for name, size_bytes in SIZES.items():
        ray.get(runner.prepare_fragment.remote(size_bytes))
        calls: dict[str, Callable[[], object]] = {
            "fragment": lambda: ray.get(learner.load.remote([runner.sample.remote()])),
            "put + get": lambda: ray.get(learner.get_put.remote([runner.put_array.remote()])),
            "returned": lambda: ray.get(learner.get.remote([runner.return_array.remote()])),
        }
        report(f"fragment of {name}", measure(calls, num_rounds))


def spread(values: list[float], unit: str = "", scale: float = 1.0) -> str:
    """Return median [min, max]."""
    median, low, high = (scale * value for value in (statistics.median(values), min(values), max(values)))
    return f"{median:.3g} [{low:.3g}, {high:.3g}]{unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--weights-mb", type=int, default=100)
    arguments = parser.parse_args()
    print(machine("numpy", "ray"))
    # Workers are nice by default, and the driver would then measure how it starves them.
    ray.init(
        address="local",
        num_cpus=NUM_RUNNERS,
        include_dashboard=False,
        object_store_memory=2 * 2**30,
        log_to_driver=False,
        _system_config={"worker_niceness": 0},
    )
    report_weights(arguments.weights_mb * 10**6, arguments.rounds)
    report_fragments(arguments.rounds)
    ray.shutdown()


if __name__ == "__main__":
    main()
