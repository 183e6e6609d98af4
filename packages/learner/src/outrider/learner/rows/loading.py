"""Brings fragments to the learner's device; to a GPU, beside the update that is under way."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from outrider.learner.rows.fragment_rows import Rows, rows_from_fragments
from outrider.wire import Fragment


class Loader:
    """Copies to a GPU on a CUDA stream of its own. Threads may share it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def load(self, fragments: Sequence[Fragment]) -> Rows:
        """Return rows whose copies may be under way; nobody may look at them before `wait_for`."""
        if self._copies is None:
            return rows_from_fragments(fragments, self._device)
        with torch.cuda.stream(self._copies):
            rows = rows_from_fragments(fragments, self._device)
            return replace(rows, loaded=self._copies.record_event())


def wait_for(rows: Rows) -> None:
    """Let the GPU's work from here on wait until `rows` are there; the CPU does not wait."""
    if rows.loaded is None:
        return
    training = torch.cuda.current_stream(rows.reward_N.device)
    training.wait_event(rows.loaded)
    for tensor in tensors_of(rows):
        # Their memory was reserved for the copying stream, and is not to be given away while the
        # training stream still reads it.
        tensor.record_stream(training)


def tensors_of(rows: Rows) -> Iterator[Tensor]:
    """Go through everything of `rows` that lies on the device."""
    for leaves in (rows.observations, rows.actions, rows.next_observations, rows.state):
        yield from leaves.values()
    yield from (rows.reward_N, rows.terminated_N, rows.truncated_N, rows.followed_N)
    yield from (rows.log_prob_N, rows.next_row_M)
    if rows.parameters is not None:
        yield rows.parameters
