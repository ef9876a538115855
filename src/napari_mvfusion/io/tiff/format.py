"""TIFF among the formats: read as OME-TIFF, ImageJ and plain TIFF, written as OME-TIFF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_mvfusion.data.geometry import Grid, Triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError, OutputError
from napari_mvfusion.io.base import Format, SmallVolume, StoredVolumes
from napari_mvfusion.io.tiff.checked_files import files_of_image, image_number, image_of, opened_tiff, split
from napari_mvfusion.io.tiff.ome_sets import is_companion
from napari_mvfusion.io.tiff.planes import is_planes, open_planes, plane_files, plane_shape
from napari_mvfusion.io.tiff.reader import open_stack
from napari_mvfusion.io.tiff.voxel_sizes import voxel_size_of
from napari_mvfusion.io.tiff.writer import tiff_dtype, write_tiff
from napari_mvfusion.system.file_checks import is_folder

_OURS = 'Namespace="napari-mvfusion"'


class TIFF(Format):
    """TIFF files."""

    name: ClassVar[str] = "TIFF"
    suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff")
    written: ClassVar[str] = "OME-TIFF"
    new_suffix: ClassVar[str] = ".ome.tif"

    def place(self, path: Path) -> Path:
        """The file, without the number of an image in it; of planes that are files, the first that there is."""
        if is_planes(path) and is_folder(path.parent):
            return next(iter(plane_files(path).values()), path)
        return split(path)[0]

    def recognises(self, path: Path) -> bool:
        """By its ending, also where an image is named; so is the companion.ome of a set."""
        file = split(path)[0]
        return super().recognises(file) or (is_companion(file) and not is_folder(file))

    def open(self, path: Path) -> StoredVolumes:
        """Look at the volumes in a file; see `open_stack`, and `open_planes` for planes that are files."""
        return open_planes(path) if is_planes(path) else open_stack(path)

    def parts(self, path: Path) -> tuple[Path, ...]:
        """The files that the OME-XML of one image names, also those that are not there; see `Format.parts`."""
        file, number = split(path)
        if is_planes(path) or number is not None:
            return ()
        try:
            with opened_tiff(file) as tiff:
                return files_of_image(file, tiff)
        except InputError:
            return ()

    def plane(self, path: Path) -> Triple | None:
        """See `Format.plane`."""
        try:
            return plane_shape(path)
        except InputError:
            return None

    def read_small(self, path: Path, check_size: Callable[[tuple[int, ...]], None]) -> SmallVolume:
        """All values of a file whose axes may be called anything; see `Format.read_small`.

        Files of this package say 1 um where the voxel size was not known, so that counts as not known.
        """
        if is_planes(path):
            return super().read_small(path, check_size)
        file, number = split(path)
        with opened_tiff(file) as tiff:
            series, _ = image_of(file, tiff, number)
            check_size(tuple(series.shape))
            values = np.squeeze(series.asarray())
            z, y, x = voxel_size_of(tiff, image_number(tiff, series) or 0)
            size = (z, y, x) if z is not None and y is not None and x is not None else None
            if size == (1.0, 1.0, 1.0) and _OURS in (tiff.pages.first.description or ""):
                size = None
        return SmallVolume(values[None] if values.ndim == 2 else values, size)

    def write(self, path: Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
        """Write an OME-TIFF; see `write_tiff`."""
        if is_planes(path):
            raise OutputError(f"{path} names planes, and a volume is written as one file: leave {{z}} out")
        if split(path)[1] is not None:
            raise OutputError(
                f"{path} names an image in a TIFF file, which is written as a whole: leave the number out"
            )
        write_tiff(path, data, grid, **how)

    def kept_as(self, dtype: Any) -> np.dtype[Any]:
        """See `tiff_dtype`."""
        return tiff_dtype(dtype)
