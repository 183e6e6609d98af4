"""Conversion between float32 and bfloat16, whose bits NumPy holds as uint16.

A bfloat16 is the upper half of a float32: all of its range, 8 bits of its precision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def narrow(numbers: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the nearest bfloat16, ties to even, as torch and JAX do. NaN stays NaN."""
    bits = numbers.reshape(-1).view(np.uint32)
    # Adding half of the last place carries into the upper half where the rest is above half, and at
    # exactly half where the last place is odd.
    rounded = bits + (np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)))
    upper = (rounded >> np.uint32(16)).astype(np.uint16)
    # The carry could turn a NaN into infinity or zero.
    upper[np.isnan(numbers.reshape(-1))] = 0x7FC0
    return upper.reshape(numbers.shape)


def widen(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the same numbers as float32."""
    upper = bits.reshape(-1).astype(np.uint32)
    upper <<= np.uint32(16)
    return upper.view(np.float32).reshape(bits.shape)
