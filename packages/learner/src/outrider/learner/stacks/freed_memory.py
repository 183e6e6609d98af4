"""Keeps the memory of tensors that are gone for those that follow."""

import torch

NUM_BYTES = 31 << 20
"""glibc learns from up to 32 MB."""


def keep_freed_memory() -> None:
    """Make the C library hand less of it back to the system, whose new pages cost more than what fills them.

    An update of 1,000 policies met 9,000 new pages, in 22 of its 75 ms, on a virtual machine. glibc keeps
    twice the largest block that it ever got from the system by itself and gave back; so it gets one that
    nobody touches, which takes no memory. Other libraries do not mind.
    """
    torch.empty(NUM_BYTES, dtype=torch.uint8)
