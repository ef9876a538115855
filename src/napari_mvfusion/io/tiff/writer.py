"""OME-TIFF: one volume, or a series, in bounded memory, with voxel size and recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from napari_mvfusion.data.geometry import Grid
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import written_aside
from napari_mvfusion.io.streaming import LeadingAxis, bands, check_shape, volumes

_NEXT = {"bool": "uint8", "float16": "float32", "int64": "float64", "uint64": "float64"}
NAMESPACE = "napari-mvfusion"
_CLASSIC_LIMIT = 2**32 - 2**25
# Places of more planes would be megabytes of XML, which programs parse whole before they show anything.
_MOST_PLACED = 2**15


def tiff_dtype(dtype: Any) -> np.dtype[Any]:
    """The type that OME-TIFF keeps pixels of a type as: the same, or the next that holds all its values.

    OME knows neither booleans as bytes, half floats nor integers of 64 bits: they become uint8, float32 and float64, which
    holds integers up to 2^53 exactly. `write_zarr` keeps every type.

    Raises
    ------
    OutputError
        If it is no type of real numbers.
    """
    kind = np.dtype(dtype)
    if kind.kind not in "buif":
        raise OutputError(f"pixels of type {kind} cannot be saved as OME-TIFF: real numbers are needed")
    return np.dtype(_NEXT.get(kind.name, kind.name if kind.itemsize <= 8 else "float64"))


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
    grid : voxel size in um, left out along axes where it is not known, and the origin, as the position of each plane for
        other programs, and exactly in the annotation of the recipe
    recipe : JSON types, kept in a map annotation
    overwrite : replace the file when it exists
    dtype : of the file, see `tiff_dtype`; that of `data` when None
    leading : the axes before z, () for a single volume

    Raises
    ------
    OutputError
        If the file exists or cannot be written, a value is not finite or does not fit into `dtype`, or two axes before z
        are of one kind.
    """
    check_shape(data, grid, leading)
    names = [axis.name for axis in leading]
    if len(set(names)) < len(names):
        raise OutputError(
            f"{path} would have two axes '{max(names, key=names.count)}' before z, and OME-TIFF and OME-Zarr keep one of "
            "time and one of channels: save one position alone"
        )
    kind = tiff_dtype(data.dtype if dtype is None else dtype)
    _, y_um, x_um = grid.stated_size_um
    notes = {
        "origin_um": json.dumps(list(grid.origin_um)),
        "recipe": json.dumps(None if recipe is None else dict(recipe)),
    }
    metadata: dict[str, Any] = {
        "axes": "".join(axis.name for axis in leading).upper() + "ZYX",
        "MapAnnotation": {"Namespace": NAMESPACE, **notes},
    }
    for name, size_um in zip("ZYX", grid.stated_size_um, strict=True):
        if size_um is not None:
            metadata |= {f"PhysicalSize{name}": size_um, f"PhysicalSize{name}Unit": "µm"}
    shape = tuple(int(n) for n in data.shape)
    planes = int(np.prod(shape[:-2], dtype=np.int64))
    if planes <= _MOST_PLACED:
        metadata["Plane"] = _places_of_planes(grid, planes)
    for axis in leading:
        if axis.name == "t":
            metadata |= {"TimeIncrement": axis.step, "TimeIncrementUnit": "s"}
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
                resolution=None if x_um is None or y_um is None else (1e4 / x_um, 1e4 / y_um),
                resolutionunit=None if x_um is None or y_um is None else "CENTIMETER",
                returnoffset=True,
            )
        with aside.open("r+b") as file:
            for number, (_, volume) in enumerate(volumes(data, leading)):
                _write_pixels(file, volume, kind, offset + number * size // count)


def _places_of_planes(grid: Grid, planes: int) -> dict[str, list[Any]]:
    """Where the first voxel of each plane lies, um, as OME-XML has it; nothing along axes whose voxel size is not known.

    Planes along z are next to each other, whatever axes come before.
    """
    (z_um, y_um, x_um), depth = grid.origin_um, grid.shape[0]
    along = {
        "Z": [float(z_um + grid.voxel_size_um[0] * (plane % depth)) for plane in range(planes)],
        "Y": [float(y_um)] * planes,
        "X": [float(x_um)] * planes,
    }
    known = [axis for axis, known in zip("ZYX", grid.known, strict=True) if known]
    places: dict[str, list[Any]] = {f"Position{axis}": along[axis] for axis in known}
    return places | {f"Position{axis}Unit": ["µm"] * planes for axis in known}


def _write_pixels(file: BinaryIO, volume: VolumeLike, kind: np.dtype[Any], offset: int) -> None:
    """Write a volume to where it begins in a file."""
    _, height, width = volume.shape
    for first, row, pixels in bands(volume, kind):
        for plane, rows in enumerate(np.ascontiguousarray(pixels), start=first):
            file.seek(offset + (plane * height + row) * width * kind.itemsize)
            file.write(rows.data.cast("B"))
