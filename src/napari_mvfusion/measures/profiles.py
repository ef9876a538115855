"""Values of a volume along a straight line."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError

# A diagonal through a large volume has a large bounding box: it is read in pieces whose boxes are small.
_PIECE_VOXELS = 48.0
_SAMPLES_PER_VOXEL = 2
_HALF = 0.5


def line_profile(
    volume: VolumeLike, start: Sequence[float], stop: Sequence[float], samples: int | None = None
) -> np.ndarray:
    """Values at evenly spaced points of a line, interpolated linearly between voxels.

    Parameters
    ----------
    volume : (z, y, x) of any real dtype; numpy, dask or zarr. Only small boxes round pieces of the line are read.
    start, stop : ends of the line, (z, y, x) in voxels; whole numbers are centres of voxels
    samples : number of points from one end to the other, both included; about two a voxel when None

    Returns
    -------
    float32 (samples,). NaN outside the volume, whose border is the outer face of its outermost voxels; within half a
        voxel of that face the value is that of the nearest centres.

    Raises
    ------
    InputError
        If the volume has not three axes, an end is not finite, or there are fewer than two samples.
    """
    shape = np.array(volume.shape)
    if len(shape) != 3 or 0 in shape:
        raise InputError(f"a profile needs a volume with three axes (z, y, x), not one of shape {tuple(volume.shape)}")
    first, last = np.asarray(start, np.float64), np.asarray(stop, np.float64)
    if first.shape != (3,) or last.shape != (3,) or not (np.isfinite(first).all() and np.isfinite(last).all()):
        raise InputError("both ends of a profile must be three finite coordinates (z, y, x)")
    length = float(np.linalg.norm(last - first))
    count = ceil(_SAMPLES_PER_VOXEL * length) + 1 if samples is None else samples
    if samples is None:
        count = max(count, 2)
    if count < 2:
        raise InputError(f"a profile needs two samples or more, not {count}")
    points = first + np.linspace(0, 1, count)[:, None] * (last - first)
    values = np.full(count, np.nan, np.float32)
    inside = np.flatnonzero(((points >= -_HALF) & (points <= shape - _HALF)).all(axis=1))
    if inside.size == 0:
        return values
    points = np.clip(points, 0, shape - 1)
    pieces = max(1, ceil(length * inside.size / count / _PIECE_VOXELS))
    for piece in np.array_split(inside, pieces):
        if piece.size:
            values[piece] = _interpolated(volume, points[piece])
    return values


def _interpolated(volume: VolumeLike, points: np.ndarray) -> np.ndarray:
    """Values at points inside the volume, (n, 3) in voxels, from the box round them."""
    low = np.floor(points.min(axis=0)).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, volume.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    box = np.asarray(volume[z, y, x]).astype(np.float32)
    return np.asarray(ndimage.map_coordinates(box, (points - low).T, order=1, mode="nearest"))
