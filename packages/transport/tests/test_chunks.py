from __future__ import annotations

import gc

import pytest

from outrider.transport import chunks as chunks_module
from outrider.transport.chunks import NUM_KEPT, chunks
from outrider.wire.stream import read_stream_message


def contents(messages: list[bytes]) -> list[bytes]:
    return [bytes(read_stream_message(message).chunk or b"") for message in messages]


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 4, 9, 10])
def test_chunks_have_the_same_size_but_for_the_last_one(chunk_bytes: int) -> None:
    whole = b"abcdefghi"
    found = contents(list(chunks([b"abc", b"", memoryview(b"defgh"), b"", b"i", b""], lambda _: chunk_bytes)))
    assert found == [whole[start : start + chunk_bytes] for start in range(0, 9, chunk_bytes)]


def test_those_who_send_the_same_message_share_its_chunks() -> None:
    pieces = [b"abc", b"de"]
    ahead, behind = chunks(pieces, lambda _: 2), chunks(pieces, lambda _: 2)
    first = [next(ahead), next(behind)]
    assert contents(first) == [b"ab", b"ab"]
    assert all(ours is theirs for ours, theirs in zip(list(ahead), list(behind), strict=True))


def test_who_is_far_behind_has_them_cut_anew() -> None:
    pieces = [bytes(range(3 * NUM_KEPT))]
    ahead, behind = chunks(pieces, lambda _: 1), chunks(pieces, lambda _: 1)
    first = next(behind)
    sent = list(ahead)
    assert contents([first, *behind]) == contents(sent) == [bytes([number]) for number in pieces[0]]


def test_who_changes_the_size_ends_where_the_others_do_and_shares_again() -> None:
    pieces = [b"abcdefghij"]
    same, changing = chunks(pieces, lambda _: 4), chunks(pieces, lambda left: 1 if left == 10 else 4)
    first = next(changing)
    theirs, ours = list(same), list(changing)
    assert contents([first, *ours]) == [b"a", b"bcd", b"efgh", b"ij"]
    assert ours[1] is theirs[1]
    assert ours[2] is theirs[2]


def test_another_message_with_the_same_content_has_chunks_of_its_own() -> None:
    one, other = chunks([b"ab"], lambda _: 2), chunks([b"ab"], lambda _: 2)
    assert next(one) is not next(other)


def test_nothing_is_kept_of_what_is_sent() -> None:
    for iterator in (chunks([b"abc"], lambda _: 2), chunks([b"de"], lambda _: 2)):
        next(iterator)
    del iterator
    gc.collect()
    assert not chunks_module._under_way
