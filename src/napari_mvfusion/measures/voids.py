"""Blocks of a view that are 0 although other views show light there: a field of a shape that is not recognised by itself.

The field of a view that is cut out of a mosaic, or has a hole, is not convex. On overviews of the volume its empty part is
one of many empty cells side by side, while elsewhere, where the others are as bright, hardly any cell is empty. Where
photons are sparse, empty cells are everywhere, and tell nothing.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.views import RegisteredViews

# Cells along a side of the smallest void; others show light where they have this share of their mean.
_SIDE = 4
_LIGHT = 0.5
# A void is at least this share of the volume, and of other bright cells at most this share is empty.
_LEAST = 0.005
_ELSEWHERE = 0.02
_COVERED = 0.99


def find_voids(views: RegisteredViews) -> tuple[float, ...]:
    """Share of the volume in which each view is 0 in one piece although other views show light there.

    Parameters
    ----------
    views : their statistics are computed where `RegisteredViews.scan` has not run yet

    Returns
    -------
    One a view; 0 where there is no such place, or dark pixels are common.
    """
    statistics = views.statistics()
    overviews = [numbers.overview for numbers in statistics]
    known = [overview for overview in overviews if overview is not None]
    if len(views) < 2 or len(known) < len(views):
        return (0.0,) * len(views)
    found = []
    for v, overview in enumerate(known):
        light, expected = np.zeros(overview.values.shape), np.zeros(overview.values.shape)
        for u, other in enumerate(known):
            if u != v:
                light += other.values * other.covered
                expected += statistics[u].mean * other.covered
        bright = (light > _LIGHT * expected) & (expected > 0) & (overview.covered >= _COVERED)
        empty = (overview.values == 0) & (overview.covered >= _COVERED)
        # Padded, so that a void at the border is as good as one inside.
        wide = np.pad(empty & bright, _SIDE, mode="edge")
        void = ndimage.binary_opening(wide, np.ones((_SIDE,) * 3, bool))[(slice(_SIDE, -_SIDE),) * 3]
        others = bright & ~ndimage.binary_dilation(void, np.ones((3, 3, 3), bool))
        rare = (empty & others).sum() <= _ELSEWHERE * others.sum()
        share = float(void.mean())
        found.append(share if share >= _LEAST and others.any() and rare else 0.0)
    return tuple(found)
