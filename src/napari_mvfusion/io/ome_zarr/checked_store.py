"""The files of a zarr: only plain ones are read, and what their metadata declares is weighed before it is decoded."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from zarr.storage import LocalStore

from napari_mvfusion.errors import InputError
from napari_mvfusion.io.ome_zarr.chunks import ChunkBound, bound_of
from napari_mvfusion.io.tiff.checked_files import LARGEST_PIECE

LONGEST_AXIS = 2**20
_MOST_CHUNKS = 2**26
_MOST_VOXELS = 2**40
_LARGEST_METADATA = 2**26
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class PlainFiles(LocalStore):  # type: ignore[misc]  # zarr is not followed by mypy
    """A folder whose pipes and devices are refused: reading one would wait for ever."""

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._bounds: tuple[ChunkBound, ...] = ()

    def expect(self, bound: ChunkBound) -> None:
        """From now on, refuse chunks of an array that are, or say that they unpack to, more than its pixels."""
        self._bounds = (*self._bounds, bound)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Bytes of a file, None where there is none."""
        self._check(key)
        found = await super().get(key, prototype, byte_range)
        self._check_content(key, found, byte_range)
        return found

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        """Parts of files."""
        wanted = list(key_ranges)
        for key, _ in wanted:
            self._check(key)
        values: list[Any] = await super().get_partial_values(prototype, wanted)
        for (key, byte_range), value in zip(wanted, values, strict=True):
            self._check_content(key, value, byte_range)
        return values

    def get_sync(self, key: str, **options: Any) -> Any:
        """Bytes of a file, None where there is none."""
        self._check(key)
        found = super().get_sync(key, **options)
        self._check_content(key, found, options.get("byte_range"))
        return found

    def _check(self, key: str) -> None:
        path = self.root / key
        try:
            found = path.stat()
        except OSError:
            return  # the store itself knows what to say of a file that is not there
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise InputError(f"{path} is a pipe, socket or device: copy what it gives to a plain file first")
        if path.name in _METADATA and found.st_size > _LARGEST_METADATA:
            raise InputError(f"{path} has {found.st_size:,} bytes, which is too long for metadata: copy it again")
        for bound in self._bounds_of(key):
            bound.check_file(path, found.st_size)

    def _check_content(self, key: str, found: Any, byte_range: Any) -> None:
        if found is None:
            return
        for bound in self._bounds_of(key):
            if byte_range is None:
                bound.check_content(self.root / key, found.as_numpy_array())
            elif not bound.is_index(getattr(byte_range, "start", None)):
                bound.check_content(self.root / key, found.as_numpy_array(), whole=False)

    def _bounds_of(self, key: str) -> list[ChunkBound]:
        if Path(key).name in _METADATA:
            return []
        return [bound for bound in self._bounds if bound.covers(key)]


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
        If it is empty, holds no numbers, or an axis, a chunk, or the number of chunks is too large.
    """
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    if 0 in shape or dtype.kind not in "buif":
        raise InputError(f"{path} is damaged: it holds {_sizes(shape)} pixels of type {dtype}; copy it again")
    if max(shape) > LONGEST_AXIS or math.prod(shape) > _MOST_VOXELS:
        raise InputError(
            f"{path} says that it has {_sizes(shape)} pixels, which no microscope records: an axis may have "
            f"{LONGEST_AXIS:,}, and all of it {_MOST_VOXELS / 10**12:.1f} million million"
        )
    chunks = tuple(int(n) for n in array.chunks)
    whole = math.prod(chunks) * dtype.itemsize
    if whole > LARGEST_PIECE:
        raise InputError(
            f"{path} has chunks of {_sizes(chunks)} pixels, {whole / 2**30:.1f} GiB each, which are decoded in one go, and "
            f"at most {LARGEST_PIECE // 2**20} MiB are: save it with smaller chunks"
        )
    count = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
    if count > _MOST_CHUNKS:
        raise InputError(f"{path} has {count:,} chunks of {_sizes(chunks)} pixels: save it with larger ones")
    if isinstance(array.store, PlainFiles):
        array.store.expect(bound_of(path, array))


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
