"""Pixels of a volume slab by slab, converted to the type that a file asks for, and never wrapped around."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from napari_mvfusion.data.geometry import Box, Grid, Triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import OutputError

_SLAB_VOXELS = 2**23


@dataclass(frozen=True)
class LeadingAxis:
    """An axis before z, of a series of volumes.

    Attributes
    ----------
    name : "t" for time points, "c" for channels
    size : number of volumes along it
    step : seconds from one to the next, where that is known; channels have 1
    """

    name: Literal["t", "c"]
    size: int
    step: float = 1.0


def check_shape(data: VolumeLike, grid: Grid, leading: Sequence[LeadingAxis] = ()) -> None:
    """Raise `OutputError` unless a volume, or a series of them, has the shape of its grid."""
    shape = (*(axis.size for axis in leading), *grid.shape)
    if tuple(data.shape) != shape:
        raise OutputError(f"the volume has shape {tuple(data.shape)}, but its grid {shape}: make them equal")


def volumes(data: VolumeLike, leading: Sequence[LeadingAxis]) -> Iterator[tuple[tuple[int, ...], VolumeLike]]:
    """Go through a series: (position along the leading axes, volume); of a plain volume there is one, at ()."""
    for index in np.ndindex(*(axis.size for axis in leading)):
        yield index, _One(data, index) if index else data


def blocks(shape: Triple, block: Triple) -> Iterator[Box]:
    """Go through a volume in boxes of a size; at the far border they are smaller."""
    for start in product(*(range(0, n, b) for n, b in zip(shape, block, strict=True))):
        stop = triple(min(a + b, n) for a, b, n in zip(start, block, shape, strict=True))
        yield Box(triple(start), stop)


def converted_blocks(
    data: VolumeLike, shape: Triple, leading: Sequence[LeadingAxis], block: Triple, dtype: np.dtype[Any]
) -> Iterator[tuple[tuple[int | slice, ...], np.ndarray]]:
    """Go through a series box by box: (where it stands in the series, its pixels as another type)."""
    for index, volume in volumes(data, leading):
        for box in blocks(shape, block):
            yield (*index, *box.slices), converted(np.asarray(volume[box.slices]), dtype)


class _One:
    """One volume of a series, of which only what is asked for is read."""

    def __init__(self, series: VolumeLike, index: tuple[int, ...]) -> None:
        self._series = series
        self._index = index
        self.shape: tuple[int, ...] = tuple(series.shape[len(index) :])
        self.dtype = series.dtype
        chunks = getattr(series, "chunks", None)
        self.chunks = None if chunks is None else chunks[len(index) :]

    def __getitem__(self, key: Any) -> Any:
        return self._series[(*self._index, *(key if isinstance(key, tuple) else (key,)))]


def bands(data: VolumeLike, dtype: np.dtype[Any]) -> Iterator[tuple[int, int, np.ndarray]]:
    """Go through a volume in bounded memory, in whole rows, so that each chunk of it is read once where that fits.

    Yields
    ------
    (first plane, first row, pixels (z, y, x) of type `dtype`), as `slabs` gives them.

    Raises
    ------
    OutputError
        If a pixel is not finite or does not fit into `dtype`.
    """
    depth, height, width = data.shape
    planes, rows = _band(data)
    for z in range(0, depth, planes):
        for y in range(0, height, rows):
            key = (slice(z, min(z + planes, depth)), slice(y, min(y + rows, height)), slice(0, width))
            yield z, y, converted(np.asarray(data[key]), dtype)


def _band(data: VolumeLike) -> tuple[int, int]:
    """Planes and rows of a band: whole chunks, as many as stay within a slab; at least one row of chunks."""
    _, height, width = data.shape
    chunks = getattr(data, "chunks", None)
    # Those of dask are the sizes along each axis.
    z, y = (1, 1) if chunks is None else (int(np.max(chunks[0])), int(np.max(chunks[1])))
    if z * y * width > 2 * _SLAB_VOXELS:
        z, y = 1, 1
    rows = min(height, max(1, _SLAB_VOXELS // (z * y * width)) * y)
    planes = z * max(1, _SLAB_VOXELS // (z * rows * width)) if rows == height else z
    return planes, rows


def slabs(data: VolumeLike, dtype: np.dtype[Any], thickness: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Go through a volume along z in bounded memory.

    Yields
    ------
    (first plane, pixels (z, y, x) of type `dtype`). Floats are rounded where `dtype` is an integer.

    Raises
    ------
    OutputError
        If a pixel is not finite or does not fit into `dtype`: it would wrap around to a wrong number.
    """
    planes, height, width = data.shape
    step = thickness or max(1, _SLAB_VOXELS // (height * width))
    for start in range(0, planes, step):
        pixels = np.asarray(data[start : min(start + step, planes)])
        yield start, converted(pixels, dtype)


def converted(pixels: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Pixels as another type, refusing what it cannot hold."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise OutputError("the volume has voxels that are NaN or infinite: repair them before it is saved")
    if pixels.dtype == dtype or dtype.kind == "f":
        return pixels.astype(dtype, copy=False)
    if pixels.dtype.kind == "b":
        return pixels.astype(dtype)
    limits = np.iinfo(dtype)
    low, high = pixels.min(), pixels.max()
    if low < limits.min or high > limits.max:
        raise OutputError(
            f"values from {low:g} to {high:g} do not fit into {dtype} ({limits.min} to {limits.max}): "
            "save as float32, or scale the volume first"
        )
    return np.rint(pixels).astype(dtype) if pixels.dtype.kind == "f" else pixels.astype(dtype)
