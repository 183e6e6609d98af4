"""Large tensors lie in large pages where the system has them for who asks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from outrider.rlmodule import in_large_pages
from outrider.rlmodule.large_pages import NUM_BYTES

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def large_page_bytes() -> int:
    """What this process has in large pages."""
    found = re.search(r"^AnonHugePages: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_large_tensor_lies_in_large_pages() -> None:
    if not SWITCH.exists() or "[madvise]" not in SWITCH.read_text():
        pytest.skip("this system gives large pages to nobody, or to all")
    before = large_page_bytes()
    tensor = in_large_pages(torch.empty(8 * NUM_BYTES, dtype=torch.uint8)).fill_(1)
    assert large_page_bytes() - before > 4 * NUM_BYTES, "most of what was written to"
    del tensor


def test_a_small_tensor_is_as_it_was() -> None:
    assert in_large_pages(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]
