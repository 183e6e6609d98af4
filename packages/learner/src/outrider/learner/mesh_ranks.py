"""Ranks over one axis of a device mesh: the processes of a torch.distributed group.

A larger model is a mesh with more axes; the learner sums over this one and does not see the others.
"""

import torch.distributed
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh


class MeshRanks:
    """The ranks along the mesh's axis that shares out rows (data-parallel)."""

    def __init__(self, mesh: DeviceMesh, axis: str = "data") -> None:
        """Take a mesh whose processes are all up. Raises ValueError where it has no such axis.

        Deadlines are those of the process group: a rank that is gone ends a sum with an error.
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
        torch.distributed.all_reduce(tensor, group=self._group)
        return tensor
