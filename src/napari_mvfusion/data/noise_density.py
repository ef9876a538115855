"""How much of the noise of a view is coarse: noise that was interpolated looks weaker than it is for a deconvolution.

Planes that are farther apart than voxels, and views that were turned, are interpolated. Their noise then differs little
from voxel to voxel, as little as blurred structure, and what is measured between neighbours is only a part of it.
"""

from __future__ import annotations

from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.fourth_differences import FOURTH_DIFFERENCE
from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.data.views import RegisteredViews

_SIDE = 96
_LAGS = (1, 2, 3, 4, 5, 6)
# Noise counts as interpolated where it is this much stronger between voxels farther apart. Samples lie as far apart as the
# distance from which on it has this share of its largest strength: of white noise that was interpolated between samples 2
# to 5 voxels apart it has 0.66 to 0.73 at the distance of the samples, and 0.2 to 0.35 one voxel before.
_STRONGER = 1.5
_ALL = 0.6
# Looked at apart: quarters of the voxels, by the light round them, where there is any noise.
_PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SURROUNDINGS = 5
_LEAST_ROUGH = 0.01

_FOUND: WeakKeyDictionary[RegisteredViews, list[float]] = WeakKeyDictionary()


def coarse_noise(views: RegisteredViews) -> list[float]:
    """Spectral density of the noise of each view at coarse patterns, over the variance that `scan` finds.

    Looked for in the middle of the volume: fourth differences along x, in which blurred structure nearly vanishes, and
    along z or y between voxels that are 1 to 6 apart. White noise has the same variance at all distances. Where samples
    lie s voxels apart, with linear interpolation in between, it is far weaker between neighbours. From the distance s on
    it is that of a sample, but for what interpolation takes away, and its density at coarse patterns s times that. Fine
    structure may look alike where there is much light: what counts is the part of the light where it is least.

    Returns
    -------
    One number a view, 1 for noise that is white or cannot be looked at.
    """
    middle = Box(
        triple(max(0, (n - _SIDE) // 2) for n in views.grid.shape),
        triple(min(n, (n + _SIDE) // 2) for n in views.grid.shape),
    )
    if views not in _FOUND:
        # A preview asks again whenever a parameter changes.
        _FOUND[views] = [_of_view(views, index, middle) for index in range(len(views))]
    return _FOUND[views]


def _of_view(views: RegisteredViews, index: int, box: Box) -> float:
    values = views.read(box, [index])[0]
    coverage = views.coverage(box, [index])
    covered = None if coverage is None else coverage[0] > 1 - 1e-3
    if values.shape[2] < len(FOURTH_DIFFERENCE):
        return 1.0
    rough = ndimage.correlate1d(values, FOURTH_DIFFERENCE, 2)[:, :, 2:-2]
    kept = None if covered is None else ndimage.minimum_filter1d(covered, 5, 2)[:, :, 2:-2]
    light = ndimage.uniform_filter(values, _SURROUNDINGS)[:, :, 2:-2]
    counted = light if kept is None else light[kept]
    if not counted.size:
        return 1.0
    steps = np.quantile(counted, _PARTS)
    parts = [(light > low) & (light <= high) for low, high in pairwise(steps)]
    roughness = [_variance(rough, kept, 1, 1, part) for part in parts]
    # Noise is as coarse in the dark as in the light. What is coarse only in the light is structure.
    shares = [
        _share(rough, kept, part, one)
        for part, one in zip(parts, roughness, strict=True)
        if one > _LEAST_ROUGH * max(roughness)
    ]
    return min(shares, default=1.0)


def _share(rough: np.ndarray, kept: np.ndarray | None, part: np.ndarray, measured: float) -> float:
    """The density of noise at coarse patterns over its variance, of some voxels."""
    found = [1.0]
    for axis in (0, 1):
        by_lag = [_variance(rough, kept, axis, lag, part) for lag in _LAGS]
        largest = max(by_lag)
        if largest > _STRONGER * by_lag[0]:
            lag = next(n for n, variance in zip(_LAGS, by_lag, strict=True) if variance >= _ALL * largest)
            # Mean variance of what is interpolated between samples of variance 1.
            kept_share = (2 * lag**2 + 1) / (3 * lag**2)
            found.append(lag * largest / kept_share / measured)
    return max(found)


def _variance(rough: np.ndarray, kept: np.ndarray | None, axis: int, lag: int, part: np.ndarray) -> float:
    """Mean square, over a part, of fourth differences between planes that are `lag` apart; 0 where there are too few."""
    reach = 2 * lag
    if rough.shape[axis] <= 2 * reach:
        return 0.0
    profile = np.zeros(2 * reach + 1)
    profile[::lag] = FOURTH_DIFFERENCE
    inner = tuple(slice(reach, -reach) if a == axis else slice(None) for a in range(3))
    counted = part if kept is None else part & ndimage.minimum_filter1d(kept, 2 * reach + 1, axis)
    differences = ndimage.correlate1d(rough, profile, axis)[inner][counted[inner]]
    return float(np.square(differences, dtype=np.float64).mean()) if differences.size else 0.0
