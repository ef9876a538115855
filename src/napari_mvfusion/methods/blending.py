"""Blending weights: a view counts less near the border of its field, so that borders leave no seams."""

from __future__ import annotations

import numpy as np

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews


def blending_weights(
    views: RegisteredViews, index: int, box: Box, *, range_voxels: float, border_voxels: float = 0.0
) -> np.ndarray:
    """Weight of one view over a box, falling off along a cosine towards the border of the view's own array.

    On each axis of the view, with l the position along it and `dim` its length,
    `t = min(l - border, dim - 1 - l - border) / range`, and the weight is 0 for t <= 0, 1 for t >= 1, else
    `(cos((1 - t) pi) + 1) / 2`; the weights of the three axes are multiplied.

    Parameters
    ----------
    views : the views
    index : which view
    box : voxels of the fused grid
    range_voxels : width of the fall-off, in pixels of the view
    border_voxels : pixels at the border that count nothing; negative ones start the fall-off outside of the view

    Returns
    -------
    float32 that broadcasts to the shape of the box.

    References
    ----------
    Preibisch et al., Mosaicing of single plane illumination microscopy images using groupwise registration and fast
    content-based image fusion, SPIE 6914 (2008), in the form of BigStitcher.
    """
    weight = np.ones((1, 1, 1), np.float32)
    for position, length in zip(views.positions(index, box), views.views[index].shape, strict=True):
        nearest = np.minimum(position, length - 1 - position) - border_voxels
        t = np.clip(nearest / range_voxels, 0.0, 1.0)
        weight = weight * ((np.cos((1.0 - t) * np.pi) + 1.0) / 2.0).astype(np.float32)
    return weight
