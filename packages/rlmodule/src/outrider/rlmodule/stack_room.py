"""Storage in which stacked tensors can grow. Axes: P policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.rlmodule.large_pages import in_large_pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

GROWTH = 1.5


class StackRoom:
    """Keeps storage behind tensors [P, ...], so that adding a policy does not copy all of them.

    A league adds one after the other: with 39 kB each and two moments, 1,000 take 12.5 CPU-s by copies, and
    2.2 with room. What nobody wrote to yet takes no memory, as systems give it out page by page.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._rooms: dict[str, Tensor] = {}

    def extended(self, tensors: Mapping[str, Tensor], num_more: int) -> dict[str, Tensor]:
        """Return tensors with as many more policies, of any content, behind the others.

        They share memory with those given where these were returned from here.
        """
        return {name: self._extended(name, tensor, num_more) for name, tensor in tensors.items()}

    def drop(self) -> None:
        """Forget the storage, as tensors came from elsewhere."""
        self._rooms = {}

    def _extended(self, name: str, tensor: Tensor, num_more: int) -> Tensor:
        num_policies = len(tensor) + num_more
        if name not in self._rooms or len(self._rooms[name]) < num_policies:
            # All that begin together fit exactly; a stack that has grown once is likely to grow again.
            size = num_policies if len(tensor) == 0 else max(num_policies, int(GROWTH * len(tensor)))
            room = in_large_pages(tensor.new_empty((size, *tensor.shape[1:])))
            room[: len(tensor)] = tensor
            self._rooms[name] = room
        return self._rooms[name][:num_policies]
