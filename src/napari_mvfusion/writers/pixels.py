"""Pixels of a volume slab by slab, converted to the type that a file asks for, and never wrapped around."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_mvfusion.errors import OutputError
from napari_mvfusion.geometry import Grid
from napari_mvfusion.views import VolumeLike

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
        yield index, data[index] if index else data


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
    limits = np.iinfo(dtype)
    low, high = pixels.min(), pixels.max()
    if low < limits.min or high > limits.max:
        raise OutputError(
            f"values from {low:g} to {high:g} do not fit into {dtype} ({limits.min} to {limits.max}): "
            "save as float32, or scale the volume first"
        )
    return np.rint(pixels).astype(dtype) if pixels.dtype.kind == "f" else pixels.astype(dtype)
