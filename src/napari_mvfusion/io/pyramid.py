"""Coarser levels of a volume: each the mean of blocks of the next finer one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_mvfusion.data.geometry import Triple, triple


def halved(shape: Sequence[int], chunks: Triple) -> Triple:
    """By what the sides (z, y, x) of a level are divided in the next: 2 for those longer than a chunk, else 1."""
    return triple(2 if n > c else 1 for n, c in zip(shape[-3:], chunks, strict=True))


def mean_of_blocks(fine: np.ndarray, step: Triple) -> np.ndarray:
    """Means of blocks of a volume; where its far border cuts a block, of what there is of it.

    Parameters
    ----------
    fine : (z, y, x)
    step : voxels of a block along each axis, 1 or 2

    Returns
    -------
    Means of the type of `fine`, rounded where that is an integer.
    """
    sums: np.ndarray = fine.astype(np.float64)
    counts: np.ndarray = np.ones((1, 1, 1))
    for axis, s in enumerate(step):
        if s == 2:
            places = np.arange(0, fine.shape[axis], 2)
            sums = np.add.reduceat(sums, places, axis=axis)
            sizes = np.diff(np.append(places, fine.shape[axis]))
            counts = counts * np.expand_dims(sizes, tuple(a for a in range(3) if a != axis))
    mean = np.divide(sums, counts)
    rounded: np.ndarray = np.rint(mean) if fine.dtype.kind in "iu" else mean
    return rounded.astype(fine.dtype)
