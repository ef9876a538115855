"""Hot voxels: single ones far above all their neighbours, which light that went through a lens never gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Of a Gaussian sampled on its peak, neighbours have more than a third as soon as it is 1.6 voxels wide.
_TIMES = 3.0
_NOISE = 8.0
# Less than this share of the peak of a PSF moves neither its centre nor its light.
_SHARE_OF_PEAK = 0.05
_FACES = 6
_NEIGHBOURS = np.ones((3, 3, 3), bool)
_NEIGHBOURS[1, 1, 1] = False


@dataclass(frozen=True, eq=False)
class HotVoxelsRemoved:
    """Values (z, y, x) without hot voxels, and where these were: int (voxel, 3)."""

    values: np.ndarray
    hot: np.ndarray


def remove_hot(volume: np.ndarray) -> HotVoxelsRemoved:
    """Give hot voxels of a recorded volume what their neighbours make likely.

    A voxel is hot when it is more than three times as far above the background as the brightest of its 26 neighbours,
    beyond noise. Beads are not touched as soon as they are 1.6 voxels wide along any axis.

    Parameters
    ----------
    volume : (z, y, x)
    """
    values = np.asarray(volume)
    background = float(np.median(values))
    return _without(values, _stand_alone(values, background, _spread_below(values, background)))


def remove_hot_of_psf(psf: np.ndarray) -> HotVoxelsRemoved:
    """Give hot voxels of a PSF what their neighbours make likely; the tip of a very sharp PSF is none.

    Parameters
    ----------
    psf : (z, y, x)
    """
    values = np.asarray(psf)
    background = float(np.median(values))
    hot = _stand_alone(values, background, _spread_below(values, background))
    calm = np.minimum(values, _brightest_neighbour(values))
    hot &= values - background > _SHARE_OF_PEAK * (float(calm.max()) - background)
    if not hot.any():
        return HotVoxelsRemoved(values, np.zeros((0, 3), int))
    cleaned = _without(values, hot)
    tips = [tuple(point) for point in cleaned.hot if _is_tip(values, cleaned.values, point, background)]
    for tip in tips:
        hot[tip] = False
    return _without(values, hot)


def _stand_alone(values: np.ndarray, background: float, noise: float) -> np.ndarray:
    above = np.asarray(values, np.float32) - np.float32(background)
    alone: np.ndarray = above > _TIMES * np.maximum(_brightest_neighbour(above), 0) + _NOISE * noise
    return alone


def _brightest_neighbour(values: np.ndarray) -> np.ndarray:
    brightest: np.ndarray = ndimage.maximum_filter(
        values, footprint=_NEIGHBOURS, mode="constant", cval=values.min(initial=0)
    )
    return brightest


def _spread_below(values: np.ndarray, background: float) -> float:
    """Spread of the noise, from the lower half of the values, in which there is little light."""
    return 1.4826 * float(np.median(background - values[values <= background]))


def _without(values: np.ndarray, hot: np.ndarray) -> HotVoxelsRemoved:
    points = np.argwhere(hot)
    if not len(points):
        return HotVoxelsRemoved(values, points)
    cleaned = values.copy()
    for point in points:
        cleaned[tuple(point)] = _expected(values, hot, point)
    return HotVoxelsRemoved(cleaned, points)


def _expected(values: np.ndarray, hot: np.ndarray, point: np.ndarray) -> float:
    """What a voxel should have: a cubic through two neighbours on each side, the median of the axes where they are there.

    Where the volume ends, or other hot voxels are near, the median of the neighbours.
    """
    found = []
    for axis, (p, n) in enumerate(zip(point, values.shape, strict=True)):
        if 2 <= p < n - 2:
            line = tuple(slice(p - 2, p + 3) if a == axis else int(q) for a, q in enumerate(point))
            if hot[line].sum() == 1:
                far, near, _, next_one, further = values[line].astype(np.float64)
                found.append((4 * (near + next_one) - far - further) / 6)
    if found:
        return float(np.median(found))
    around = tuple(slice(max(p - 1, 0), p + 2) for p in point)
    neighbours = values[around][~hot[around]]
    return float(np.median(neighbours if neighbours.size else values))


def _is_tip(values: np.ndarray, rest: np.ndarray, point: np.ndarray, background: float) -> bool:
    """Whether a voxel that stands alone is the tip of the PSF: it holds most of the light, or the light gathers round it.

    Round a hot voxel on a wide PSF many neighbours are alike; round a sharp tip only those that share a face with it.
    """
    light = np.maximum(np.asarray(rest, np.float64) - background, 0)
    light[tuple(point)] = 0
    if float(values[tuple(point)]) - background > light.sum():
        return True
    around = light[tuple(slice(max(p - 1, 0), p + 2) for p in point)]
    if around.max() < light.max():
        return False
    return bool((around > 0.5 * light.max()).sum() <= _FACES)
