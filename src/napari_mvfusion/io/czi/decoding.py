"""Planes of CZI files: as they lie there, or compressed by one of the methods of ZEN; weighed before they are decoded."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.czi.segments import enter_pixels
from napari_mvfusion.io.plane_volume import PlaneVolume

GREY: dict[int, np.dtype[Any]] = {0: np.dtype("<u1"), 1: np.dtype("<u2"), 2: np.dtype("<f4"), 12: np.dtype("<i4")}
"""Numbers of the format for types of grey pixels; all others are colours or complex numbers."""

_PLAIN, _JPEG, _LZW, _JPEGXR, _ZSTD, _ZSTD_WITH_HEADER = 0, 1, 2, 4, 5, 6
COMPRESSIONS = frozenset((_PLAIN, _JPEG, _LZW, _JPEGXR, _ZSTD, _ZSTD_WITH_HEADER))
"""Numbers of the format for compressions that are known here."""

LARGEST_PLANE = 2**29
"""Bytes of a compressed plane, which is decoded whole."""

# What does not get smaller may get a little larger.
_OVERHEAD = 2**16
_LOW_AND_HIGH = 2


@dataclass(frozen=True, eq=False)
class CZIPlanes:
    """Where the planes of a volume lie, and how each is kept: an entry a plane, see `napari_mvfusion.io.czi.segments`."""

    place: np.ndarray
    entry_bytes: np.ndarray
    pixel_type: np.ndarray
    compression: np.ndarray


class CZIVolume(PlaneVolume):
    """A volume of which every plane is a piece of its own.

    Parameters
    ----------
    file : that it lies in
    planes : of the volume
    shape : (z, y, x)
    dtype : of the pixels, which holds those of other channels too
    """

    def __init__(self, file: Path, planes: CZIPlanes, shape: Triple, dtype: np.dtype[Any]) -> None:
        super().__init__(file, shape, dtype)
        self._planes = planes

    def opened(self) -> AbstractContextManager[Any]:
        """The file."""
        return self._file.open("rb")

    def plane(self, opened: BinaryIO, number: int, rows: slice) -> np.ndarray:
        """Rows of a plane; of one that is not compressed no others are read."""
        planes, (height, width) = self._planes, self.shape[1:]
        dtype, compression = GREY[int(planes.pixel_type[number])], int(planes.compression[number])
        whole = height * width * dtype.itemsize
        length = enter_pixels(opened, self._file, int(planes.place[number]), int(planes.entry_bytes[number]))
        if compression == _PLAIN:
            if length != whole:
                raise InputError(
                    f"{self._file} is damaged: plane {number} has {length:,} bytes and should have {whole:,}; copy it again"
                )
            opened.seek(rows.start * width * dtype.itemsize, 1)
            count = (rows.stop - rows.start) * width
            return np.frombuffer(self._bytes(opened, number, count * dtype.itemsize), dtype).reshape(-1, width)
        if length > whole + whole // 2 + _OVERHEAD:
            raise InputError(
                f"{self._file} is damaged: plane {number} is stored in {length:,} bytes, and its pixels are {whole:,}; copy "
                "it again"
            )
        stored = self._bytes(opened, number, length)
        return _decoded(stored, compression, dtype, (height, width))[rows]

    def _bytes(self, opened: BinaryIO, number: int, count: int) -> bytes:
        content = opened.read(count)
        if len(content) < count:
            raise InputError(f"{self._file} is truncated in plane {number}: copy or export it again")
        return content


def _decoded(stored: bytes, compression: int, dtype: np.dtype[Any], shape: tuple[int, int]) -> np.ndarray:
    """A plane, decoded into no more memory than it takes."""
    import imagecodecs

    whole = math.prod(shape) * dtype.itemsize
    if len(stored) == whole:  # ZEN leaves what does not get smaller as it is
        return np.frombuffer(stored, dtype).reshape(shape)
    if compression in (_JPEG, _JPEGXR):
        decode = imagecodecs.jpeg_decode if compression == _JPEG else imagecodecs.jpegxr_decode
        return np.asarray(decode(stored, out=np.empty(shape, dtype.newbyteorder("="))))
    in_halves = False
    if compression == _ZSTD_WITH_HEADER:
        length = stored[0]
        in_halves = length > 1 and bool(stored[_LOW_AND_HIGH] & 1)
        stored = stored[length:]
    unpack = imagecodecs.lzw_decode if compression == _LZW else imagecodecs.zstd_decode
    pixels = np.frombuffer(unpack(stored, out=whole), np.uint8)
    if len(pixels) != whole:
        raise ValueError(f"it unpacks to {len(pixels):,} bytes, and its pixels are {whole:,}")
    if in_halves:  # all low bytes, then all high ones
        pixels = np.ascontiguousarray(pixels.reshape(_LOW_AND_HIGH, -1).T).ravel()
    return pixels.view(dtype).reshape(shape)
