"""OME-Zarr among the formats, and how a volume grows in one, box by box."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zarr

from napari_mvfusion.data.geometry import Box, Grid, Triple
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.io.atomic import remove
from napari_mvfusion.io.base import Format, StoredVolumes
from napari_mvfusion.io.ome_zarr.reader import is_zarr, open_stored_image, open_zarr_views
from napari_mvfusion.io.ome_zarr.view_channels import write_views_zarr
from napari_mvfusion.io.ome_zarr.writer import create_zarr, damaged_level, finish_zarr, restore_group, write_zarr


class OMEZarr(Format):
    """OME-Zarr images."""

    name: ClassVar[str] = "OME-Zarr"
    suffixes: ClassVar[tuple[str, ...]] = (".zarr",)
    is_folder: ClassVar[bool] = True
    written: ClassVar[str] = "OME-Zarr"
    new_suffix: ClassVar[str] = ".zarr"
    grows: ClassVar[bool] = True
    holds_views: ClassVar[bool] = True

    def recognises(self, path: Path) -> bool:
        """By what lies in the folder, however it is called."""
        return is_zarr(path)

    def open(self, path: Path) -> StoredVolumes:
        """Look at an image; see `open_image`."""
        return open_stored_image(path)

    def write(self, path: Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
        """Write an image with its levels; see `write_zarr`."""
        self.kept_as(how.get("dtype") or data.dtype)
        write_zarr(path, data, grid, **how)

    def flaw(self, path: Path) -> str:
        """Whether the coarser levels are made of the pixels; see `Format.flaw`."""
        level = damaged_level(path)
        return "" if level is None else f"its coarser level {level} is not made of its voxels"

    def open_views(self, path: Path, timepoint: int | None = None) -> RegisteredViews:
        """Open the channels of an image as views; see `open_zarr_views`."""
        return open_zarr_views(path, timepoint)

    def write_views(
        self, path: Path, views: RegisteredViews, *, truth: VolumeLike | None = None, overwrite: bool = False
    ) -> None:
        """Write views as the channels of an image; see `write_views_zarr`."""
        write_views_zarr(path, views, truth=truth, overwrite=overwrite)

    def grow(self, place: Path, grid: Grid, chunk: Triple, *, name: str, known: str | None) -> GrowingZarr:
        """Begin, or go on with, an image that is filled box by box; see `Format.grow`."""
        return GrowingZarr(place, grid, chunk, name=name, known=known)


class GrowingZarr:
    """An OME-Zarr whose chunks are written as they come: each is a file of its own, renamed when it is complete.

    See `Format.grow` for the parameters.
    """

    def __init__(self, place: Path, grid: Grid, chunk: Triple, *, name: str, known: str | None) -> None:
        self._place, self._name, self._chunk = place, name, chunk
        self._level = place / "0"
        if known is None or self._digest() != known:
            remove(place)
            create_zarr(place, grid, chunks=chunk, name=name)
        restore_group(place, grid, name=name)
        self.description = self._digest()
        self._array: Any = zarr.open_array(self._level, mode="r+")
        self.volume: VolumeLike = self._array

    def write(self, box: Box, pixels: np.ndarray) -> None:
        """Store the pixels of a box; see `Growing`."""
        self._array[box.slices] = pixels

    def read(self, box: Box) -> np.ndarray:
        """The pixels of a box; see `Growing`."""
        return np.asarray(self._array[box.slices])

    def forget(self, box: Box) -> None:
        """Remove the chunks of a box; zarr would first read those that the border of the volume cuts."""
        ranges = (range(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, self._chunk, strict=True))
        for number in product(*ranges):
            self._level.joinpath("c", *map(str, number)).unlink(missing_ok=True)

    def finish(self, recipe: Mapping[str, Any] | None) -> None:
        """Add the levels and the recipe; see `Growing`."""
        for rest in self._place.rglob("*.partial"):
            rest.unlink()
        finish_zarr(self._place, recipe=recipe, name=self._name)

    def _digest(self) -> str:
        """Of what zarr has written about the array; "" where that is not there."""
        path = self._level / "zarr.json"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
