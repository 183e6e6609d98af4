"""Ranks over one axis of a device mesh: the processes of a torch.distributed group.

A larger model is a mesh with more axes; the learner sums over this one and does not see the others.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.distributed
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from outrider.learner.groups.rank_error import LostRankError


class MeshRanks:
    """The ranks along the mesh's axis that shares out rows (data-parallel)."""

    def __init__(self, mesh: DeviceMesh, axis: str = "data") -> None:
        """Take a mesh whose processes are all up. Raises ValueError where it has no such axis.

        Deadlines are those of the process group: a rank that is gone ends a sum with LostRankError.
        """
        names = mesh.mesh_dim_names or ()
        if axis not in names:
            raise ValueError(
                f"the device mesh has the axes {names}, not {axis!r}; name the one that shares out rows"
            )
        self._group = mesh.get_group(axis)
        self.rank = mesh.get_local_rank(axis)
        self.size = mesh.size(names.index(axis))

    def sum(self, tensor: Tensor) -> Tensor:
        with _loss_of_a_rank():
            torch.distributed.all_reduce(tensor, group=self._group)
        return tensor

    def start_sum(self, tensor: Tensor) -> Callable[[], Tensor]:
        with _loss_of_a_rank():
            work = torch.distributed.all_reduce(tensor, group=self._group, async_op=True)
        assert work is not None, "this process is one of the group"

        def wait() -> Tensor:
            with _loss_of_a_rank():
                work.wait()
            return tensor

        return wait


@contextmanager
def _loss_of_a_rank() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo and NCCL have no kind of their own for it
        what, _, _advice = str(error).partition(" This is typically")  # gloo's, of no use to the reader
        raise LostRankError(f"a sum over the ranks failed: {what}") from error
