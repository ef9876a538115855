"""OME-TIFF: one volume, or a series, in bounded memory, with voxel size and recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from napari_mvfusion.geometry import Grid
from napari_mvfusion.views import VolumeLike
from napari_mvfusion.writers.aside import written_aside
from napari_mvfusion.writers.pixels import LeadingAxis, bands, check_shape, volumes

NAMESPACE = "napari-mvfusion"
_CLASSIC_LIMIT = 2**32 - 2**25


def write_tiff(
    path: str | Path,
    data: VolumeLike,
    grid: Grid,
    *,
    recipe: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    dtype: str | None = None,
    leading: Sequence[LeadingAxis] = (),
) -> None:
    """Write a volume, or a series of them, as OME-TIFF.

    Pixels are not compressed, so that the file can be read lazily. It is a BigTIFF where 4 GiB are not enough.

    Parameters
    ----------
    path : the file; it is written aside and renamed
    data : (z, y, x), read piece by piece; with leading axes before z where there are some
    grid : voxel size in um; the origin is kept in the annotation of the recipe
    recipe : JSON types, kept in a map annotation
    overwrite : replace the file when it exists
    dtype : of the file, that of `data` when None
    leading : the axes before z, () for a single volume

    Raises
    ------
    OutputError
        If the file exists or cannot be written, or a value is not finite or does not fit into `dtype`.
    """
    check_shape(data, grid, leading)
    kind = np.dtype(data.dtype if dtype is None else dtype)
    z_um, y_um, x_um = grid.voxel_size_um
    notes = {
        "origin_um": json.dumps(list(grid.origin_um)),
        "recipe": json.dumps(None if recipe is None else dict(recipe)),
    }
    metadata: dict[str, Any] = {
        "axes": "".join(axis.name for axis in leading).upper() + "ZYX",
        "PhysicalSizeZ": z_um,
        "PhysicalSizeZUnit": "µm",
        "PhysicalSizeY": y_um,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeX": x_um,
        "PhysicalSizeXUnit": "µm",
        "MapAnnotation": {"Namespace": NAMESPACE, **notes},
    }
    for axis in leading:
        if axis.name == "t":
            metadata |= {"TimeIncrement": axis.step, "TimeIncrementUnit": "s"}
    shape = tuple(int(n) for n in data.shape)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    count = int(np.prod([axis.size for axis in leading], dtype=np.int64))
    with written_aside(path, overwrite=overwrite) as aside:
        with tifffile.TiffWriter(aside, bigtiff=size > _CLASSIC_LIMIT, ome=True) as tiff:
            # Room for the pixels, in one piece; they come afterwards, in the order that their chunks have.
            offset, _ = tiff.write(
                None,
                shape=shape,
                dtype=kind,
                photometric="minisblack",
                metadata=metadata,
                resolution=(1e4 / x_um, 1e4 / y_um),
                resolutionunit="CENTIMETER",
                returnoffset=True,
            )
        with aside.open("r+b") as file:
            for number, (_, volume) in enumerate(volumes(data, leading)):
                _write_pixels(file, volume, kind, offset + number * size // count)


def _write_pixels(file: BinaryIO, volume: VolumeLike, kind: np.dtype[Any], offset: int) -> None:
    """Write a volume to where it begins in a file."""
    _, height, width = volume.shape
    for first, row, pixels in bands(volume, kind):
        for plane, rows in enumerate(np.ascontiguousarray(pixels), start=first):
            file.seek(offset + (plane * height + row) * width * kind.itemsize)
            file.write(rows.data.cast("B"))
