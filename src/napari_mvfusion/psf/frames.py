"""What can be done to a PSF: turn it between views, bring it from its view's frame to the fused one, make it fit."""

from __future__ import annotations

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, Grid, Triple, without_rounding
from napari_mvfusion.psf import make_odd, resample_psf

_SAME = 1e-6


def turn_psf(psf: np.ndarray, angle_deg: float, voxel_size_um: FloatTriple) -> np.ndarray:
    """Turn a PSF about x in space, which is not the same as in voxels where these are no cubes.

    Parameters
    ----------
    psf : (z, y, x), odd sides
    angle_deg : 90 brings what lies along z to y, as `rotate_psf`
    voxel_size_um : (z, y, x)

    Returns
    -------
    float32 (z, y, x), odd sides, sum 1.
    """
    angle = np.deg2rad(angle_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    size = np.asarray(voxel_size_um, float)
    return resample_psf(psf, turn * size / size[:, None])


def own_to_fused(to_world_um: np.ndarray, grid: Grid) -> np.ndarray:
    """3 x 3 matrix from an offset in a view's own pixels to one in voxels of the fused volume.

    Parameters
    ----------
    to_world_um : 4 x 4, from the view's pixels to micrometres
    grid : of the fused volume
    """
    return without_rounding(to_world_um[:3, :3] / np.asarray(grid.voxel_size_um)[:, None])


def is_same_frame(matrix: np.ndarray) -> bool:
    """Whether a view's own pixels lie as those of the fused volume."""
    return bool(np.allclose(matrix, np.eye(3), atol=_SAME))


def fit_into(psf: np.ndarray, shape: Triple) -> np.ndarray:
    """The middle of a PSF, with odd sides that are not larger than a volume, sum 1."""
    odd = make_odd(psf)
    sides = [min(k, n if n % 2 else n - 1) for k, n in zip(odd.shape, shape, strict=True)]
    inner = odd[tuple(slice((k - n) // 2, (k + n) // 2) for k, n in zip(odd.shape, sides, strict=True))]
    return np.asarray(inner / inner.sum(dtype=np.float64), np.float32)
