"""Ranks over a device mesh; two processes learning together are in the integration tests."""

from pathlib import Path

import pytest
import torch
import torch.distributed

from outrider.learner import MeshRanks


def test_a_mesh_without_the_axis_is_refused(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        mesh = torch.distributed.init_device_mesh("cpu", (1,), mesh_dim_names=("tensor",))
        with pytest.raises(ValueError, match=r"axes \('tensor',\), not 'data'"):
            MeshRanks(mesh)
    finally:
        torch.distributed.destroy_process_group()
