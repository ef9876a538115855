"""Bring a PSF from its view's own pixels into the frame of the fused volume."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import is_flat
from napari_mvfusion.errors import InputError

_EXACT = 1e-9


def resample_psf(
    psf: np.ndarray, matrix: np.ndarray, *, centre: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """Resample and rotate a PSF; its centre becomes the middle voxel.

    Turns by right angles and mirrorings are exact. Everything else is interpolated with cubic splines, and averaged over
    the output voxel where that is larger than a pixel.

    Parameters
    ----------
    psf : (z, y, x), in the pixels of its view; odd sides where no centre is given
    matrix : 3 x 3, from an offset in pixels of the view to an offset in voxels of the fused volume, both (z, y, x): the
        linear part of `inverse(grid affine) @ view affine`
    centre : (z, y, x), voxels from the corner, also between voxels; the middle voxel when None

    Returns
    -------
    float32 (z, y, x), odd sides large enough for all of it, sum 1.

    Raises
    ------
    InputError
        If the matrix cannot be inverted, or the PSF has even sides and no centre is given.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or is_flat(matrix):
        raise InputError("a PSF is resampled with an invertible 3 x 3 matrix of finite numbers")
    values = np.asarray(psf, np.float64)
    middle = np.array(values.shape) // 2 if centre is None else np.asarray(centre, np.float64)
    if centre is None and any(n % 2 == 0 for n in psf.shape):
        raise InputError(f"a PSF of shape {psf.shape} has no middle voxel: make its sides odd first")
    in_the_middle = all(n % 2 and m == n // 2 for n, m in zip(values.shape, middle, strict=True))
    exact = _permuted(values, matrix) if in_the_middle else None
    if exact is None:
        half = np.abs(matrix) @ np.maximum(middle, np.array(values.shape) - 1 - middle)
        size = 2 * np.ceil(half - _EXACT).astype(int) + 1
        diagonal = np.diag(np.diag(matrix))
        if np.array_equal(matrix, diagonal):
            # Axis by axis: as many samples are added along each, not their product.
            exact = values
            for axis in range(3):
                alone, aim = np.eye(3), list(exact.shape)
                alone[axis, axis], aim[axis] = matrix[axis, axis], int(size[axis])
                about = [float(n // 2) for n in exact.shape]
                about[axis] = float(middle[axis])
                exact = _interpolated(exact, alone, np.array(about), np.array(aim))
        else:
            exact = _interpolated(values, matrix, middle, size)
        exact = np.maximum(exact, 0)
    total = exact.sum()
    if total <= 0:
        raise InputError("nothing of the PSF is left after it was resampled: check its values and the view's affine")
    return np.ascontiguousarray(exact / total, np.float32)


def rotate_psf(psf: np.ndarray, angle_deg: float, axis: Literal["z", "y", "x"] = "x") -> np.ndarray:
    """Turn a PSF about an axis through its middle; about x, 90 degrees bring what lies along z to y.

    Returns
    -------
    float32 (z, y, x), odd sides, sum 1.
    """
    first, second = {"x": (0, 1), "y": (2, 0), "z": (1, 2)}[axis]
    angle = np.deg2rad(angle_deg)
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second] = -np.sin(angle)
    matrix[second, first] = np.sin(angle)
    return resample_psf(psf, matrix)


def _interpolated(values: np.ndarray, matrix: np.ndarray, middle: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The values on another grid, whose middle voxel is what `middle` was, averaged over its voxels; a multiple of it."""
    to_pixels = np.linalg.inv(matrix)
    moved = np.zeros(size)
    steps = [_samples(float(np.linalg.norm(to_pixels[:, axis]))) for axis in range(3)]
    spline = ndimage.spline_filter(values, order=3, mode="constant")
    for shift in product(*steps):
        origin = np.array(shift) - size // 2
        offset = to_pixels @ origin + middle
        moved += ndimage.affine_transform(
            spline, to_pixels, offset, tuple(size), order=3, mode="constant", prefilter=False
        )
    return moved


def _permuted(values: np.ndarray, matrix: np.ndarray) -> np.ndarray | None:
    """The values with axes swapped and flipped where the matrix does no more than that."""
    rounded = np.rint(matrix)
    if np.abs(matrix - rounded).max() > _EXACT or not (np.abs(rounded).sum(axis=0) == 1).all():
        return None
    # Row i of the matrix tells from which axis of the view the output's axis i comes, and in which direction.
    sources = [int(np.flatnonzero(row)[0]) for row in rounded]
    turned = np.transpose(values, sources)
    flips = [i for i, row in enumerate(rounded) if row.sum() < 0]
    flipped: np.ndarray = np.flip(turned, tuple(flips))
    return flipped


def _samples(pixels_per_voxel: float) -> np.ndarray:
    """Where inside an output voxel to sample: once, or evenly where it spans several pixels."""
    count = 2 * int(np.ceil(pixels_per_voxel - 1 - _EXACT)) + 1 if pixels_per_voxel > 1 + _EXACT else 1
    return np.asarray((np.arange(count) + 0.5) / count - 0.5)
