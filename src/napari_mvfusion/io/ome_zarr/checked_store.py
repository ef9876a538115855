"""The files of a zarr: only plain ones are read, and what their metadata declares is weighed before it is decoded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from zarr.storage import LocalStore

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.absent_pieces import absent_files, pieces_in
from napari_mvfusion.io.base import Absent
from napari_mvfusion.io.ome_zarr.chunks import ChunkBound, bound_of
from napari_mvfusion.io.tiff.checked_files import LARGEST_PIECE
from napari_mvfusion.system.file_checks import check_plain, is_absent

LONGEST_AXIS = 2**20
_MOST_CHUNKS = 2**26
_MOST_VOXELS = 2**40
LARGEST_METADATA = 2**26
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class Checked:
    """What all stores have in common: what is known of their arrays, and what is looked at before it is taken."""

    _bounds: tuple[ChunkBound, ...] = ()

    def expect(self, bound: ChunkBound) -> None:
        """From now on, refuse chunks of an array that are, or say that they unpack to, more than its pixels."""
        self._bounds = (*self._bounds, bound)

    def place_of(self, key: str) -> Path:
        """Where the bytes of a key lie, for messages."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its files lie")

    def check_size(self, key: str, size: int) -> None:
        """Refuse a file that is longer than it can be, before it is read."""
        if is_metadata(key) and size > LARGEST_METADATA:
            raise InputError(f"{self.place_of(key)} has {size:,} bytes, which is too long for metadata: copy it again")
        for bound in self._bounds_of(key):
            bound.check_file(self.place_of(key), size)

    def most_bytes(self, key: str) -> int:
        """What a file may have at most, where that is known only while it is read."""
        if is_metadata(key):
            return LARGEST_METADATA
        return max((bound.most_bytes for bound in self._bounds_of(key)), default=LARGEST_PIECE)

    def check_content(self, key: str, found: Any, byte_range: Any) -> None:
        """Refuse what was read and unpacks to more than it can hold."""
        if found is None:
            return
        for bound in self._bounds_of(key):
            if byte_range is None:
                bound.check_content(self.place_of(key), found.as_numpy_array())
            elif not bound.is_index(getattr(byte_range, "start", None)):
                bound.check_content(self.place_of(key), found.as_numpy_array(), whole=False)

    def _bounds_of(self, key: str) -> list[ChunkBound]:
        return [] if is_metadata(key) else [bound for bound in self._bounds if bound.covers(key)]


class PlainFiles(Checked, LocalStore):  # type: ignore[misc]  # zarr is not followed by mypy
    """A folder whose pipes and devices are refused: reading one would wait for ever."""

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)

    def place_of(self, key: str) -> Path:
        """The file of a key."""
        return Path(self.root / key)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Bytes of a file, None where there is none."""
        self._check(key)
        found = await super().get(key, prototype, byte_range)
        self.check_content(key, found, byte_range)
        return found

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        """Parts of files."""
        wanted = list(key_ranges)
        for key, _ in wanted:
            self._check(key)
        values: list[Any] = await super().get_partial_values(prototype, wanted)
        for (key, byte_range), value in zip(wanted, values, strict=True):
            self.check_content(key, value, byte_range)
        return values

    def get_sync(self, key: str, **options: Any) -> Any:
        """Bytes of a file, None where there is none."""
        self._check(key)
        found = super().get_sync(key, **options)
        self.check_content(key, found, options.get("byte_range"))
        return found

    def _check(self, key: str) -> None:
        """Refuse what is no plain file; one whose name does not exist counts as fill values, and nothing else does."""
        path = self.root / key
        if is_absent(path):
            return
        self.check_size(key, check_plain(path, if_folder="copy it again").st_size)


def is_metadata(key: str) -> bool:
    """Whether a file says what lies beside it."""
    return key.rsplit("/", 1)[-1] in _METADATA


def weigh(path: Path, array: Any) -> None:
    """Refuse an array that cannot be read in bounded memory, or whose size no microscope records.

    From then on its store refuses chunks that say that they unpack to more than the array's chunks have.

    Parameters
    ----------
    path : of the array, for messages
    array : opened, of `zarr`

    Raises
    ------
    InputError
        If it is empty, holds no numbers, has chunks of no size, or an axis, a chunk, or the number of chunks is too large.
    """
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    if dtype.kind not in "buif":
        raise InputError(f"{path} holds values of type {dtype}: a view has numbers, one a voxel")
    if 0 in shape:
        raise InputError(f"{path} is empty: it has {_sizes(shape)} pixels; save it again")
    if max(shape) > LONGEST_AXIS or math.prod(shape) > _MOST_VOXELS:
        raise InputError(
            f"{path} says that it has {_sizes(shape)} pixels, which no microscope records: an axis may have "
            f"{LONGEST_AXIS:,}, and all of it {_MOST_VOXELS / 10**12:.1f} million million"
        )
    chunks = tuple(int(n) for n in array.chunks)
    if min(chunks) < 1:
        file = Path(array.path) / ("zarr.json" if array.metadata.zarr_format == 3 else ".zarray")
        raise InputError(
            f"{path} is damaged: {file} in it says that chunks have {_sizes(chunks)} pixels; copy it again"
        )
    whole = math.prod(chunks) * dtype.itemsize
    if whole > LARGEST_PIECE:
        raise InputError(
            f"{path} has chunks of {_sizes(chunks)} pixels, {whole / 2**30:.1f} GiB each, which are decoded in one go, and "
            f"at most {LARGEST_PIECE // 2**20} MiB are: save it with smaller chunks"
        )
    count = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
    if count > _MOST_CHUNKS:
        raise InputError(f"{path} has {count:,} chunks of {_sizes(chunks)} pixels: save it with larger ones")
    if isinstance(array.store, Checked):
        array.store.expect(bound_of(path, array))


def absent_chunks(array: Any, fixed: Sequence[int | None], most: int) -> Absent | None:
    """Chunks of a part of an array that have no file.

    Parameters
    ----------
    array : opened, of `zarr`
    fixed : the place along each axis, None along those that are taken whole
    most : chunks that may be looked for

    Returns
    -------
    None where it is not a folder of chunks, or has more of them.
    """
    if not isinstance(array.store, PlainFiles) or array.shards is not None:
        return None
    places = pieces_in(array.shape, array.chunks)
    for axis, (at, size) in enumerate(zip(fixed, array.chunks, strict=True)):
        if at is not None:
            places[axis] = range(at // size, at // size + 1)
    folder = str(array.store.root / array.path)
    files = (f"{folder}/{array.metadata.encode_chunk_key(place)}" for place in product(*places))
    return absent_files(files, most, places, float(array.fill_value or 0))


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
