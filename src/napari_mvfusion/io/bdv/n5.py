"""Volumes of an N5 container, block by block."""

from __future__ import annotations

import bz2
import json
import lzma
import math
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from napari_mvfusion.data.geometry import Box, Triple, box_of, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.absent_pieces import absent_files, pieces_in
from napari_mvfusion.io.base import Absent, LazyVolume, parts_of
from napari_mvfusion.system.file_checks import check_file, check_plain, is_absent, is_there, parsing, read_text

_DAMAGED = "copy it again"
_LONGEST_AXIS = 2**20
_MOST_VOXELS = 2**40
_LARGEST_BLOCK = 2**28
_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
_VARIABLE_LENGTH = 1
_LZ4_MAGIC = b"LZ4Block"


@dataclass(frozen=True)
class N5Dataset:
    """A dataset of three axes.

    Attributes
    ----------
    folder : of its blocks
    shape, block : voxels (z, y, x) of all of it and of one block
    dtype : of the pixels, as they are stored: big-endian
    compression : its name and settings
    """

    folder: Path
    shape: Triple
    block: Triple
    dtype: np.dtype[Any]
    compression: Mapping[str, Any]

    def block_file(self, place: Sequence[int]) -> Path:
        """The file of a block at a place in the grid of blocks, (z, y, x)."""
        z, y, x = place
        return self.folder / str(x) / str(y) / str(z)

    def read_block(self, place: Sequence[int]) -> np.ndarray | None:
        """A block, None where there is no such name, which stands for zeros. One at the far faces may be cut, or be whole.

        Raises
        ------
        InputError
            If it is damaged, or anything but a file has its name.
        """
        file = self.block_file(place)
        if is_absent(file):
            return None
        check_plain(file, if_folder=_DAMAGED)
        check_file(file)
        meant = Path(os.path.realpath(file))
        if not meant.is_relative_to(os.path.realpath(self.folder)):
            raise InputError(
                f"{file} is a link to {meant}, out of its dataset, which is not followed: copy what it leads to"
            )
        with parsing(f"{file} is a damaged block of an N5 dataset", _DAMAGED):
            block = self._decoded(file, file.read_bytes())
        starts = [at * n for at, n in zip(place, self.block, strict=True)]
        needed = [min(n, whole - start) for n, whole, start in zip(self.block, self.shape, starts, strict=True)]
        if any(n < least for n, least in zip(block.shape, needed, strict=True)):
            raise InputError(
                f"{file} is damaged: it has {_times(block.shape)} pixels, and {_times(needed)} belong there; {_DAMAGED}"
            )
        return block

    def _decoded(self, file: Path, raw: bytes) -> np.ndarray:
        mode, axes = struct.unpack_from(">HH", raw)
        if axes != 3 or mode > _VARIABLE_LENGTH:
            raise InputError(f"{file} is a damaged block of an N5 dataset (mode {mode}, {axes} axes): {_DAMAGED}")
        size = triple(reversed(struct.unpack_from(">3I", raw, 4)))
        start = 16 + 4 * (mode == _VARIABLE_LENGTH)
        if any(n < 1 or n > whole for n, whole in zip(size, self.block, strict=True)):
            raise InputError(
                f"{file} is damaged: it has {_times(size)} pixels, and its blocks have {_times(self.block)}; {_DAMAGED}"
            )
        wanted = math.prod(size) * self.dtype.itemsize
        # One byte more than there may be, so that a surplus shows.
        pixels = _unpack(raw[start:], self.compression, wanted + 1)
        if len(pixels) < wanted:
            raise InputError(f"{file} is cut off: it holds {len(pixels):,} bytes of pixels, not {wanted:,}; {_DAMAGED}")
        if len(pixels) > wanted:
            raise InputError(f"{file} is damaged: it holds more than {wanted:,} bytes of pixels; {_DAMAGED}")
        return np.frombuffer(pixels, self.dtype, math.prod(size)).reshape(size)


