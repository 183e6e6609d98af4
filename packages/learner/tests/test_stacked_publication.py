"""Who holds published weights sees them as they were, and memory is used again when nobody does."""

from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner.stacks.stacked_publication import StackedPublication

NUMBERS = np.arange(4, dtype=np.int32)


def stack() -> dict[str, torch.Tensor]:
    return {"w": torch.arange(12.0).reshape(4, 3), "b": torch.zeros(4)}


def address(array: Any) -> int:
    return int(array.ctypes.data)


def test_weights_that_somebody_holds_stay_as_they_were() -> None:
    published, tensors = StackedPublication(), stack()
    held = [published.copy(tensors, NUMBERS, np.zeros(4, np.int64))["w"][1:2]]
    for version in range(1, 5):
        tensors["w"] += 1.0
        held.append(published.copy(tensors, NUMBERS, np.full(4, version))["w"][1:2])
    assert [view[0, 0] for view in held] == [3.0, 4.0, 5.0, 6.0, 7.0]


@pytest.mark.parametrize("how", [memoryview, torch.from_numpy, lambda array: array.T])
def test_a_view_of_any_kind_is_somebody(how: Any) -> None:
    published, tensors = StackedPublication(), stack()
    view = how(published.copy(tensors, NUMBERS, np.zeros(4, np.int64))["w"])
    tensors["w"] += 1.0
    published.copy(tensors, NUMBERS, np.ones(4, np.int64))
    assert np.asarray(view).max() == 11.0


def test_memory_that_nobody_looks_at_is_used_again() -> None:
    published, tensors = StackedPublication(), stack()
    first = address(published.copy(tensors, NUMBERS, np.zeros(4, np.int64))["w"])
    assert address(published.copy(tensors, NUMBERS, np.ones(4, np.int64))["w"]) == first


@pytest.mark.parametrize("changed", [[2], [0, 1, 3], [], [0, 1, 2, 3]])
def test_policies_that_changed_are_copied_and_no_other(changed: list[int]) -> None:
    published, tensors, versions = StackedPublication(), stack(), np.zeros(4, np.int64)
    published.copy(tensors, NUMBERS, versions)
    tensors["w"][changed] += 100.0
    tensors["b"][changed] += 100.0
    versions[changed] = 1
    now = published.copy(tensors, NUMBERS, versions)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(now[name], tensor.numpy())


def test_a_copy_of_other_policies_is_not_used_again() -> None:
    published, tensors = StackedPublication(), stack()
    published.copy(tensors, NUMBERS, np.zeros(4, np.int64))
    others = {name: tensor + 1.0 for name, tensor in tensors.items()}
    now = published.copy(others, NUMBERS + 1, np.zeros(4, np.int64))
    np.testing.assert_array_equal(now["w"], others["w"].numpy())


def test_after_forgetting_all_is_copied() -> None:
    published, tensors = StackedPublication(), stack()
    published.copy(tensors, NUMBERS, np.zeros(4, np.int64))
    tensors["w"] += 1.0
    published.forget()
    now = published.copy(tensors, NUMBERS, np.zeros(4, np.int64))
    np.testing.assert_array_equal(now["w"], tensors["w"].numpy())
