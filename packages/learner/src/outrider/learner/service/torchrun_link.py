"""What rank 0 of a learner service under torchrun says to the other ranks, and they to it.

    rank 0                                   every other rank
    {"call": ..., arguments} -------------->
    <--------------------------------------- an answer, where the call has one

Trees as bytes over gloo. The group that gradients are summed in is another one, made anew for each run:
its sums have deadlines, and waiting for the next call has none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch._C._distributed_c10d import Store, TCPStore
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.rendezvous import rendezvous

from outrider.learner.groups.mesh_ranks import MeshRanks
from outrider.learner.groups.rank_error import LostRankError
from outrider.learner.plans.device import choose_device
from outrider.learner.plans.group_settings import LearnerGroupSettings
from outrider.learner.service.service_terms import LIMITS
from outrider.wire import decode_tree, encode_tree

_LOGGER = logging.getLogger("outrider.learner")
_MEETING_TIMEOUT = timedelta(minutes=10)
_WITHOUT_END = timedelta(days=365)


def is_torchrun(environ: Mapping[str, str]) -> bool:
    """Tell whether torchrun started this process as one of several ranks."""
    return "RANK" in environ and int(environ.get("WORLD_SIZE", "1")) > 1


def end_with(
    launcher: int, *, parent: Callable[[], int] = os.getppid, end: Callable[[int], object] = os._exit
) -> None:
    """Wait until the launcher is no longer this process's parent, and end: nobody would stop it any more."""
    while parent() == launcher:
        time.sleep(1.0)
    _LOGGER.warning("torchrun is gone, and its ranks end with it")
    end(1)


class Link:
    """This process's place among the ranks of a service."""

    def __init__(self) -> None:
        """Meet the other ranks as torchrun's environment variables say; blocks until all are there."""
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
        meeting, self.rank, self.num_ranks = next(rendezvous("env://"))
        store = _own_store(meeting, self.rank)
        distributed.init_process_group(
            "gloo", store=store, rank=self.rank, world_size=self.num_ranks, timeout=_WITHOUT_END
        )
        self._sums: Any = None
        self.exchange = threading.RLock()
        """Held by rank 0 from what it says to the last answer."""

    def send(self, rank: int, value: Any) -> None:  # noqa: ANN401 - a tree
        """Send a tree; blocks until it is on its way. Raises LostRankError where the rank is gone."""
        content = torch.frombuffer(bytearray(encode_tree(value).to_bytes()), dtype=torch.uint8)
        try:
            distributed.send(torch.tensor([len(content)]), rank)
            distributed.send(content, rank)
        except RuntimeError as error:  # gloo has no kind of its own for it
            raise LostRankError(f"learner {rank} is gone") from error

    def receive(self, rank: int) -> Any:  # noqa: ANN401 - a tree
        """Wait for a tree. Raises LostRankError where the rank is gone."""
        size = torch.zeros(1, dtype=torch.int64)
        try:
            distributed.recv(size, rank)
            content = torch.empty(int(size), dtype=torch.uint8)
            distributed.recv(content, rank)
        except RuntimeError as error:
            raise LostRankError(f"learner {rank} is gone") from error
        return decode_tree(memoryview(content.numpy().data), LIMITS)

    def call(self, name: str, **arguments: Any) -> None:  # noqa: ANN401 - trees
        """Call all other ranks; of rank 0."""
        for rank in range(1, self.num_ranks):
            self.send(rank, {"call": name, **arguments})

    def join_sums(self, settings: LearnerGroupSettings) -> tuple[MeshRanks, torch.device]:
        """Join the group that a run's gradients are summed in; all ranks do at once.

        Returns it with this rank's device. Raises ValueError where there is none.
        """
        self.leave_sums()
        device = self.choose_device(settings)
        backend, timeout = "gloo", timedelta(seconds=settings.learner_timeout_s)
        # NCCL refuses two ranks on one GPU; gloo copies over the CPU and takes them.
        num_ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", str(self.num_ranks)))
        if device.type == "cuda" and num_ranks_here <= torch.cuda.device_count():
            backend = "nccl"
        self._sums = distributed.new_group(backend=backend, timeout=timeout)
        mesh = DeviceMesh.from_group(self._sums, device.type, mesh_dim_names=("data",))
        return MeshRanks(mesh), device

    def choose_device(self, settings: LearnerGroupSettings) -> torch.device:
        """Return where this rank computes. Raises ValueError where there is no such device."""
        device = choose_device(settings)
        if device.type == "cuda":
            local_rank = int(os.environ.get("LOCAL_RANK", "0"))
            device = torch.device("cuda", local_rank % torch.cuda.device_count())
            torch.cuda.set_device(device)
        return device

    def leave_sums(self) -> None:
        """Leave that group, if there is one."""
        if self._sums is not None:
            distributed.destroy_process_group(self._sums)
            self._sums = None

    def close(self) -> None:
        """Leave the other ranks."""
        distributed.destroy_process_group()


def _own_store(meeting: Store, rank: int) -> Store:
    """Return a store that only these processes use; rank 0 keeps it.

    That of torchrun outlives a restart, and groups made after it find the addresses of dead processes there
    (torch 2.13: the second `new_group` ends in "connection refused").
    """
    host, key = os.environ["MASTER_ADDR"], f"outrider/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if rank:
        return TCPStore(host, int(meeting.get(key)), timeout=_MEETING_TIMEOUT)
    store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=_MEETING_TIMEOUT)
    meeting.set(key, str(store.port))
    return store
