"""Weights that fall off along a cosine towards the border of a view's own array, so that borders leave no seams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, Triple


def fading(
    positions: Sequence[np.ndarray], shape: Triple, range_voxels: FloatTriple, border_voxels: float = 0.0
) -> np.ndarray:
    """Product over the axes of how far a place is from the border of an array, 1 within and 0 beyond it.

    On each axis, with l the position along it and `dim` its length, `t = min(l - border, dim - 1 - l - border) / range`,
    and the factor is 0 for t <= 0, 1 for t >= 1, else `(cos((1 - t) pi) + 1) / 2`.

    Parameters
    ----------
    positions : along the array's z, y and x, arrays that broadcast to each other
    shape : of the array
    range_voxels : width of the fall-off along (z, y, x), in its voxels
    border_voxels : voxels at the border that count nothing; negative ones start the fall-off outside

    Returns
    -------
    float32 that broadcasts with the positions.

    References
    ----------
    Preibisch et al., Mosaicing of single plane illumination microscopy images using groupwise registration and fast
    content-based image fusion, SPIE 6914 (2008), in the form of BigStitcher.
    """
    weight = np.ones((1, 1, 1), np.float32)
    for position, length, width in zip(positions, shape, range_voxels, strict=True):
        nearest = np.minimum(position, length - 1 - position) - border_voxels
        t = np.clip(nearest / width, 0.0, 1.0)
        weight = weight * ((np.cos((1.0 - t) * np.pi) + 1.0) / 2.0).astype(np.float32)
    return weight
