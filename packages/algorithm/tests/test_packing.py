from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.algorithm.cluster.packing import Kind, Resources, fits

GPU_FRACTIONS = (0.0, 0.25, 0.4, 0.5, 0.6, 1.0, 2.0)
KINDS = st.builds(
    lambda num, cpu, gpu, sim: Kind(num, {"CPU": cpu, "GPU": gpu, "sim": sim}),
    st.integers(0, 4),
    st.sampled_from((0.0, 0.5, 1.0, 3.0)),
    st.sampled_from(GPU_FRACTIONS),
    st.sampled_from((0.0, 1.0)),
)
NODES = st.builds(
    lambda cpu, gpu, sim: {"CPU": cpu, "GPU": gpu, "sim": sim},
    st.sampled_from((0.0, 1.0, 4.0, 6.5)),
    st.sampled_from((0.0, 1.0, 1.5, 2.0)),
    st.sampled_from((0.0, 2.0)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(KINDS, min_size=1, max_size=2), st.lists(NODES, min_size=1, max_size=3))
@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"])
def test_says_what_trying_every_placement_says(
    strategy: Any, kinds: list[Kind], nodes: list[Resources]
) -> None:
    assert fits(kinds, nodes, strategy) == some_placement_works(kinds, nodes, strategy)


def test_many_processes_on_many_nodes_are_no_search() -> None:
    nodes = [{"CPU": 64.0, "GPU": 8.0}] * 100
    runners, learners = Kind(5600, {"CPU": 1.0}), Kind(800, {"CPU": 1.0, "GPU": 1.0})
    assert fits([runners, learners], nodes, "PACK")
    assert not fits([runners, Kind(801, learners.resources)], nodes, "PACK")


def test_a_fraction_of_a_gpu_lies_on_one_gpu() -> None:
    two_gpus = [{"GPU": 2.0}]
    assert fits([Kind(2, {"GPU": 0.6})], two_gpus, "PACK")
    assert not fits([Kind(3, {"GPU": 0.6})], two_gpus, "PACK")


def test_five_learners_of_a_fifth_share_one_gpu() -> None:
    assert fits([Kind(5, {"GPU": 0.2})], [{"GPU": 1.0}], "STRICT_PACK")


def test_strict_spread_counts_nodes_that_can_hold_one() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 8.0}, {"CPU": 0.5}]
    assert fits([Kind(2, {"CPU": 1.0})], nodes, "STRICT_SPREAD")
    assert not fits([Kind(3, {"CPU": 1.0})], nodes, "STRICT_SPREAD")


def some_placement_works(kinds: list[Kind], nodes: list[Resources], strategy: str) -> bool:
    processes = [kind.resources for kind in kinds for _ in range(kind.num)]
    return any(
        obeys(placed, strategy)
        and all(holds(node, mine(processes, placed, n)) for n, node in enumerate(nodes))
        for placed in itertools.product(range(len(nodes)), repeat=len(processes))
    )


def obeys(placed: tuple[int, ...], strategy: str) -> bool:
    if strategy == "STRICT_PACK":
        return len(set(placed)) <= 1
    return strategy != "STRICT_SPREAD" or len(set(placed)) == len(placed)


def mine(processes: list[Resources], placed: tuple[int, ...], node: int) -> list[Resources]:
    return [process for process, where in zip(processes, placed, strict=True) if where == node]


def holds(node: Resources, processes: list[Resources]) -> bool:
    sums_fit = all(sum(p[name] for p in processes) <= node[name] + 1e-9 for name in ("CPU", "sim"))
    whole, part = divmod(node["GPU"], 1.0)
    return sums_fit and on_gpus([1.0] * int(whole) + [part], sorted(p["GPU"] for p in processes))


def on_gpus(gpus: list[float], sizes: list[float]) -> bool:
    if not sizes:
        return True
    *others, size = sizes
    if size > 1:
        free = [index for index, left in enumerate(gpus) if left == 1.0][: int(size)]
        taken = [0.0 if index in free else left for index, left in enumerate(gpus)]
        return len(free) == size and on_gpus(taken, others)
    return any(
        on_gpus([left - size * (index == here) for index, left in enumerate(gpus)], others)
        for here, free in enumerate(gpus)
        if free >= size - 1e-9
    )
