"""TIFF among the formats: read as OME-TIFF, ImageJ and plain TIFF, written as OME-TIFF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.io.base import Format, SmallVolume, StoredVolumes
from napari_mvfusion.io.tiff.checked_files import opened_tiff, series_of
from napari_mvfusion.io.tiff.reader import open_stack
from napari_mvfusion.io.tiff.voxel_sizes import voxel_size_of
from napari_mvfusion.io.tiff.writer import tiff_dtype, write_tiff

_OURS = 'Namespace="napari-mvfusion"'


class TIFF(Format):
    """TIFF files."""

    name: ClassVar[str] = "TIFF"
    suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff")
    written: ClassVar[str] = "OME-TIFF"
    new_suffix: ClassVar[str] = ".ome.tif"

    def open(self, path: Path) -> StoredVolumes:
        """Look at the volumes in a file; see `open_stack`."""
        return open_stack(path)

    def read_small(self, path: Path, check_size: Callable[[tuple[int, ...]], None]) -> SmallVolume:
        """All values of a file whose axes may be called anything; see `Format.read_small`.

        Files of this package say 1 um where the voxel size was not known, so that counts as not known.
        """
        with opened_tiff(path) as tiff:
            series = series_of(path, tiff)[0]
            check_size(tuple(series.shape))
            values = np.squeeze(series.asarray())
            size = voxel_size_of(tiff)
            if size == (1.0, 1.0, 1.0) and _OURS in (tiff.pages.first.description or ""):
                size = None
        return SmallVolume(values[None] if values.ndim == 2 else values, size)

    def write(self, path: Path, data: VolumeLike, grid: Grid, **how: Any) -> None:
        """Write an OME-TIFF; see `write_tiff`."""
        write_tiff(path, data, grid, **how)

    def kept_as(self, dtype: Any) -> np.dtype[Any]:
        """See `tiff_dtype`."""
        return tiff_dtype(dtype)
