from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from outrider.testing.messages import example_fragment, same_message
from outrider.testing.multi_agent_messages import example_stacks, example_team
from outrider.transport import LocalFragment, LocalWeights
from outrider.transport.buffer_pool import BufferPool
from outrider.transport.received import ReceivedFragment, ReceivedWeights, fragment_pieces, weights_pieces
from outrider.wire import Weights, WireError, decode_weights, encode_fragment, encode_weights, summarise

TENSORS = {
    "layer.weight": np.full((64, 64), 1 / 3, np.float32),
    "layer.bias": np.full(64, 1 / 3, np.float32),
    "normalizer.mean": np.full((8, 8), 1 / 3, np.float64),
    "normalizer.shift": np.full((8, 8), 1 / 3, np.float32),
}
WEIGHTS = Weights(version=3, fingerprint="f00d", tensors=TENSORS)


def test_a_fragment_is_summarised_and_handed_on_as_it_came() -> None:
    message = memoryview(bytearray(encode_fragment(example_fragment()).to_bytes()))
    received = ReceivedFragment(message)
    assert same_message(received.summary, summarise(example_fragment()))
    assert same_message(received.load(), example_fragment())
    (piece,) = fragment_pieces(received)
    assert np.shares_memory(np.frombuffer(piece, np.uint8), np.frombuffer(message, np.uint8))


def test_what_several_architectures_did_is_handed_on_in_one_message() -> None:
    message = memoryview(bytearray(encode_fragment(example_team()).to_bytes()))
    received = ReceivedFragment(message)
    assert same_message(received.load(), example_team())
    assert received.summary.num_rows == 9
    assert b"".join(fragment_pieces(received)) == message
    assert b"".join(fragment_pieces(LocalFragment(example_team()))) == message


def test_others_keep_the_memory_that_they_came_in() -> None:
    pool = BufferPool()
    written = encode_fragment(example_team()).to_bytes()
    view = pool.take(len(written))
    view[:] = written
    (other,) = ReceivedFragment(view).load().others
    del view
    gc.collect()
    assert pool.used_bytes == len(written)
    del other
    gc.collect()
    assert pool.used_bytes == 0


def test_of_stacked_weights_only_the_matrices_are_rounded() -> None:
    third = np.full((3, 2, 2), 1 / 3, np.float32)
    tensors = {**example_stacks().tensors, "walker/pi.weight": third, "seer/pi.bias": third[:1, 0]}
    stacks = replace(example_stacks(), tensors=tensors)
    received = decode_weights(b"".join(weights_pieces(LocalWeights(stacks), bfloat16=True)))
    assert (received.tensors["walker/pi.weight"] != third).all()
    assert same_message(received.tensors["seer/pi.bias"], third[:1, 0])
    assert same_message(received.stacks, stacks.stacks)


def test_a_fragment_that_breaks_a_rule_is_refused_when_it_arrives() -> None:
    message = encode_fragment(example_fragment()).to_bytes()
    with pytest.raises(WireError, match="frame is refused"):
        ReceivedFragment(memoryview(message[:-1]))


def test_a_fragment_keeps_the_memory_that_it_came_in() -> None:
    pool = BufferPool()
    written = encode_fragment(example_fragment()).to_bytes()
    view = pool.take(len(written))
    view[:] = written
    rewards = ReceivedFragment(view).load().rewards
    del view
    gc.collect()
    assert pool.used_bytes == len(written)
    del rewards
    gc.collect()
    assert pool.used_bytes == 0


def test_a_fragment_of_this_process_is_written_on_its_way_out() -> None:
    pieces = fragment_pieces(LocalFragment(example_fragment()))
    assert b"".join(pieces) == encode_fragment(example_fragment()).to_bytes()


def test_weights_are_checked_when_they_are_loaded() -> None:
    message = memoryview(encode_weights(WEIGHTS).to_bytes())
    np.testing.assert_array_equal(
        ReceivedWeights(message, 3).load().tensors["layer.weight"], TENSORS["layer.weight"]
    )
    with pytest.raises(WireError, match="weights of version 3 came, announced as version 4"):
        ReceivedWeights(message, 4).load()


def test_weights_that_came_are_read_once() -> None:
    received = ReceivedWeights(memoryview(encode_weights(WEIGHTS).to_bytes()), WEIGHTS.version)
    assert received.load() is received.load()


def test_weights_are_written_once_for_each_dtype_and_forgotten_with_their_reference() -> None:
    reference = LocalWeights(WEIGHTS)
    pieces, halved = weights_pieces(reference), weights_pieces(reference, bfloat16=True)
    assert weights_pieces(reference) is pieces
    assert weights_pieces(reference, bfloat16=True) is halved
    assert sum(map(len, halved)) < sum(map(len, pieces))
    assert weights_pieces(LocalWeights(WEIGHTS)) is not pieces


def test_weights_that_came_are_handed_on_as_they_came() -> None:
    message = memoryview(encode_weights(WEIGHTS).to_bytes())
    (piece,) = weights_pieces(ReceivedWeights(message, WEIGHTS.version))
    assert piece is message


def test_a_checksum_is_left_out_where_the_connection_guards_what_it_carries() -> None:
    came = ReceivedWeights(memoryview(encode_weights(WEIGHTS).to_bytes()), WEIGHTS.version)
    unguarded = encode_weights(WEIGHTS, checksum=False).to_bytes()
    for reference in (came, LocalWeights(WEIGHTS)):
        pieces = weights_pieces(reference, checksum=False)
        assert b"".join(pieces) == unguarded
        assert weights_pieces(reference, checksum=False) is pieces
        assert b"".join(weights_pieces(reference)) == encode_weights(WEIGHTS).to_bytes()


def test_statistics_and_vectors_are_not_rounded() -> None:
    message = b"".join(weights_pieces(LocalWeights(WEIGHTS), bfloat16=True))
    tensors = decode_weights(message).tensors
    assert tensors["layer.weight"][0, 0] != TENSORS["layer.weight"][0, 0]
    for name in ("layer.bias", "normalizer.mean", "normalizer.shift"):
        np.testing.assert_array_equal(tensors[name], TENSORS[name])
