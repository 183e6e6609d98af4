"""Cuts the policies of an update into blocks, each of which is trained alone. Axes: P = policies.

Policies train independently of each other, so how ragged their rows are matters once, here: in a block all
have about equally many, padded to the most.

    rows        9  9  8  8  7  5  2  2  1
    block       0  0  0  0  0  0  1  1  1
"""

import numpy as np
from numpy.typing import NDArray

MAX_POLICIES = 1024
"""Of a block: enough that the cost of a call into torch does not count. P = 1,000, 4 rows each, one busy core
of an AMD EPYC, ms: 44 with 512, 41 with 1,024; before, 102 with 64, 81 with 128, 72 with 256, 64 with 512."""
MAX_WEIGHT_BYTES = 48 << 20
"""Of a block that has more than one policy: as much is taken for its gradients."""
MAX_STEP_ROWS = 16_384
"""Rows of a gradient step of a block that has more than one policy: more leave the caches. P = 512, 1,024
rows of each in minibatches of 256, on the same machine with other work, thousands of rows passed over in a
CPU-second: 267 with 32 policies in a block, 260 with 64, 197 with 128, 157 with 512. Fewer are slow, too;
P = 64: 158 with 4, 187 with 8, 217 with 16, 250 with 32."""
MAX_BYTES = 64 << 20
"""Of the padded observations of a block that has more than one policy."""
ALWAYS_ALIKE = 8
"""Rows up to which padding costs less than another block."""


def cut_blocks(
    num_rows_P: NDArray[np.int64],
    *,
    row_bytes: int,
    policy_bytes: int = 1,
    minibatch_size: int | None = None,
    max_policies: int = MAX_POLICIES,
) -> list[NDArray[np.int64]]:
    """Return the places of each block's policies, those with most rows first; without rows, in none.

    Of the padded rows of a block at least half are rows, where there are more than a few. A policy's
    weights take `policy_bytes`; a gradient step takes `minibatch_size` rows of a policy, or all.

    >>> [block.tolist() for block in cut_blocks(np.array([9, 0, 20, 10]), row_bytes=16)]
    [[2, 3], [0]]
    """
    order = np.argsort(-num_rows_P, kind="stable")
    order = order[: np.count_nonzero(num_rows_P)]
    sorted_P = num_rows_P[order]
    blocks, first = [], 0
    while first < len(order):
        most = int(sorted_P[first])
        fewest = 1 if most <= ALWAYS_ALIKE else -(-most // 2)
        stop = len(sorted_P) - int(np.searchsorted(sorted_P[::-1], fewest))
        step_rows = most if minibatch_size is None else min(most, minibatch_size)
        of_rows = min(MAX_STEP_ROWS // step_rows, MAX_BYTES // (most * row_bytes))
        size = max(1, min(max_policies, MAX_WEIGHT_BYTES // policy_bytes, of_rows))
        stop = min(stop, first + size)
        blocks.append(order[first:stop])
        first = stop
    return blocks
