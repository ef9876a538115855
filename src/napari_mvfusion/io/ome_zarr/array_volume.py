"""One (z, y, x) volume of a zarr array with more axes, in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.io.base import Absent, LazyVolume, parts_of
from napari_mvfusion.io.ome_zarr.axes import SPACE
from napari_mvfusion.io.ome_zarr.checked_store import absent_chunks
from napari_mvfusion.system.file_checks import parsing


class ArrayVolume(LazyVolume):
    """Pixels are read when they are asked for; a chunk that cannot be read is named.

    Parameters
    ----------
    folder : that messages name
    array : opened, of `zarr`
    axes : names of its axes, z, y and x among them
    fixed : the place along each of the others
    """

    def __init__(self, folder: Path, array: Any, axes: Sequence[str], fixed: Mapping[str, int]) -> None:
        self._folder, self._array, self._axes, self._fixed = folder, array, tuple(axes), dict(fixed)
        sizes = dict(zip(self._axes, array.shape, strict=True))
        self.shape = tuple(int(sizes[axis]) for axis in SPACE)
        self.dtype = array.dtype

    @property
    def files(self) -> tuple[Path, ...]:
        """The folder."""
        return (self._folder,)

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Chunk sizes along (z, y, x)."""
        sizes = dict(zip(self._axes, self._array.chunks, strict=True))
        return sizes["z"], sizes["y"], sizes["x"]

    def absent(self, most: int) -> Absent | None:
        """Chunks that have no file in its folder; see `LazyVolume.absent`."""
        fixed = [self._fixed.get(axis) for axis in self._axes]
        return absent_chunks(self._array, fixed, most)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        parts = dict(zip(SPACE, parts_of(index), strict=True))
        full = tuple(self._fixed[axis] if axis in self._fixed else parts[axis] for axis in self._axes)
        damaged = f"{self._folder} is damaged: a chunk in its voxels {_shown(parts, self.shape)} cannot be read"
        with parsing(damaged, "copy it again"):
            pixels: np.ndarray = np.asarray(self._array[full])
        # In the order of the file, without axes for which one number was asked.
        left = [
            axis for axis in self._axes if axis not in self._fixed and not isinstance(parts[axis], (int, np.integer))
        ]
        return pixels.transpose([left.index(axis) for axis in SPACE if axis in left])


def _shown(parts: Mapping[str, Any], shape: Sequence[int]) -> str:
    """A box as its first and last voxel along each axis, counted from 0."""
    words = []
    for (axis, part), size in zip(parts.items(), shape, strict=True):
        voxels = range(size)[part]
        if isinstance(voxels, int):
            words.append(f"{axis} {voxels}")
        elif voxels:
            words.append(f"{axis} {min(voxels)} to {max(voxels)}" if len(voxels) > 1 else f"{axis} {voxels[0]}")
    return ", ".join(words)
