"""Sharp volumes of other specimens."""

from __future__ import annotations

import hashlib

import numpy as np

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.training.own_views import blocks_in


def read_sharp(volume: VolumeLike, name: str, tile: Triple, side: int) -> np.ndarray:
    """Read the part of a sharp volume that has most to show.

    Parameters
    ----------
    volume : (z, y, x)
    name : how to call it in a message
    tile : (z, y, x) that must fit in
    side : most voxels along each axis of the part

    Returns
    -------
    float32 (z, y, x)

    Raises
    ------
    InputError
        If it has other axes, is smaller than a tile, constant, negative somewhere, or not finite.
    """
    if len(volume.shape) != 3:
        raise InputError(f"{name} has {len(volume.shape)} axes: a sharp volume needs exactly three (z, y, x)")
    shape = triple(volume.shape)
    if any(n < t for n, t in zip(shape, tile, strict=True)):
        raise InputError(
            f"{name} of {shape} voxels is smaller than a tile of {tile}: choose a smaller tile (--tile, tile=) or "
            "leave it out"
        )
    best, values = -1.0, np.zeros((0, 0, 0), np.float32)
    for box in blocks_in(Box.whole(shape), max(side, *tile)):
        part = np.asarray(volume[box.slices]).astype(np.float32)
        if not np.isfinite(part).all():
            raise InputError(f"{name} has values that are NaN or infinite: repair it, or leave it out")
        if (detail := float(part.std())) > best and all(n >= t for n, t in zip(part.shape, tile, strict=True)):
            best, values = detail, part
    if not values.size:
        raise InputError(f"{name} of {shape} voxels cannot be cut into parts of {tile}: choose a larger data.side")
    if values.min() < 0:
        raise InputError(f"{name} has negative values, but light cannot be negative: subtract its background first")
    if values.min() == values.max():
        raise InputError(f"{name} has the value {values.min():g} everywhere: leave it out, or check its file")
    return values


def sha256_of(values: np.ndarray) -> str:
    """SHA-256 of the shape and the float32 values."""
    return hashlib.sha256(str(values.shape).encode() + np.ascontiguousarray(values, np.float32).tobytes()).hexdigest()
