"""Turn volumes about the x axis between the frame of the fused volume and the own frame of a view.

A view at angle a looks along the direction (z, y) = (cos a, sin a) of the fused frame. In its own frame the
specimen is turned so that this direction is z: with positions counted from the centres of the volumes,

    z_own =  cos(a) z + sin(a) y
    y_own = -sin(a) z + cos(a) y
"""

from __future__ import annotations

import math

import numpy as np

from napari_mvfusion.data.geometry import Triple, triple


def cos_sin(angle: float) -> tuple[float, float]:
    """Cosine and sine of an angle in degrees, exactly 0 and 1 at quarter turns."""
    turned = angle % 360
    if turned % 90 == 0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(turned // 90) % 4]
    return math.cos(math.radians(turned)), math.sin(math.radians(turned))


def turned_shape(shape: Triple, angle: float) -> Triple:
    """Shape of the own frame of a view: z and y trade places at 90 and 270 degrees.

    Oblique views get a square of the longer of the two sides, so the corners of the fused volume can lie outside.
    """
    z, y, x = shape
    if angle % 90:
        return max(z, y), max(z, y), x
    return (y, z, x) if angle % 180 else shape


def turn(volume: np.ndarray, angle: float, shape: Triple | None = None) -> np.ndarray:
    """Turn a volume about x by an angle, about its centre.

    Parameters
    ----------
    volume : (z, y, x), any real dtype
    angle : degrees; positive angles bring the direction (z, y) = (cos, sin) onto z
    shape : shape of the result, as of `turned_shape` when None

    Returns
    -------
    float32 (z, y, x). Quarter turns to `turned_shape` only reorder voxels; other angles are interpolated
    linearly, and are zero where the volume does not reach.
    """
    target = turned_shape(triple(volume.shape), angle) if shape is None else shape
    if angle % 90 == 0 and target == turned_shape(triple(volume.shape), angle):
        return np.ascontiguousarray(np.rot90(volume, -int(angle % 360 // 90), axes=(0, 1)), np.float32)
    return _interpolate(np.asarray(volume, np.float32), angle, target)


def reach(shape: Triple, target: Triple, angle: float) -> np.ndarray:
    """Where `turn` from `shape` to `target` finds data: bool (z, y, 1) of the target, the same for every x."""
    z, y = _positions(shape, target, angle)
    slack = 1e-9 * max(shape)
    inside = (z >= -slack) & (z <= shape[0] - 1 + slack) & (y >= -slack) & (y <= shape[1] - 1 + slack)
    return np.asarray(inside[..., None])


def _positions(shape: Triple, target: Triple, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the source of the voxels (z, y) of the target."""
    cos, sin = cos_sin(angle)
    z, y = np.ogrid[: target[0], : target[1]]
    z, y = z - (target[0] - 1) / 2, y - (target[1] - 1) / 2
    return cos * z - sin * y + (shape[0] - 1) / 2, sin * z + cos * y + (shape[1] - 1) / 2


def _interpolate(volume: np.ndarray, angle: float, target: Triple) -> np.ndarray:
    z, y = _positions(triple(volume.shape), target, angle)
    out = np.zeros(target, np.float32)
    z_first, y_first = np.floor(z).astype(np.intp), np.floor(y).astype(np.intp)
    for z_tap, y_tap in ((0, 0), (0, 1), (1, 0), (1, 1)):
        z_at, y_at = z_first + z_tap, y_first + y_tap
        weight = (1 - np.abs(z - z_at)) * (1 - np.abs(y - y_at))
        weight[(z_at < 0) | (z_at >= volume.shape[0]) | (y_at < 0) | (y_at >= volume.shape[1])] = 0
        weight = weight.astype(np.float32)[..., None]
        z_at, y_at = np.clip(z_at, 0, volume.shape[0] - 1), np.clip(y_at, 0, volume.shape[1] - 1)
        for plane in range(target[0]):
            out[plane] += volume[z_at[plane], y_at[plane]] * weight[plane]
    return out
