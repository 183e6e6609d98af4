"""Tensors on the wire: how an array is described in a header and found again in a body."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire.bfloat16 import widen
from outrider.wire.compression import Compression, pack, unpack
from outrider.wire.frame import ALIGNMENT, Frame, check_frame, starts
from outrider.wire.limits import Limits
from outrider.wire.v1 import tensor_pb2
from outrider.wire.wire_error import WireError

DTYPES: dict[tensor_pb2.Dtype, np.dtype[Any]] = {
    tensor_pb2.DTYPE_BOOL: np.dtype("?"),
    tensor_pb2.DTYPE_INT8: np.dtype("i1"),
    tensor_pb2.DTYPE_INT16: np.dtype("<i2"),
    tensor_pb2.DTYPE_INT32: np.dtype("<i4"),
    tensor_pb2.DTYPE_INT64: np.dtype("<i8"),
    tensor_pb2.DTYPE_UINT8: np.dtype("u1"),
    tensor_pb2.DTYPE_UINT16: np.dtype("<u2"),
    tensor_pb2.DTYPE_UINT32: np.dtype("<u4"),
    tensor_pb2.DTYPE_UINT64: np.dtype("<u8"),
    tensor_pb2.DTYPE_FLOAT16: np.dtype("<f2"),
    tensor_pb2.DTYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DTYPE_FLOAT64: np.dtype("<f8"),
}
"""NumPy's dtype for each of the wire's; bfloat16 has none."""
_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_BFLOAT16 = tensor_pb2.DTYPE_BFLOAT16
_BOOL = tensor_pb2.DTYPE_BOOL
_BITS = np.dtype("<u2")
_COMPRESSIONS: dict[tensor_pb2.Compression, Compression] = {
    tensor_pb2.COMPRESSION_LZ4: "lz4",
    tensor_pb2.COMPRESSION_ZSTD: "zstd",
}
_COMPRESSION_NUMBERS = {compression: number for number, compression in _COMPRESSIONS.items()}
_MIN_PACKED_BYTES = 4096


def dtype_number(dtype: np.dtype[Any]) -> tensor_pb2.Dtype:
    """Return the wire's number of a dtype in either byte order. Raises ValueError for others."""
    number = _NUMBERS.get(dtype)
    if number is None:
        number = _NUMBERS.get(dtype.newbyteorder("<"))
    if number is None:
        allowed = ", ".join(str(allowed) for allowed in _NUMBERS)
        raise ValueError(f"dtype {dtype} cannot cross the wire; cast to one of {allowed}")
    return number


def read_dtype(number: tensor_pb2.Dtype, name: str) -> np.dtype[Any]:
    """Return NumPy's dtype for a number that came over the wire."""
    try:
        return DTYPES[number]
    except KeyError:
        raise WireError(f"{name} has dtype number {number}, which stands for no dtype here") from None


def read_shape(lengths: Collection[int], itemsize: int, limits: Limits) -> tuple[int, ...]:
    """Return a shape that came over the wire, once it is known that it can be meant."""
    shape = tuple(lengths)
    if len(shape) > limits.max_dimensions:
        limits.check("max_dimensions", len(shape))
    # Also an array without elements, of shape [0, 2**62], must not claim more than may arrive.
    size = math.prod(shape) or math.prod(filter(None, shape))
    if size * itemsize > limits.max_message_bytes:
        limits.check("max_message_bytes", size * itemsize)
    return shape


