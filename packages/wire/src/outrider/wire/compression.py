"""How the bytes of an array are packed and unpacked, by libraries that need not be installed.

Unpacking trusts no size that a sender states: memory is reserved for exactly the bytes that dtype and
shape ask for, once that is known to be allowed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, TypeAlias

from outrider.wire.wire_error import WireError

Compression: TypeAlias = Literal["none", "lz4", "zstd"]
"""How columns of a fragment are packed. Of an Atari game Zstandard makes 47 to 207 times less, LZ4 17 to 85
times in two thirds of the time; unpacking takes Zstandard a sixth of LZ4's time
(`benchmarks/pack_observations.py`)."""

_MODULES = {"lz4": "lz4.block", "zstd": "zstandard"}
_ZSTD_LEVEL = 1
_MAX_LZ4_BYTES = 0x7E00_0000  # of the format


def capabilities() -> frozenset[str]:
    """Return what this installation can do beyond what the protocol version demands, for `Hello`.

    "lz4" and "zstd" where their libraries are installed (extra `compression`), "bfloat16" and
    "multi_agent" (stacks of policies, in all messages that can have them) always.
    """
    found = {name for name, module in _MODULES.items() if find_spec(module.partition(".")[0])}
    return frozenset(found | {"bfloat16", "multi_agent"})


def pack(content: memoryview, compression: Compression) -> bytes | None:
    """Return the bytes packed; None where that saves less than a tenth. Raises ValueError."""
    library = _library(compression)
    if compression == "zstd":
        packed = library.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)
    elif len(content) > _MAX_LZ4_BYTES:
        return None
    else:
        packed = library.compress(content, store_size=False)
    return bytes(packed) if len(packed) < 0.9 * len(content) else None


def unpack(content: memoryview, compression: Compression, size: int) -> bytes:
    """Return the `size` bytes that were packed. Raises WireError where they are more, less or damaged."""
    try:
        library = _library(compression)
    except ValueError as error:
        raise WireError(str(error)) from error
    if compression == "zstd":
        return _unpack_zstd(library, content, size)
    if size > min(_MAX_LZ4_BYTES, 255 * len(content)):
        raise WireError(
            f"{size} bytes in an LZ4 block of {len(content)}, which holds 255 times as much at most"
        )
    try:
        unpacked: bytes = library.decompress(content, uncompressed_size=size)
    except library.LZ4BlockError as error:
        raise WireError(f"this is no LZ4 block of {size} bytes: {error}") from error
    if len(unpacked) != size:
        raise WireError(f"an LZ4 block of {len(unpacked)} bytes where {size} are due")
    return unpacked


def _unpack_zstd(library: ModuleType, content: memoryview, size: int) -> bytes:
    try:
        # What the frame states is what `decompress` reserves, whatever `max_output_size` says.
        stated = library.frame_content_size(content)
        if stated != size:
            raise WireError(f"a Zstandard frame that states {stated} bytes where {size} are due")
        decompressor = library.ZstdDecompressor()
        unpacked: bytes = decompressor.decompress(content, max_output_size=size, allow_extra_data=False)
    except library.ZstdError as error:
        raise WireError(f"this is no Zstandard frame of {size} bytes: {error}") from error
    assert len(unpacked) == size
    return unpacked


def _library(compression: Compression) -> ModuleType:
    if compression not in _MODULES:
        raise ValueError(f"compression {compression!r}; it is one of none, {', '.join(_MODULES)}")
    try:
        return import_module(_MODULES[compression])
    except ModuleNotFoundError as error:
        raise ValueError(
            f"compression {compression!r} needs {error.name}, which is not installed here; "
            "install outrider-wire[compression], or compress nothing"
        ) from error
