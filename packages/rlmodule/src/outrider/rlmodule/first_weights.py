"""First weights of the catalogue's networks, of one policy or of many at once: orthogonal matrices.

All random numbers of a policy come from a generator of its own, matrix after matrix as its layers are
named; so policies begin alike whoever is made with them, and no network is made for each. A policy has
the same weights in any company to 1e-6: LAPACK rounds by where in memory a matrix lies.

Axes: P policies; C of them at a time; D random numbers of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from outrider.rlmodule.layers import Conv2d, Linear
from outrider.rlmodule.lstm import Lstm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUMBERS_AT_A_TIME = 2**21
"""8 MiB: the numbers of 200 policies with two hidden layers of 64."""


def gains(module: nn.Module) -> dict[str, float]:
    """Return the names of all weights that begin as orthogonal matrices, and by what these are multiplied."""
    return {
        f"{path}.{name}": layer.gain
        for path, layer in module.named_modules()
        if isinstance(layer, Linear | Conv2d | Lstm)
        for name, _ in layer.named_parameters()
        if name.startswith("weight")
    }


@torch.no_grad()
def draw_weights(gain_of: Mapping[str, float], seeds: Sequence[int], into: Mapping[str, Tensor]) -> None:
    """Write the matrices of the policies with these seeds into tensors [P, ...], those `gain_of` names."""
    weights = [into[name] for name in gain_of]
    sizes = [weight.shape[1:].numel() for weight in weights]
    num_policies = max(1, NUMBERS_AT_A_TIME // sum(sizes))
    generator = torch.Generator()
    for first in range(0, len(seeds), num_policies):
        some = seeds[first : first + num_policies]
        numbers_CD = torch.empty(len(some), sum(sizes))
        for numbers_D, seed in zip(numbers_CD, some, strict=True):
            numbers_D.normal_(generator=generator.manual_seed(seed))
        parts = torch.split(numbers_CD, sizes, 1)
        for part, weight, gain in zip(parts, weights, gain_of.values(), strict=True):
            place = weight[first : first + len(some)]
            matrices = part.reshape(len(some), weight.shape[1], -1)
            place.copy_(orthogonal(matrices).mul_(gain).reshape(place.shape))


def orthogonal(matrices: Tensor) -> Tensor:
    """Return orthogonal matrices of normal ones [C, rows, columns], evenly among all that there are.

    Q of A = QR where R has a diagonal that is positive, which makes it unique. Mezzadri 2007, section 4.
    """
    is_wide = matrices.shape[1] < matrices.shape[2]
    q: Tensor
    q, r = torch.linalg.qr(matrices.mT if is_wide else matrices)
    q *= r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
    return q.mT if is_wide else q