class BodyWriter:
    """Lays arrays out one after the other and describes each as it goes.

    With `compression`, arrays of whole numbers and bools are packed where that pays.
    """

    def __init__(self, compression: Compression = "none") -> None:
        self.buffers: list[memoryview] = []
        self._compression = compression
        self._end = 0

    def add(self, tensor: tensor_pb2.Tensor, array: NDArray[Any], *, bfloat16: bool = False) -> None:
        """Append `array` and describe it in `tensor`; copies it only where it is not contiguous.

        With `bfloat16`, `array` holds the bits of bfloat16 numbers as uint16.
        """
        number = dtype_number(array.dtype)
        tensor.dtype = _BFLOAT16 if bfloat16 else number
        tensor.shape.extend(array.shape)
        if not array.size:
            return
        # The cast takes any array that is contiguous and in this byte order as it is.
        content = np.ascontiguousarray(array, DTYPES[number]).data.cast("B")
        if self._compression != "none" and array.dtype.kind in "biu" and len(content) >= _MIN_PACKED_BYTES:
            packed = pack(content, self._compression)
            if packed is not None:
                tensor.compression = _COMPRESSION_NUMBERS[self._compression]
                content = memoryview(packed)
        tensor.offset = start = self._end + -self._end % ALIGNMENT
        self._end = start + len(content)
        self.buffers.append(content)

    def add_named(self, tensors: Any, arrays: Mapping[str, NDArray[Any]]) -> None:  # noqa: ANN401
        """Append arrays in order and describe each in a NamedTensor of the repeated field `tensors`."""
        for name, array in arrays.items():
            named = tensors.add()
            named.name = name
            self.add(named.tensor, array)

    def frame(self, header: Any) -> Frame:  # noqa: ANN401  (protobuf messages share no useful type)
        """Return the frame of all that was added, under `header`."""
        return Frame(header.SerializeToString(), self.buffers)


class BodyReader:
    """Finds the arrays of a frame by their descriptions. They are views, and read-only.

    With `bfloat16`, arrays may be of that dtype, and come out as float32 in memory of their own.
    """

    def __init__(self, frame: Frame, limits: Limits, *, bfloat16: bool = False) -> None:
        check_frame(frame, limits)
        self._limits = limits
        self._bfloat16 = bfloat16
        self._num_read = 0
        self._unpacked_bytes = 0
        buffers = [buffer.toreadonly() for buffer in frame.buffers]
        self._buffers = dict(zip(starts(map(len, buffers)), buffers, strict=True))

    def read(self, tensor: tensor_pb2.Tensor, name: str) -> NDArray[Any]:
        """Return the array that `tensor` describes; `name` says in an error which one it was."""
        self._num_read += 1
        if self._num_read > self._limits.max_arrays:
            self._limits.check("max_arrays", self._num_read)
        number = tensor.dtype
        is_bfloat16 = number == _BFLOAT16 and self._bfloat16
        dtype = _BITS if is_bfloat16 else read_dtype(number, name)
        shape = read_shape(tensor.shape, dtype.itemsize, self._limits)
        array = self._view(tensor, shape, dtype, name)
        if number == _BOOL and array.size and np.maximum.reduce(array.view(np.uint8), axis=None) > 1:
            raise WireError(f"{name} is bool and has a byte that is neither 0 nor 1")
        return _read_only(widen(array)) if is_bfloat16 else array

    def read_named(self, tensors: Iterable[tensor_pb2.NamedTensor], noun: str) -> dict[str, NDArray[Any]]:
        """Return arrays by name, in order. Refuses a name that occurs twice."""
        found: dict[str, NDArray[Any]] = {}
        for named in tensors:
            if named.name in found:
                raise WireError(f"{noun} has {named.name!r} twice")
            found[named.name] = self.read(named.tensor, f"{noun}{named.name}")
        return found

    def _view(
        self, tensor: tensor_pb2.Tensor, shape: tuple[int, ...], dtype: np.dtype[Any], name: str
    ) -> NDArray[Any]:
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return _read_only(np.empty(shape, dtype))
        # Taken out, so that no two tensors share their bytes.
        buffer = self._buffers.pop(tensor.offset, None)
        if buffer is None:
            raise WireError(f"{name} starts at {tensor.offset}, where no array starts that is still free")
        if tensor.HasField("compression"):
            return np.ndarray(shape, dtype, self._unpack(buffer, tensor.compression, size, name))
        if len(buffer) != size:
            raise WireError(f"{name} has {size} bytes by its shape and {len(buffer)} in the body")
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer)
        # A sender that cannot count its padding may leave arrays anywhere.
        return array if array.flags.aligned else _read_only(array.copy())

    def _unpack(self, buffer: memoryview, number: tensor_pb2.Compression, size: int, name: str) -> bytes:
        self._unpacked_bytes += size
        self._limits.check("max_decompressed_bytes", self._unpacked_bytes)
        compression = _COMPRESSIONS.get(number)
        if compression is None:
            raise WireError(f"{name} has compression number {number}, which is not known here")
        try:
            return unpack(buffer, compression, size)
        except WireError as error:
            raise WireError(f"{name}: {error}") from error


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
