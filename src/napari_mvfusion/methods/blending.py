"""Blending weights: a view counts less near the border of its field, so that borders leave no seams."""

from __future__ import annotations

import numpy as np

from napari_mvfusion.data.fading import fading
from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews


def blending_weights(
    views: RegisteredViews, index: int, box: Box, *, range_voxels: float, border_voxels: float = 0.0
) -> np.ndarray:
    """Weight of one view over a box, falling off along a cosine towards the border of the view's own array; see `fading`.

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
    """
    return fading(views.positions(index, box), views.views[index].shape, (range_voxels,) * 3, border_voxels)
