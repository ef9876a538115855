"""Volumes whose files keep them plane by plane: only the planes that are asked for are read, one at a time."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import Triple, box_of
from napari_mvfusion.io.base import LazyVolume, parts_of
from napari_mvfusion.system.file_checks import parsing


class PlaneVolume(LazyVolume):
    """A volume that is read plane by plane; what is a plane, a format says.

    Parameters
    ----------
    file : that it lies in
    shape : (z, y, x)
    dtype : of the pixels
    """

    def __init__(self, file: Path, shape: Triple, dtype: np.dtype[Any]) -> None:
        self._file = file
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._file,)

    @abstractmethod
    def opened(self) -> AbstractContextManager[Any]:
        """The file, opened while planes are read."""

    @abstractmethod
    def plane(self, opened: Any, number: int, rows: slice) -> np.ndarray:
        """Rows of a plane, (y, x), of any type that fits into that of the volume."""

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If a plane cannot be read; names the file and the plane.
        """
        box, picked = box_of(parts_of(index), self.shape)
        depth, rows, columns = box.slices
        block = np.empty(box.shape, self.dtype)
        if block.size:
            with parsing(f"{self._file} cannot be read any more", "copy or export it again"), self.opened() as opened:
                for slot, number in enumerate(range(depth.start, depth.stop)):
                    with parsing(f"{self._file} is damaged: plane {number} cannot be read", "copy or export it again"):
                        block[slot] = self.plane(opened, number, rows)[:, columns]
        return np.asarray(block[picked])
