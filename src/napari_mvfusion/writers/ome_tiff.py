"""OME-TIFF: one volume, plane by plane, with voxel size and recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_mvfusion.geometry import Grid
from napari_mvfusion.views import VolumeLike
from napari_mvfusion.writers.aside import written_aside
from napari_mvfusion.writers.pixels import LeadingAxis, check_shape, slabs, volumes

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
    data : (z, y, x), read slab by slab; with leading axes before z where there are some
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
    planes = (plane for _, volume in volumes(data, leading) for _, slab in slabs(volume, kind) for plane in slab)
    with (
        written_aside(path, overwrite=overwrite) as aside,
        tifffile.TiffWriter(aside, bigtiff=size > _CLASSIC_LIMIT, ome=True) as tiff,
    ):
        tiff.write(
            planes,
            shape=shape,
            dtype=kind,
            photometric="minisblack",
            metadata=metadata,
            resolution=(1e4 / x_um, 1e4 / y_um),
            resolutionunit="CENTIMETER",
        )
