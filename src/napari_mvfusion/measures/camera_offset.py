"""A camera offset that was not subtracted, or more subtracted than there is, found where all views are dark.

A camera adds the same number to every pixel, so where no view shows light all of them lie at one low level, with the noise
of the camera round it, and as flat as that. Light that fades, as the haze round a specimen, is not flat; and dark pixels
of views whose offset was subtracted lie at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.reading_ahead import read_ahead
from napari_mvfusion.data.views import RegisteredViews

# Planes that are looked at, and about how many voxels along a side of them.
_PLANES = 12
_SIDE = 256
# Of the planes that are read together, of each view.
_AHEAD_BYTES = 2**26
# A level is where this share of the voxels lies closest together, among the darker half of them.
_SHARE = 0.1
_ROUNDS = 3
# Share of the voxels that may lie below a level by more than so many times its noise.
_BELOW = 2e-3, 4.0
# All views are dark together in this share of the volume, and in this share of what any of them has.
_COMMON = 0.05
_TOGETHER = 0.5
# Voxels count as dark up to so many times the noise from the level.
_REACH = 3.0
# Means over blocks of so many voxels vary by less than this share of the noise or of the level where views are flat.
_BLOCK = 4
_FLAT = 0.6, 0.03
_FEWEST_BLOCKS = 20
# Light is what lies so many times the noise above the level, if this share of the voxels does.
_BRIGHT = 6.0
_FEWEST_BRIGHT = 1e-3
# A level is an offset where it is so many times its noise in a view, and in others at least so many, and this share of the
# light; views have nearly the same.
_ABOVE = 10.0
_ALSO_ABOVE = 4.0
_MATTERS = 0.02
_ALIKE = 0.25
# An offset cuts off light where it lies above the level by so many times the noise.
_CUTS = 2.0
_MOST_CUT = 0.6


@dataclass(frozen=True)
class DarkLevel:
    """What a view has where all views are dark.

    Attributes
    ----------
    level : in the units of its pixels, before any camera offset is subtracted
    spread : standard deviation of the noise round it
    share : share of the volume in which all views are dark
    missing : whether a camera offset of this much is still to be subtracted
    cut : share of the voxels that the offset of the view cuts off at 0, where it lies above the level; else 0
    """

    level: float
    spread: float
    share: float
    missing: bool
    cut: float


def find_dark_levels(views: RegisteredViews) -> tuple[DarkLevel | None, ...]:
    """What each view has where all are dark, from some planes.

    Parameters
    ----------
    views : with the camera offsets that are subtracted already

    Returns
    -------
    One a view; None for all where there is no such place, or it is not flat.
    """
    unknown = (None,) * len(views)
    values, covered = _sample(views)
    if covered.sum() < _FEWEST_BLOCKS * _BLOCK**2:
        return unknown
    levels = [_level(one[covered]) for one in values]
    known = [each for each in levels if each is not None]
    if len(known) < len(views):
        return unknown
    middles, spreads = np.array(known).T
    dark = covered & (np.abs(values - middles[:, None, None, None]) < _REACH * spreads[:, None, None, None])
    common = dark.all(axis=0)
    share = float(common.sum() / covered.sum())
    if share < _COMMON or share < _TOGETHER * min(one.sum() for one in dark) / covered.sum():
        return unknown
    flat = all(_is_flat(one, common, *each) for one, each in zip(values, known, strict=True))
    alike = np.ptp(middles) <= max(_ALIKE * float(np.median(middles)), _REACH * float(spreads.max()))
    if not flat or not alike:
        return unknown
    above = [(level - view.offset) / spread for view, (level, spread) in zip(views.views, known, strict=True)]
    least = _ALSO_ABOVE if max(above) > _ABOVE else _ABOVE
    found = []
    for view, one, (level, spread) in zip(views.views, values, known, strict=True):
        bright = one[covered & (one > level + _BRIGHT * spread)]
        light = float(bright.mean()) - level if bright.size > _FEWEST_BRIGHT * covered.sum() else 0.0
        left = level - view.offset
        missing = bool(light > 0 and left > least * spread and left > _MATTERS * light)
        cuts = view.offset != 0 and -left > _CUTS * spread
        cut = float((one[covered] < view.offset).mean()) if cuts else 0.0
        found.append(DarkLevel(level, spread, share, missing, cut))
    return tuple(found)


def light_of_nothing(views: RegisteredViews, dark: Sequence[DarkLevel | None]) -> tuple[float, ...]:
    """How bright each view is, as it is read, where none shows light: 0 where no camera offset is missing."""
    return tuple(
        (each.level - view.offset) / view.gain if each is not None and each.missing else 0.0
        for view, each in zip(views.views, dark, strict=True)
    )


def cut_off(views: RegisteredViews) -> tuple[float, ...]:
    """Share of the voxels of each view below its camera offset, from some planes; 0 for views without one."""
    if not any(view.offset for view in views.views):
        return (0.0,) * len(views)
    values, covered = _sample(views)
    shares = [
        float((one[covered] < view.offset).mean()) if view.offset and covered.any() else 0.0
        for view, one in zip(views.views, values, strict=True)
    ]
    return tuple(share if share > _MOST_CUT else 0.0 for share in shares)


def _sample(views: RegisteredViews) -> tuple[np.ndarray, np.ndarray]:
    """Pixels as they were recorded on some planes, (view, z, y, x), and where all views have data, (z, y, x)."""
    recorded = views.as_recorded()
    # Planes that share a chunk, as all of a small volume do, are read together.
    recorded = recorded.with_data(read_ahead(view.data, _AHEAD_BYTES) for view in recorded.views)
    depth, height, width = recorded.grid.shape
    every = slice(None, None, -(-height // _SIDE)), slice(None, None, -(-width // _SIDE))
    planes = np.unique(np.linspace(0, depth - 1, min(depth, _PLANES)).astype(int))
    shape = len(planes), -(-height // every[0].step), -(-width // every[1].step)
    values, covered = np.empty((len(views), *shape), np.float32), np.ones(shape, bool)
    for number, z in enumerate(planes):
        plane = Box((int(z), 0, 0), (int(z) + 1, height, width))
        for v in range(len(views)):
            values[v, number] = recorded.read(plane, [v])[0, 0][every]
            coverage = recorded.coverage(plane, [v])
            if coverage is not None:
                covered[number] &= coverage[0, 0][every] > 0
    return values, covered


def _level(values: np.ndarray) -> tuple[float, float] | None:
    """The lowest level at which many voxels lie, and the noise below it; None where nothing lies round one."""
    rising = np.sort(values)
    count = max(1, round(_SHARE * len(rising)))
    widths = (rising[count:] - rising[:-count])[: max(1, len(rising) // 2)]
    # Of whole numbers many windows are equally narrow.
    first = int(np.median(np.flatnonzero(widths == widths.min())))
    near, level, spread = rising[first : first + count], 0.0, 0.0
    for _ in range(_ROUNDS):
        level = float(np.median(near))
        below = rising[rising < level]
        if len(below) < _SHARE / 4 * len(rising):
            return None
        # Half of the values below the middle of noise are within 0.67 standard deviations of it.
        spread = float(level - np.median(below)) / 0.6745
        near = rising[np.abs(rising - level) <= _REACH * spread]
    share, reach = _BELOW
    return None if (rising < level - reach * spread).mean() > share else (level, spread)


def _is_flat(values: np.ndarray, dark: np.ndarray, level: float, spread: float) -> bool:
    """Whether a view has the same level wherever all are dark, to what its noise explains."""
    height, width = (n - n % _BLOCK for n in values.shape[1:])
    blocks = [(len(values), height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)]
    inside = dark[:, :height, :width].reshape(blocks[0])
    sums = np.where(dark, values - np.float32(level), 0)[:, :height, :width].reshape(blocks[0]).sum(axis=(2, 4))
    counts = inside.sum(axis=(2, 4))
    full = counts >= 0.75 * _BLOCK**2
    if full.sum() < _FEWEST_BLOCKS:
        return False
    means = sums[full] / counts[full]
    return bool(means.std() < max(_FLAT[0] * spread, _FLAT[1] * level))
