r"""The arrays of an .npz file that was written uncompressed, mapped into memory and read where they are used.

PK.. name   \x93NUMPY header   rows        an array within the file, as `zipfile` and `numpy.save` lay it out
|           |                   |
header_offset                   from here on it is the array's memory
"""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a file in an archive: its mark, and the lengths of the name and of what follows that."""


class MappedArrays:
    """Arrays by name. What is damaged is not noticed but where it makes reading impossible."""

    def __init__(self, path: Path) -> None:
        """Read what the archive says of its arrays. Raises OSError, or zipfile.BadZipFile."""
        self._path = path
        with zipfile.ZipFile(path) as archive:
            self._files = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Map an array, read-only. Raises KeyError, and ValueError for what is none."""
        entry = self._files[name]
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"array {name} is compressed")
        with self._path.open("rb") as file:
            file.seek(entry.header_offset)
            mark, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            if mark != b"PK\x03\x04":
                raise ValueError(f"array {name} is not where it should be")
            file.seek(sum(lengths), 1)
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, is_fortran, dtype = read(file)
            begin = file.tell()
        if dtype.hasobject:
            raise ValueError(f"array {name} holds Python objects")
        if 0 in shape:
            return np.zeros(shape, dtype)
        order: Any = "F" if is_fortran else "C"
        return np.memmap(self._path, dtype, "r", begin, shape, order)
