"""The part of a volume with most structure, which stands for all of it where something is tried or measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics


def structured_box(views: RegisteredViews, longest: int, known: Sequence[ViewStatistics] | None = None) -> Box:
    """The part of a volume with most structure that all views saw, of at most so many voxels a side.

    Parameters
    ----------
    views : the views
    longest : voxels
    known : of the views over all of this volume; when None, of a large one some planes are read. Where they have no
        overviews it is the middle.
    """
    shape = views.grid.shape
    side = triple(min(n, longest) for n in shape)
    if side == shape:
        return views.grid.box
    overviews = [one.overview for one in (views.sample() if known is None else known) if one.overview is not None]
    if not overviews:
        start = triple((n - s) // 2 for n, s in zip(shape, side, strict=True))
        return Box(start, triple(a + s for a, s in zip(start, side, strict=True)))
    cell = overviews[0].cell
    light = np.stack([one.values for one in overviews]).mean(axis=0, dtype=np.float64)
    seen = np.stack([one.covered for one in overviews]).min(axis=0)
    window = triple(max(1, round(n / cell)) for n in side)
    # Steps between cells that are neighbours: brightness alone, or one border of the specimen, is little of them.
    steps = [np.diff(light, axis=axis, append=light.take([-1], axis)) for axis in range(3)]
    structure = _mean(np.square(np.stack(steps)).sum(axis=0), window)
    # A border of a field is a structure too, and none of the specimen.
    return _placed(structure * _mean(seen, window) ** 2, window, cell, side, shape)


def _mean(values: np.ndarray, window: Triple) -> np.ndarray:
    return np.asarray(ndimage.uniform_filter(np.asarray(values, np.float64), window, mode="nearest"))


def _placed(worth: np.ndarray, window: Triple, cell: int, side: Triple, shape: Triple) -> Box:
    """The box round the best cell, of those round which there is room for it."""
    room = [slice(w // 2, max(n - (w - w // 2), w // 2) + 1) for n, w in zip(worth.shape, window, strict=True)]
    best = np.unravel_index(int(worth[tuple(room)].argmax()), worth[tuple(room)].shape)
    start = triple(min(int(b) * cell, n - s) for b, n, s in zip(best, shape, side, strict=True))
    return Box(start, triple(a + s for a, s in zip(start, side, strict=True)))
