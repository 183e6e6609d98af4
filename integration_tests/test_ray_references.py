"""Fragments and weights through a real Ray: the same bits, no copies, and an error for what is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from numpy.typing import NDArray

from outrider.testing.messages import example_fragment, example_weights, random_fragment, same_message
from outrider.testing.multi_agent_messages import agent_episodes, example_team
from outrider.transport import FragmentReference, LocalFragment, LocalWeights, WeightsReference
from outrider.transport.ray_pieces import PolicyPieces, RayPolicies, StoredPolicies
from outrider.transport.ray_references import (
    RayFragment,
    RayWeights,
    from_message,
    put_fragment,
    put_weights,
    read_fragment_summary,
    to_message,
)
from outrider.wire import (
    Fragment,
    Limits,
    Weights,
    WeightsStack,
    encode_fragment,
    encode_fragment_summary,
    summarise,
)

pytestmark = pytest.mark.usefixtures("local_ray")
DEADLINE_S = 60.0


@ray.remote(num_cpus=0)
class Runner:
    """Makes fragments, and crosses to others nothing but bytes and buffers."""

    def sample(self, seed: int, num_streams: int) -> tuple[bytes, Any]:
        fragment = random_fragment(seed, num_streams=num_streams, max_length=50)
        return encode_fragment_summary(summarise(fragment)), to_message(encode_fragment(fragment))

    def put(self, seed: int) -> list[Any]:
        return [put_fragment(LocalFragment(random_fragment(seed))).ref]

    def read(self, refs: list[Any], version: int) -> bytes:
        """Return the bytes of a tensor as this process sees it."""
        return RayWeights(refs[0], version).load().tensors["pi/weight"].tobytes()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture(scope="module")
def runner(local_ray: None) -> Any:
    return Runner.remote()


def _large_weights() -> Weights:
    return Weights(version=4, fingerprint="f00d", tensors={"pi/weight": np.arange(10**6, dtype=np.float64)})


def _large_fragment() -> Fragment:
    return random_fragment(0, num_streams=400, max_length=50)


def _is_in_shared_memory(array: NDArray[Any]) -> bool:
    address = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, stop = line.partition(" ")[0].partition("-")
        if int(start, 16) <= address < int(stop, 16):
            return "/dev/shm/" in line or "plasma" in line
    return False


@pytest.mark.parametrize(
    "fragment", [example_fragment, lambda: random_fragment(3, num_streams=0), _large_fragment]
)
def test_fragments_come_back_bit_for_bit(fragment: Callable[[], Fragment]) -> None:
    reference: FragmentReference = put_fragment(LocalFragment(fragment()))
    assert same_message(reference.load(), fragment())
    assert same_message(reference.summary, summarise(fragment()))


@pytest.mark.parametrize("weights", [example_weights, _large_weights])
def test_weights_come_back_bit_for_bit(weights: Callable[[], Weights]) -> None:
    reference: WeightsReference = put_weights(LocalWeights(weights()))
    assert same_message(reference.load(), weights())
    assert reference.version == weights().version


@pytest.mark.parametrize("num_streams", [2, 2000])  # inlined in the reply, and in shared memory
def test_what_a_runner_returns_comes_back_bit_for_bit(runner: Any, num_streams: int) -> None:
    summary, ref = runner.sample.options(num_returns=2).remote(5, num_streams)
    fragment = RayFragment(ref, summary).load(timeout_s=DEADLINE_S)
    expected = random_fragment(5, num_streams=num_streams, max_length=50)
    assert same_message(fragment, expected)
    assert ray.get(summary) == encode_fragment_summary(summarise(expected))


def test_what_several_architectures_did_comes_whole() -> None:
    reference = put_fragment(LocalFragment(example_team()))
    assert same_message(reference.load(timeout_s=DEADLINE_S), example_team())
    assert same_message(reference.summary, summarise(example_team()))


def test_a_summary_lists_as_many_agents_episodes_as_there_were() -> None:
    many = replace(example_team().episodes, agents=agent_episodes(list(range(150_000))))
    message = encode_fragment_summary(summarise(replace(example_team(), episodes=many, others=())))
    assert len(message) > Limits().max_header_bytes
    assert same_message(read_fragment_summary(message).episodes, many)


@pytest.mark.parametrize("weights", [example_weights, _large_weights])
def test_two_loads_of_weights_are_views_of_the_same_shared_memory(weights: Callable[[], Weights]) -> None:
    reference = put_weights(LocalWeights(weights()))
    first, second = (reference.load().tensors["pi/weight"] for _ in range(2))
    assert np.shares_memory(first, second)
    assert _is_in_shared_memory(first)
    assert not first.flags.writeable


def test_a_large_fragment_of_another_process_is_a_view_of_shared_memory(runner: Any) -> None:
    _, ref = runner.sample.options(num_returns=2).remote(5, 2000)
    summary = summarise(random_fragment(5, num_streams=2000, max_length=50))
    fragment = RayFragment(ref, summary).load(timeout_s=DEADLINE_S)
    for array in (fragment.rewards, fragment.actions[""], fragment.streams.lengths):
        assert _is_in_shared_memory(array)
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0


def test_another_process_reads_the_same_weights(runner: Any) -> None:
    reference = put_weights(LocalWeights(example_weights()))
    read = ray.get(runner.read.remote([reference.ref], reference.version), timeout=DEADLINE_S)
    assert read == example_weights().tensors["pi/weight"].tobytes()


def test_arrays_in_pieces_that_do_not_lie_together_are_joined() -> None:
    whole = np.arange(9, dtype=np.uint8)
    frame = from_message((b"", [[whole[:4].copy(), whole[4:]], whole[:2]]))
    assert [bytes(buffer) for buffer in frame.buffers] == [whole.tobytes(), whole[:2].tobytes()]


@pytest.mark.parametrize("num_bytes", [2**20, 2**20 + 1, 3 * 2**20 - 8, 2**26, 2**26 + 64])
def test_arrays_of_all_sizes_come_back_as_views(num_bytes: int) -> None:
    tensor = np.random.default_rng(0).integers(0, 256, num_bytes, np.uint8)
    sent = Weights(
        version=0, fingerprint="", tensors={"first": tensor[:7], "second": tensor, "third": tensor[7:9]}
    )
    found = put_weights(LocalWeights(sent)).load()
    assert same_message(found, sent)
    assert all(map(_is_in_shared_memory, found.tensors.values()))


def test_what_is_in_the_store_is_not_put_again() -> None:
    fragment, weights = (
        put_fragment(LocalFragment(example_fragment())),
        put_weights(LocalWeights(example_weights())),
    )
    assert put_fragment(fragment) is fragment
    assert put_weights(weights) is weights


def test_arrays_outlive_their_reference() -> None:
    tensor = put_weights(LocalWeights(_large_weights())).load().tensors["pi/weight"]
    for _ in range(3):  # the store would use the memory again if it were free
        put_weights(LocalWeights(Weights(version=0, fingerprint="", tensors={"x": np.zeros(10**6)})))
    assert np.array_equal(tensor, np.arange(10**6))


GONE = r"is gone from Ray's object store, with the process or node that held it \(\w+\)$"


def test_a_fragment_dies_with_its_owner_and_is_right_until_then() -> None:
    runner = Runner.remote()
    (ref,) = ray.get(runner.put.remote(1), timeout=DEADLINE_S)
    reference = RayFragment(ref, summarise(random_fragment(1)))
    ray.kill(runner)
    stop = time.monotonic() + DEADLINE_S

    def load_until_gone() -> None:
        while time.monotonic() < stop:
            assert same_message(reference.load(timeout_s=DEADLINE_S), random_fragment(1))

    with pytest.raises(ConnectionError, match=GONE):
        load_until_gone()


def test_a_fragment_that_its_runner_never_finished_is_gone() -> None:
    runner = Runner.remote()
    unfinished = runner.sleep.remote(60)
    ray.kill(runner)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=GONE):
        RayFragment(unfinished, summarise(example_fragment())).load(timeout_s=DEADLINE_S)
    assert time.monotonic() - start < DEADLINE_S


def test_a_finished_fragment_outlives_its_runner() -> None:
    runner = Runner.remote()
    _, ref = runner.sample.options(num_returns=2).remote(5, 2000)
    ray.wait([ref], timeout=DEADLINE_S)
    ray.kill(runner)
    expected = random_fragment(5, num_streams=2000, max_length=50)
    assert same_message(RayFragment(ref, summarise(expected)).load(timeout_s=DEADLINE_S), expected)


def test_what_does_not_come_in_time_is_an_error_that_says_so(runner: Any) -> None:
    late = runner.sleep.remote(0.5)
    with pytest.raises(TimeoutError, match=r"version 3 of the weights did not come within 0.05 s from Ray's"):
        RayWeights(late, 3).load(timeout_s=0.05)
    ray.get(late, timeout=DEADLINE_S)


def _many(version: int, changed: dict[int, int]) -> Weights:
    """Return weights of 150 policies in two stacks: of each the value is its number and version."""
    stacks, tensors = [], {}
    for name, numbers in (("even", np.arange(0, 150, 2)), ("odd", np.arange(1, 150, 2))):
        versions = np.array([changed.get(number, 0) for number in numbers.tolist()], np.int64)
        stacks.append(
            WeightsStack(name=name, fingerprint=name, policies=numbers.astype(np.int32), versions=versions)
        )
        tensors[f"{name}/weight"] = np.stack([numbers, versions], 1).astype(np.float32)
    return Weights(version=version, fingerprint="both", tensors=tensors, stacks=tuple(stacks))


def _read(put: RayPolicies, *numbers: int, since: int | None = None) -> dict[int, int]:
    """Return the versions of some policies as a reader finds them."""
    found = StoredPolicies(ray.get(put.ref)).of(np.array(numbers, np.int32), since=since)
    read = {}
    for stack in found.stacks:
        rows = found.tensors[f"{stack.name}/weight"]
        assert rows[:, 0].tolist() == stack.policies.tolist()
        assert rows[:, 1].tolist() == stack.versions.tolist()
        read |= dict(zip(stack.policies.tolist(), stack.versions.tolist(), strict=True))
    return read


def test_a_reader_of_pieces_gets_the_policies_that_it_wants_and_that_changed() -> None:
    pieces = PolicyPieces()
    first, second = pieces.put(_many(0, {})), pieces.put(_many(4, {3: 4, 140: 4}))
    assert _read(second, 3, 4, 140, 149) == {3: 4, 4: 0, 140: 4, 149: 0}
    assert _read(second, 3, 4, 140, since=0) == {3: 4, 140: 4}
    assert _read(second, 1000) == {}
    assert _read(first, 3, 140) == {3: 0, 140: 0}


def test_a_piece_in_which_nothing_changed_is_not_put_again() -> None:
    pieces = PolicyPieces()
    first, second, third = (
        {(stack, number): ref for stack, number, ref in ray.get(pieces.put(weights).ref)["pieces"]}
        for weights in (_many(0, {}), _many(4, {3: 4}), _many(2, {3: 2}))
    )
    assert len(first) == 6
    assert [key for key, ref in second.items() if ref != first[key]] == [("odd", 0)]
    assert not set(second.values()) & set(third.values())  # of another time of the run


def test_pieces_stay_as_long_as_their_index_is_there() -> None:
    pieces = PolicyPieces()
    put = pieces.put(_many(0, {}))
    pieces.put(_many(1, dict.fromkeys(range(150), 1)))
    assert _read(put, 7) == {7: 0}