class N5Volume(LazyVolume):
    """All of a dataset; blocks are read when they are asked for."""

    def __init__(self, dataset: N5Dataset) -> None:
        self._dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype = dataset.dtype.newbyteorder("=")

    @property
    def files(self) -> tuple[Path, ...]:
        """The folder of its blocks."""
        return (self._dataset.folder,)

    @property
    def chunks(self) -> Triple:
        """Voxels (z, y, x) of a block."""
        return self._dataset.block

    def absent(self, most: int) -> Absent | None:
        """Blocks that have no file; see `LazyVolume.absent`."""
        places = pieces_in(self.shape, self._dataset.block)
        files = (f"{self._dataset.folder}/{x}/{y}/{z}" for z, y, x in product(*places))
        return absent_files(files, most, places, 0.0)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If a block is damaged.
        """
        box, picked = box_of(parts_of(index), self.shape)
        pixels = np.zeros(box.shape, self.dtype)
        if box.size:
            grid = [
                range(a // n, (b - 1) // n + 1)
                for a, b, n in zip(box.start, box.stop, self._dataset.block, strict=True)
            ]
            for place in product(*grid):
                self._fill(pixels, box, place)
        return np.ascontiguousarray(pixels[picked])

    def _fill(self, pixels: np.ndarray, box: Box, place: Sequence[int]) -> None:
        """Copy what a block holds of a box."""
        block = self._dataset.read_block(place)
        if block is None:
            return
        there, here = [], []
        for axis, size in enumerate(self._dataset.block):
            start = place[axis] * size
            first, last = max(box.start[axis], start), min(box.stop[axis], start + block.shape[axis])
            if last <= first:
                return
            there.append(slice(first - box.start[axis], last - box.start[axis]))
            here.append(slice(first - start, last - start))
        pixels[tuple(there)] = block[tuple(here)]


def attributes_of(folder: Path) -> dict[str, Any]:
    """The attributes of a group or dataset; none where it has no file of them.

    Raises
    ------
    InputError
        If they cannot be read.
    """
    file = folder / "attributes.json"
    if not is_there(file):
        return {}
    text = read_text(file, "list of attributes of an N5 dataset")
    with parsing(f"{file} is damaged: it is not JSON", _DAMAGED):
        found = json.loads(text)
    if not isinstance(found, dict):
        raise InputError(f"{file} is damaged: it holds no attributes; {_DAMAGED}")
    return found


def open_n5(folder: Path) -> N5Dataset:
    """Look at a dataset of three axes; no block is read.

    Raises
    ------
    InputError
        If it is missing, no such dataset, damaged, or larger than it may be.
    """
    if is_there(folder / ".zarray") or is_there(folder / "zarr.json"):
        raise InputError(
            f"{folder} is an array of Zarr, and its project says N5, as pybdv does of names that end in .zarr: save it in a "
            "container that ends in .n5"
        )
    if not is_there(folder / "attributes.json"):
        raise InputError(f"{folder} is no dataset of an N5 container: it has no attributes.json; {_DAMAGED}")
    said = attributes_of(folder)
    with parsing(f"{folder} is damaged: its attributes cannot be understood", _DAMAGED):
        dimensions = [int(n) for n in said["dimensions"]]
        block = [int(n) for n in said["blockSize"]]
        kind = str(said["dataType"])
        # Containers before 2.0 name it alone.
        compression = said.get("compression", said.get("compressionType", "raw"))
        compression = {"type": compression} if isinstance(compression, str) else dict(compression)
    if len(dimensions) != 3 or len(block) != 3:
        raise InputError(f"{folder} has the dimensions {dimensions}: a view has three (x, y, z)")
    if min(block) < 1:
        raise InputError(
            f"{folder} is damaged: it says that its blocks have {_times(block)} pixels (x, y, z); {_DAMAGED}"
        )
    if not all(1 <= n <= _LONGEST_AXIS for n in dimensions) or math.prod(dimensions) > _MOST_VOXELS:
        raise InputError(f"{folder} is damaged: it says that it has {_times(dimensions)} pixels (x, y, z); {_DAMAGED}")
    if kind not in _TYPES:
        raise InputError(f"{folder} holds values of type {kind[:40]}: a view has numbers, one a voxel")
    dtype = np.dtype(kind).newbyteorder(">")
    # A block is decoded whole, whatever is asked of it.
    if math.prod(min(b, n) for b, n in zip(block, dimensions, strict=True)) * dtype.itemsize > _LARGEST_BLOCK:
        raise InputError(
            f"{folder} has blocks of {_times(block)} pixels (x, y, z), which are too large: save smaller ones"
        )
    if compression.get("type") not in _CODECS:
        raise InputError(
            f"{folder} is packed with '{str(compression.get('type'))[:40]}', which is not known: save it with one of "
            f"{', '.join(_CODECS)}"
        )
    return N5Dataset(folder, triple(reversed(dimensions)), triple(reversed(block)), dtype, compression)


def _unpack(packed: bytes, compression: Mapping[str, Any], size: int) -> bytes:
    """At most `size` bytes of pixels, and no more whatever a block says of itself."""
    return _CODECS[compression["type"]](packed, compression, size)


def _deflated(packed: bytes, compression: Mapping[str, Any], size: int) -> bytes:
    # A header of gzip or, where asked for, of zlib: both are recognised.
    del compression
    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(packed, size)


def _lz4_blocks(packed: bytes, compression: Mapping[str, Any], size: int) -> bytes:
    """The framing of Java's LZ4BlockOutputStream: a magic word, a token, lengths and a checksum before each block.

    z5py writes one block without any of that.
    """
    del compression
    if not packed.startswith(_LZ4_MAGIC):
        return bytes(imagecodecs.lz4_decode(packed, out=size))
    found, place = bytearray(), 0
    while len(found) < size and place < len(packed):
        magic, token, length, whole, _ = struct.unpack_from("<8sBIII", packed, place)
        place += 21
        if magic != _LZ4_MAGIC or whole > size - len(found) or length > len(packed) - place:
            raise ValueError("its LZ4 blocks are damaged")
        if whole == 0:
            break
        piece = packed[place : place + length]
        found += piece if token & 0xF0 == 0x10 else imagecodecs.lz4_decode(piece, out=whole)
        place += length
    return bytes(found)


def _blosc(packed: bytes, compression: Mapping[str, Any], size: int) -> bytes:
    del compression
    whole = struct.unpack_from("<I", packed, 4)[0]
    if whole > size:
        raise ValueError(f"it says that it unpacks to {whole:,} bytes, and {size:,} belong there")
    return bytes(imagecodecs.blosc_decode(packed))


_CODECS: dict[str, Callable[[bytes, Mapping[str, Any], int], bytes]] = {
    "raw": lambda packed, _, size: packed[:size],
    "gzip": _deflated,
    "zstd": lambda packed, _, size: bytes(imagecodecs.zstd_decode(packed, out=size)),
    "lz4": _lz4_blocks,
    "blosc": _blosc,
    "bzip2": lambda packed, _, size: bz2.BZ2Decompressor().decompress(packed, size),
    "xz": lambda packed, _, size: lzma.LZMADecompressor().decompress(packed, size),
}


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)
