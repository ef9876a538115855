"""Registered views as one OME-Zarr, a channel a view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.ome_zarr.writer import VERSION, space_axes, write_zarr
from napari_mvfusion.io.streaming import slabs

_CHUNK = 64


def write_views_zarr(
    path: str | Path, views: RegisteredViews, *, truth: VolumeLike | None = None, overwrite: bool = False
) -> None:
    """Write views as one OME-Zarr 0.5 image with the axes (c, z, y, x), a channel a view.

    Names, angles, weights, offsets and PSFs go into our own attributes and arrays, which other programs ignore; a
    ground truth is an OME-Zarr image of its own in the subgroup `groundtruth`.

    Raises
    ------
    OutputError
        If a view has its own affine or a mask, or the folder exists or cannot be written.
    """
    for view in views.views:
        if view.affine is not None or view.mask is not None:
            raise OutputError(
                f"{view.label} has an affine or a mask, which one OME-Zarr cannot hold: resample it first"
            )
    grid = views.grid
    dtype = np.result_type(*(view.data.dtype for view in views.views))
    with written_aside(path, overwrite=overwrite) as aside:
        group: Any = zarr.create_group(aside, zarr_format=3)
        pixels = group.create_array(
            "0",
            shape=(len(views), *grid.shape),
            dtype=dtype.name,
            chunks=(1, *(min(_CHUNK, n) for n in grid.shape)),
            dimension_names=("c", "z", "y", "x"),
        )
        entries = []
        for number, view in enumerate(views.views):
            for start, slab in slabs(view.data, dtype, thickness=_CHUNK):
                pixels[number, start : start + len(slab)] = slab
            entry = {"name": view.name, "angle": view.angle, "weight": view.weight, "offset": view.offset, "psf": None}
            entry |= {"gain": view.gain} if view.gain != 1 else {}
            entry |= {"remove_hot": True} if view.remove_hot else {}
            if view.psf is not None:
                entry["psf"] = f"psf/{number}"
                group.create_array(f"psf/{number}", data=np.asarray(view.psf, np.float32))
            entries.append(entry)
        transforms = [
            {"type": "scale", "scale": [1.0, *grid.voxel_size_um]},
            {"type": "translation", "translation": [0.0, *grid.origin_um]},
        ]
        group.attrs["ome"] = {
            "version": VERSION,
            "multiscales": [
                {
                    "name": Path(path).stem,
                    "axes": [{"name": "c", "type": "channel"}, *space_axes(grid)],
                    "datasets": [{"path": "0", "coordinateTransformations": transforms}],
                }
            ],
            "omero": {"channels": [{"label": f"view {view.name}", "active": True} for view in views.views]},
        }
        group.attrs["mvfusion"] = {"views": entries}
        if truth is not None:
            write_zarr(aside / "groundtruth", truth, grid)
