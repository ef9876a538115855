"""What all loaders of pixels have in common: a view at a resolution level, lazily."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import FloatTriple, float_triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.io.base import Absent, LazyVolume
from napari_mvfusion.io.bdv.places import Places
from napari_mvfusion.io.bdv.project import ViewId

RESAVE = "re-save it as N5, HDF5 or OME-Zarr (in BigStitcher: Resave)"


@dataclass(frozen=True, eq=False)
class ViewLevel:
    """A view at one resolution level.

    Attributes
    ----------
    data : (z, y, x), read lazily
    factors : voxels of the full resolution in one of the level, (z, y, x)
    shift : where the middle of its first voxel lies in those of the full resolution, (z, y, x)
    count : how many levels the view has
    kept_in : file, and what tells its volumes from one another, where projects name files one by one; None elsewhere
    """

    data: VolumeLike
    factors: FloatTriple = (1.0, 1.0, 1.0)
    shift: FloatTriple = (0.0, 0.0, 0.0)
    count: int = 1
    kept_in: tuple[Path, ...] | tuple[Path, int, int, int] | None = None

    @classmethod
    def averaged(cls, data: VolumeLike, levels: np.ndarray, level: int) -> ViewLevel:
        """A level whose voxels are means of blocks, whose middles lie between those of the full resolution.

        Parameters
        ----------
        data : (z, y, x)
        levels : factors of all levels, (level, z y x)
        level : which of them it is
        """
        sizes = float_triple(float(f) for f in levels[level])
        return cls(data, sizes, float_triple((f - 1) / 2 for f in sizes), len(levels))


class NotRecordedError(InputError):
    """A project has no pixels of a view, nor lists it as missing."""


class PixelLoader(ABC):
    """Opens the pixels of views as one kind of project keeps them.

    Parameters
    ----------
    element : the `ImageLoader` of the project
    places : finds its files

    Attributes
    ----------
    kept : where pixels are kept, in words
    """

    kept: ClassVar[str]

    def __init__(self, element: Element, places: Places) -> None:
        self.element = element
        self.places = places

    @property
    def project(self) -> str:
        """The project, for messages."""
        return str(self.places.project.path)

    @abstractmethod
    def open(self, view: ViewId, level: int) -> ViewLevel:
        """A view at a level, 0 for the full resolution; no pixel is read.

        Raises
        ------
        InputError
            If it is missing or damaged, or there is no such level; a `NotRecordedError` where nothing of it is there.
        """

    def check_level(self, view: ViewId, level: int, count: int) -> None:
        """Raise unless a view has a level.

        Raises
        ------
        InputError
            If it has fewer.
        """
        if not 0 <= level < count:
            has = "the full resolution only (level 0)" if count == 1 else f"the levels 0 to {count - 1}"
            raise InputError(f"{self.project}: {called(view)} has {has}, not level {level}: choose another one")


class Reinterpreted(LazyVolume):
    """A volume whose pixels are of another type of the same size, bit for bit."""

    def __init__(self, data: LazyVolume, dtype: np.dtype[Any]) -> None:
        self._data = data
        self.shape, self.dtype = data.shape, dtype
        self.chunks = getattr(data, "chunks", None)

    @property
    def files(self) -> Any:
        """As of the volume."""
        return self._data.files

    def absent(self, most: int) -> Absent | None:
        """As of the volume; see `LazyVolume.absent`."""
        found = self._data.absent(most)
        return found and replace(found, value=float(np.array(found.value, self._data.dtype).view(self.dtype)))

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box."""
        return np.ascontiguousarray(self._data[index]).view(self.dtype)


def called(view: ViewId) -> str:
    """A view in words."""
    return f"setup {view[1]} at time point {view[0]}"
