"""What the angles of views say together, and with their PSFs: two views of one direction, and PSFs across their angles."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, same_affine, same_direction
from napari_mvfusion.data.views import RegisteredViews

# The part of a PSF above this share of its peak has its direction; noise and rings lie below.
_CORE = 0.2
# So many times as long as wide, seen along x, a PSF has a direction.
_LONG = 1.3
# About 45 degrees a turn one way and the other are not told apart.
_NEAR_AN_AXIS = 25.0
_ACROSS = 60.0


def about_one_direction(views: RegisteredViews) -> list[str]:
    """A line for each two views that look at one place from one direction: angles that differ by full turns are the same."""
    return [
        f"view '{one.name}' and view '{other.name}' look from one direction ({one.angle:g} and {other.angle:g} degrees are "
        "the same) and count as two views: right for two sides of illumination; leave one out if it is the same recording"
        for one, other in combinations(views.views, 2)
        if one.angle is not None
        and other.angle is not None
        and same_direction(one.angle, other.angle)
        # Tiles of one recording lie side by side.
        and (one.affine is None or other.affine is None or same_affine(one.affine, other.affine))
    ]


def about_psfs_across(views: RegisteredViews) -> list[str]:
    """A line where the PSFs of all views lie across their angles, as those of 0 and 90 degrees do that were swapped.

    The long axis of a PSF is that of detection, which the angle of the view tells. Round PSFs and views halfway between
    the axes say nothing, nor do views that lie along one of the axes alone, or have an affine of their own.
    """
    crossing: dict[int, str] = {}
    for view in views.views:
        if view.psf is None or view.angle is None or view.affine is not None:
            continue
        quarter = round(view.angle / 90)
        direction = long_axis(view.psf, views.grid.voxel_size_um)
        if direction is None or abs(view.angle - 90 * quarter) > _NEAR_AN_AXIS:
            continue
        if abs((direction - view.angle + 90) % 180 - 90) <= _ACROSS:
            return []
        crossing.setdefault(quarter % 2, view.name)
    if len(crossing) < 2:
        return []
    along, across = crossing[0], crossing[1]
    return [
        f"the PSFs lie across the angles of their views, as if they were swapped: that of view '{along}' is long along y, "
        f"that of view '{across}' along z; check which PSF is whose, and the angles"
    ]


def long_axis(psf: np.ndarray, voxel_size_um: FloatTriple) -> float | None:
    """The direction in which a PSF is long, seen along x: degrees from z to y, as angles of views; None for a round one.

    Parameters
    ----------
    psf : (z, y, x)
    voxel_size_um : (z, y, x)
    """
    core = np.maximum(np.asarray(psf, np.float64) - _CORE * float(psf.max()), 0).sum(axis=2)
    if not core.any():
        return None
    z, y = (np.arange(n) * size for n, size in zip(core.shape, voxel_size_um[:2], strict=True))
    total = core.sum()
    z, y = z - core.sum(axis=1) @ z / total, y - core.sum(axis=0) @ y / total
    zz, yy, zy = core.sum(axis=1) @ z**2, core.sum(axis=0) @ y**2, z @ core @ y
    widths, axes = np.linalg.eigh([[zz, zy], [zy, yy]])
    if widths[1] < _LONG**2 * widths[0]:
        return None
    return float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])) % 180)
