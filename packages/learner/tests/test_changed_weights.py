"""Of policies that stand still no weights are sent again, and whoever gets the others has all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from outrider.learner.service.changed_weights import ChangedWeights, put_together
from outrider.transport import LocalWeights
from outrider.wire import Weights, WeightsStack, joint_fingerprint


def weights(version: int, **changed: dict[int, int]) -> Weights:
    """Return weights whose only tensor holds, of each stack's policies, when they changed."""
    stacks = tuple(
        WeightsStack(
            name=name,
            fingerprint="f",
            policies=np.array(list(versions), np.int32),
            versions=np.array(list(versions.values()), np.int64),
        )
        for name, versions in changed.items()
    )
    tensors = {f"{stack.name}/w": stack.versions.astype(np.float32)[:, None] for stack in stacks}
    return Weights(version=version, fingerprint=joint_fingerprint(stacks), tensors=tensors, stacks=stacks)


BEFORE = weights(7, red={0: 3, 2: 7, 5: 1}, blue={1: 2})


def sent(*published: Weights) -> tuple[Weights, int]:
    """Return what is sent of the last."""
    changed = ChangedWeights()
    for each in published:
        reference, since = changed.to_send(LocalWeights(each))
    return reference.load(), since


def assert_equal(left: Weights, right: Weights) -> None:
    assert (left.version, left.fingerprint) == (right.version, right.fingerprint)
    assert left.tensors.keys() == right.tensors.keys()
    for name, tensor in right.tensors.items():
        np.testing.assert_array_equal(left.tensors[name], tensor)
    for ours, theirs in zip(left.stacks, right.stacks, strict=True):
        assert ours.policies.tolist() == theirs.policies.tolist()
        assert ours.versions.tolist() == theirs.versions.tolist()


def test_only_policies_that_changed_are_sent_and_make_all_that_there_are() -> None:
    now = weights(9, red={0: 3, 2: 9, 5: 8}, blue={1: 2})
    part, since = sent(BEFORE, now)
    assert since == 7
    assert [(stack.name, stack.policies.tolist()) for stack in part.stacks] == [("red", [2, 5])]
    assert part.tensors.keys() == {"red/w"}
    assert_equal(put_together(BEFORE, part), now)
    assert BEFORE.tensors["red/w"].tolist() == [[3.0], [7.0], [1.0]]


def test_where_nothing_changed_the_version_is_all_that_is_sent() -> None:
    now = weights(8, red={0: 3, 2: 7, 5: 1}, blue={1: 2})
    part, since = sent(BEFORE, now)
    assert (since, part.stacks, dict(part.tensors)) == (7, (), {})
    assert_equal(put_together(BEFORE, part), now)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(weights(8, red={0: 8, 2: 8, 5: 8}, blue={1: 2}), id="most changed"),
        pytest.param(weights(8, red={0: 3, 2: 7, 5: 1}, blue={1: 2, 3: 8}), id="one more"),
        pytest.param(weights(8, red={0: 3, 2: 7, 5: 1}), id="a stack less"),
    ],
)
def test_everything_is_sent_where_most_changed_or_there_are_other_policies(now: Weights) -> None:
    part, since = sent(BEFORE, now)
    assert since == 0
    assert part is now


def test_the_first_weights_are_all() -> None:
    assert sent(BEFORE)[1] == 0


def test_policies_that_were_not_there_are_refused() -> None:
    stranger: Any = weights(8, red={4: 8})
    with pytest.raises(ValueError, match="of policies in stack 'red' that were not sent before"):
        put_together(BEFORE, stranger)
    with pytest.raises(ValueError, match="of policies in stack 'green'"):
        put_together(BEFORE, weights(8, green={0: 8}))
