"""Hot pixels: single voxels far above all that is round them, more than the noise of the view allows.

A spot of the specimen is at least as wide as the PSF, so its neighbours are bright too. A voxel is hot when it lies above
the median of its neighbours (3 x 3 x 3) by more than the noise explains, and by more than six times as much as the
third brightest of them: up to two neighbours may be hot as well, as where a pixel of the camera is hot in every plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import sqrt
from typing import Any

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.fourth_differences import DIFFERENCE_REACH, FOURTH_DIFFERENCE

# A hot voxel is so many standard deviations above the median of its neighbours; of photons it has then about 100.
_DEVIATIONS = 10.0
# By how much it is further above it than the third brightest neighbour. At a width of 1.5 voxels that one has a third.
_ALONE = 6.0
# Of a PSF sharper than that, a hot voxel stands out so much more than its peak does, if not by more than any spot does.
_MARGIN = 1.5
_MOST_ALONE = 1e3
# How many of so many neighbours may be hot: inside the volume, and on a face of it.
_ALSO_HOT = {26: 2, 17: 1}
# Fewer neighbours, as at the end of a line, tell nothing.
_FEWEST_NEIGHBOURS = 7
_OFFSETS = np.array([o for o in product((-1, 0, 1), repeat=3) if any(o)])
_AT_ONCE = 2**17
# The noise is found at so many places along z, on at most so many voxels along a side, at so many levels of brightness.
_PLACES = 4
_SIDE = 1024
_LEVELS = 16
_MEDIAN_TO_SIGMA = 1 / 0.6745
# Hot voxels are a smaller share of all than a fifth of this; each makes five differences along an axis.
_LEFT_BY_NOISE = 0.003
# Least standard deviation of pixels that are whole numbers, and of others as a share of the range of their levels.
_LEAST_COUNT = 1.0
_LEAST_SHARE = 1e-3


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """How much a voxel of a view varies by noise, in units of its pixels.

    Attributes
    ----------
    levels : float64 (n,), brightness, rising
    variances : float64 (n,), at each level, not falling
    gain : how much the variance grows with brightness
    least : standard deviation below which nothing is noise
    """

    levels: np.ndarray
    variances: np.ndarray
    gain: float
    least: float

    def variance(self, brightness: np.ndarray, above: np.ndarray) -> np.ndarray:
        """Variance at a brightness, for voxels that lie above it by so much."""
        known = np.interp(brightness, self.levels, self.variances)
        return np.asarray(np.maximum(known, self.least**2) + self.gain * np.maximum(above, 0))

    def less(self, offset: float) -> NoiseLevel:
        """The same where an offset was subtracted from the pixels."""
        return replace(self, levels=self.levels - offset)

    @property
    def least_above(self) -> float:
        """No voxel is hot that is less than this above its neighbours."""
        lowest, slope = max(float(self.variances[0]), self.least**2), _DEVIATIONS**2 * self.gain
        return (slope + sqrt(slope**2 + 4 * _DEVIATIONS**2 * lowest)) / 2


@dataclass(frozen=True, eq=False)
class HotVoxels:
    """Hot voxels of a block.

    Attributes
    ----------
    places : int (n, 3), (z, y, x) in the block
    instead : float32 (n,), median of the neighbours of each
    """

    places: np.ndarray
    instead: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def inside(self, inner: tuple[slice, slice, slice]) -> HotVoxels:
        """Those in a part of the block, with their places in it."""
        start = np.array([part.start for part in inner])
        stop = np.array([part.stop for part in inner])
        kept = ((self.places >= start) & (self.places < stop)).all(axis=1)
        return HotVoxels(self.places[kept] - start, self.instead[kept])

    def remove(self, block: np.ndarray) -> None:
        """Put the median of its neighbours in the place of each, in the block itself."""
        block[tuple(self.places.T)] = self.instead


def noise_level(data: Any) -> NoiseLevel:
    """Estimate the noise of a view from some of its planes, robustly.

    Fourth differences along an axis take out blurred structure. Their median absolute value is found for voxels of like
    brightness; what structure is left makes it larger, so that fewer voxels count as hot.

    Parameters
    ----------
    data : (z, y, x) of any real dtype; numpy, dask, zarr or a memory map
    """
    mean, differences = (np.concatenate(each) for each in zip(*_roughness(data), strict=True))
    order = np.argsort(mean, kind="stable")
    parts = [part for part in np.array_split(order, _LEVELS) if part.size]
    if not parts:
        return NoiseLevel(np.zeros(1), np.full(1, np.inf), 0.0, np.inf)
    levels = np.array([np.median(mean[part]) for part in parts])
    # Noise that was interpolated along an axis is smooth there, so the roughest axis counts.
    sigmas = np.array([_typical(differences[part]).max() for part in parts]) * _MEDIAN_TO_SIGMA
    variances = np.maximum.accumulate(sigmas**2)
    bright = slice(len(parts) // 2, None)
    rise = np.maximum(levels[bright] - levels[0], np.finfo(float).tiny)
    gain = float(np.median((variances[bright] - variances[0]) / rise)) if levels[-1] > levels[0] else 0.0
    whole = np.dtype(data.dtype).kind in "bui"
    least = _LEAST_COUNT if whole else _LEAST_SHARE * float(levels[-1] - levels[0])
    return NoiseLevel(levels, variances, gain, least)


def _typical(differences: np.ndarray) -> np.ndarray:
    """Median along each axis, (n, axis) to (axis,).

    Where a background was cut off, most differences are 0, and noise is what is left: more than hot voxels would make.
    """
    found = np.median(differences, axis=0)
    for axis in np.flatnonzero(found == 0):
        left = differences[differences[:, axis] > 0, axis]
        if len(left) > _LEFT_BY_NOISE * len(differences):
            found[axis] = np.median(left)
    return np.asarray(found)


def _roughness(data: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and absolute fourth differences along each axis, (n,) and (n, axis), of some planes."""
    depth, height, width = data.shape
    y, x = (slice((n - min(n, _SIDE)) // 2, (n + min(n, _SIDE)) // 2) for n in (height, width))
    found = []
    for z in np.unique(np.linspace(0, depth - 1, min(depth, _PLACES) + 2)[1:-1].astype(int)):
        low = int(max(0, min(z - DIFFERENCE_REACH, depth - 2 * DIFFERENCE_REACH - 1)))
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and does not count
            block = np.asarray(data[low : low + 2 * DIFFERENCE_REACH + 1, y, x]).astype(np.float32).astype(np.float64)
        compared = [n > 2 * DIFFERENCE_REACH for n in block.shape]
        inner = tuple(slice(DIFFERENCE_REACH, -DIFFERENCE_REACH) if long else slice(None) for long in compared)
        rough = [
            np.abs(ndimage.correlate1d(block, FOURTH_DIFFERENCE, axis)[inner]).ravel()
            for axis, long in enumerate(compared)
            if long
        ]
        # Sides too short to compare anything: all that differs is noise.
        rough = rough or [np.abs(block - np.median(block))[inner].ravel()]
        rough += [np.zeros_like(rough[0])] * (block.ndim - len(rough))
        mean, differences = ndimage.uniform_filter(block, 5)[inner].ravel(), np.stack(rough, axis=1)
        known = np.isfinite(mean) & np.isfinite(differences).all(axis=1)
        found.append((mean[known], differences[known]))
    return found


def sharpest_spot(psf: np.ndarray | None) -> float:
    """How far a point of the specimen can stand out of its neighbours, as `find_hot` measures it, with a margin.

    Parameters
    ----------
    psf : (z, y, x) on the voxels of the view, or None where that is not known; one without light says nothing
    """
    if psf is None or psf.ndim != 3 or not np.isfinite(psf).all() or not (psf > 0).any():
        return _ALONE
    wide = np.pad(np.asarray(psf, np.float64), 1)
    z, y, x = np.unravel_index(int(wide.argmax()), wide.shape)
    near = np.delete(wide[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].ravel(), 13)
    near.sort()
    middle, bright = np.median(near), near[-1 - _ALSO_HOT[26]]
    above = wide[z, y, x] - middle
    return max(_ALONE, _MARGIN * float(above / max(bright - middle, above / _MOST_ALONE)))


def find_hot(block: np.ndarray, noise: NoiseLevel, alone: float = _ALONE) -> HotVoxels:
    """Find the hot voxels of a block.

    Parameters
    ----------
    block : float32 (z, y, x). Voxels at its border lack neighbours: read one more on each side, but at the border of
        the view.
    noise : of the view
    alone : by how much a hot voxel stands out more than the third brightest of its neighbours, see `sharpest_spot`
    """
    places = np.argwhere(_peaks(block, noise.least_above))
    found = [_hot_among(block, places[a : a + _AT_ONCE], noise, alone) for a in range(0, len(places), _AT_ONCE)]
    if not found:
        return HotVoxels(np.zeros((0, 3), np.intp), np.zeros(0, np.float32))
    return HotVoxels(np.concatenate([f.places for f in found]), np.concatenate([f.instead for f in found]))


def _peaks(block: np.ndarray, least: float) -> np.ndarray:
    """Voxels above both neighbours on some axis by what a hot one must be, at least: all hot ones and few others.

    Of the three pairs of neighbours, one a hot voxel has none that is hot.
    """
    lowest: np.ndarray | None = None
    for axis, n in enumerate(block.shape):
        if n < 2:
            continue
        moved = np.moveaxis(block, axis, 0)
        pair = np.empty_like(block)
        into = np.moveaxis(pair, axis, 0)
        np.maximum(moved[:-2], moved[2:], out=into[1:-1])
        into[0], into[-1] = moved[1], moved[-2]
        lowest = pair if lowest is None else np.minimum(lowest, pair, out=lowest)
    if lowest is None:
        return np.zeros(block.shape, bool)
    return np.asarray(block > lowest + np.float32((1 - 1 / _ALONE) * least))


def _hot_among(block: np.ndarray, places: np.ndarray, noise: NoiseLevel, alone: float) -> HotVoxels:
    """Those of some voxels that are hot."""
    around = places[:, None] + _OFFSETS
    there = ((around >= 0) & (around < block.shape)).all(axis=2)
    around = np.minimum(np.maximum(around, 0), np.array(block.shape) - 1)
    values = np.where(there, block[tuple(np.moveaxis(around, 2, 0))].astype(np.float64), np.inf)
    values.sort(axis=1)
    count = there.sum(axis=1)
    rows = np.arange(len(places))
    median = (values[rows, (count - 1) // 2] + values[rows, count // 2 - (count == 0)]) / 2
    also_hot = np.select([count >= n for n in _ALSO_HOT], list(_ALSO_HOT.values()), 0)
    next_bright = values[rows, np.maximum(count - 1 - also_hot, 0)]
    above = block[tuple(places.T)].astype(np.float64) - median
    hot = (count >= _FEWEST_NEIGHBOURS) & (above > alone * (next_bright - median))
    hot &= (above > 0) & (above > _DEVIATIONS * np.sqrt(noise.variance(median, above)))
    return HotVoxels(places[hot], median[hot].astype(np.float32))
