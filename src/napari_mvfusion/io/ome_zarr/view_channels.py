"""Registered views as one OME-Zarr, a channel a view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.ome_zarr.writer import VERSION, space_axes, write_zarr
from napari_mvfusion.io.streaming import slabs

_CHUNK = 64
# Of the channels in viewers, one after the other.
_COLOURS = ("00FF00", "FF00FF", "FFFF00", "00FFFF", "FF0000", "0000FF")


def write_views_zarr(
    path: str | Path, views: RegisteredViews, *, truth: VolumeLike | None = None, overwrite: bool = False
) -> None:
    """Write views as one OME-Zarr 0.5 image with the axes (c, z, y, x), a channel a view.

    Names, angles, weights, offsets, which value is no data, and PSFs go into our own attributes and arrays, which other
    programs ignore; a ground truth is an OME-Zarr image of its own in the subgroup `groundtruth`.

    Raises
    ------
    OutputError
        If a view has its own affine, a mask or trust, or the folder exists or cannot be written.
    """
    for view in views.views:
        if view.trust is not None:
            raise OutputError(
                f"{view.label} counts more in some places than in others, which an OME-Zarr of views does not hold: save it "
                "without trust"
            )
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
        entries, shown = [], []
        for number, view in enumerate(views.views):
            low, high = np.inf, -np.inf
            for start, slab in slabs(view.data, dtype, thickness=_CHUNK):
                pixels[number, start : start + len(slab)] = slab
                low, high = min(low, float(slab.min())), max(high, float(slab.max()))
            shown.append(shown_channel(f"view {view.name}", number, low, high))
            psf = None if view.psf is None else f"psf/{number}"
            if psf is not None:
                group.create_array(psf, data=np.asarray(view.psf, np.float32))
            entries.append(entry_of(view, psf))
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
                    "type": "full resolution",
                    "metadata": {"description": "registered views, a channel each"},
                }
            ],
            "omero": {"channels": shown},
        }
        group.attrs["mvfusion"] = {"views": entries}
        if truth is not None:
            write_zarr(aside / "groundtruth", truth, grid)


def entry_of(view: View, psf: str | None) -> dict[str, Any]:
    """What our own attributes say of a view; `psf` is the name of the array with its PSF."""
    entry = {"name": view.name, "angle": view.angle, "weight": view.weight, "offset": view.offset, "psf": psf}
    entry |= {"gain": view.gain} if view.gain != 1 else {}
    entry |= {"remove_hot": True} if view.remove_hot else {}
    entry |= {"no_data": view.no_data} if view.no_data_stated else {}
    return entry


def shown_channel(name: str, number: int, low: float, high: float) -> dict[str, Any]:
    """How viewers show a channel: its label, colour, and the range of its pixels."""
    window = {"min": low, "max": high, "start": low, "end": high}
    return {"label": name, "active": True, "color": _COLOURS[number % len(_COLOURS)], "window": window}
