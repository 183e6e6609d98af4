"""Policies can be added one by one without copying all of them each time."""

from __future__ import annotations

import torch

from outrider.rlmodule import StackRoom


def test_what_was_there_stays_and_is_rarely_copied() -> None:
    room, tensors = StackRoom(), {"w": torch.arange(6.0).reshape(2, 3)}
    num_copies = 0
    for number in range(2, 200):
        before = tensors["w"].data_ptr()
        tensors = room.extended(tensors, 1)
        tensors["w"][-1] = float(number)
        num_copies += tensors["w"].data_ptr() != before
    assert tensors["w"].shape == (200, 3)
    assert tensors["w"].is_contiguous()
    assert tensors["w"][:2].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert tensors["w"][2:, 0].tolist() == list(range(2, 200))
    assert num_copies < 15


def test_tensors_from_elsewhere_are_never_written_behind() -> None:
    room, all_of_them = StackRoom(), torch.arange(4.0)
    tensors = room.extended({"w": all_of_them[:2]}, 1)
    tensors["w"][-1] = -1.0
    assert all_of_them.tolist() == [0.0, 1.0, 2.0, 3.0]
    room.drop()
    extended = room.extended({"w": all_of_them[:3]}, 1)
    extended["w"][-1] = -1.0
    assert (all_of_them.tolist(), extended["w"][:3].tolist()) == ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
