"""Pixels of one volume in TIFF files, read plane by plane when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.io.base import LazyVolume, parts_of
from napari_mvfusion.system.file_checks import parsing

_GONE = "check that the file is still there, and copy it again"


class MappedTiff(LazyVolume):
    """Pixels that lie in one piece: only the planes that are asked for are mapped, and only their box is read.

    Parameters
    ----------
    path : of the file
    offset : bytes before the first plane of the piece
    planes : which planes of the piece are those of the volume, in order
    shape : (z, y, x) of the volume
    dtype : as stored
    """

    def __init__(self, path: Path, offset: int, planes: range, shape: Triple, dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self._path, self._offset, self._planes, self._stored = path, offset, planes, dtype

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self._path,)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box, in memory and in the byte order of this machine.

        Raises
        ------
        InputError
            If the file is gone or was cut short meanwhile.
        """
        wanted, rest = _split(index, self.shape[0])
        numbers = self._planes[wanted] if isinstance(wanted, slice) else self._planes[wanted : wanted + 1 or None]
        height, width = self.shape[1:]
        if not len(numbers):
            return np.empty((0, height, width), self.dtype)[(slice(None), *rest)]
        low, high = min(numbers), max(numbers)
        start = self._offset + low * height * width * self._stored.itemsize
        with parsing(f"{self._path} cannot be read any more", _GONE):
            mapped = np.memmap(self._path, self._stored, mode="r", offset=start, shape=(high - low + 1, height, width))
        own = mapped[[number - low for number in numbers]] if len(numbers) == 1 else mapped[:: abs(numbers.step)]
        block = own if numbers.step > 0 else own[::-1]
        chosen = block[(slice(None), *rest)]
        return np.array(chosen if isinstance(wanted, slice) else chosen[0], dtype=self.dtype)


class PagedTiff(LazyVolume):
    """Pixels that are compressed or scattered, also over several files: only the planes that are asked for are decoded.

    Parameters
    ----------
    path : the file that was named, for messages
    places : file and number of the page of each plane of the volume
    shape : (z, y, x) of the volume
    dtype : of the pixels
    """

    def __init__(self, path: Path, places: Sequence[tuple[Path, int]], shape: Triple, dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self._path, self._places = path, tuple(places)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file that was named, and those that its planes lie in."""
        return tuple(dict.fromkeys((self._path, *(file for file, _ in self._places))))

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box.

        Raises
        ------
        InputError
            If a plane cannot be decoded; names the file and the plane.
        """
        wanted, rest = _split(index, self.shape[0])
        numbers = range(self.shape[0])[wanted] if isinstance(wanted, slice) else [wanted]
        height, width = self.shape[1:]
        block = np.empty((len(numbers), height, width), self.dtype)[(slice(None), *rest)]
        for slot, number in enumerate(numbers):
            file, page = self._places[number]
            with (
                parsing(f"{file} is damaged: plane {number} cannot be decoded", "copy or export it again"),
                tifffile.TiffFile(file) as tiff,
            ):
                plane = tiff.pages[page].asarray().reshape(height, width)
            block[slot] = plane[rest]
        chosen: np.ndarray = block if isinstance(wanted, slice) else block[0]
        return chosen


def _split(index: Any, planes: int) -> tuple[slice | int, tuple[Any, ...]]:
    """The planes that an index asks for, a number counted from the start, and the index within a plane."""
    wanted, *rest = parts_of(index)
    return (wanted if isinstance(wanted, slice) else range(planes)[int(wanted)]), tuple(rest)
