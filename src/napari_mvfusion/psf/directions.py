"""What the angles of views say together, and with their PSFs: two views of one direction, and PSFs across their angles."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, float_triple, is_aligned, same_affine, same_direction
from napari_mvfusion.data.views import RegisteredViews, View

# The part of a PSF above this share of its peak has its direction; noise and rings lie below.
_CORE = 0.2
# So many times as long as wide, whichever way one measures its width, a PSF has a direction.
_LONG = 1.5
# Degrees between the long axis of a PSF and the detection axis. Frames of the first view leave up to 45 between them.
_ACROSS = 50.0
# Degrees within which a direction is said to be that of an axis.
_NEAR_AN_AXIS = 20.0


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


def one_direction_of_all(views: RegisteredViews) -> str:
    """The direction along which all views look, from one side or both, in words; "" where they do not, or one is unknown."""
    found = [detection_axis(view, views.grid.voxel_size_um) for view in views.views]
    known = [np.asarray(axis) for axis in found if axis is not None]
    if len(known) < len(found) or any(abs(axis @ known[0]) < np.cos(np.radians(_NEAR_AN_AXIS)) for axis in known):
        return ""
    return _named(known[0])


def detection_axis(view: View, voxel_size_um: FloatTriple) -> FloatTriple | None:
    """The direction of detection by the angle of a view, or else by its PSF: a unit vector (z, y, x); None if unknown."""
    if view.angle is None:
        return None if view.psf is None else long_axis(view.psf, voxel_size_um)
    return float_triple(_of_angle(view.angle))


def about_psfs_across(views: RegisteredViews) -> list[str]:
    """A line for each view whose PSF lies across its angle, as those of 0 and 90 degrees do that were swapped.

    See `across_in_words`. Views that are turned by an affine of their own say by that how they were recorded, and flat PSFs,
    as of thin volumes, are cut where they may be long.
    """
    found = []
    for view in views.views:
        if view.psf is None or view.angle is None or (view.affine is not None and not is_aligned(view.affine)):
            continue
        if 1 in view.psf.shape:
            continue
        said = across_in_words(long_axis(view.psf, views.grid.voxel_size_um), view.angle)
        if said:
            found.append(
                f"view '{view.name}' {said}: check its angle (--view ANGLE=FILE), by which lost light is looked for, and "
                f"that the PSF is its own (--psf {view.name}=FILE), as it lies in the fused volume"
            )
    return found


def across_in_words(long: FloatTriple | None, angle: float) -> str:
    """How the angle of a view and its PSF contradict each other, what is said after its name; "" where they do not.

    The long axis of a PSF is that of detection, which the angle tells. Views from opposite sides, as 0 and 180 degrees, have
    the same one and cannot be told apart by it.

    Parameters
    ----------
    long : of the PSF, see `long_axis`; nothing is said of a round one
    angle : of the view, degrees
    """
    detection = _of_angle(angle)
    if long is None or abs(float(detection @ long)) >= np.cos(np.radians(_ACROSS)):
        return ""
    return (
        f"looks {_named(detection)} by its angle of {angle:g} degrees, but its PSF is long {_named(np.asarray(long))}"
    )


def long_axis(psf: np.ndarray, voxel_size_um: FloatTriple) -> FloatTriple | None:
    """The direction in which a PSF is long, as a unit vector (z, y, x) of the world; None for one that is not, or no PSF.

    Parameters
    ----------
    psf : (z, y, x)
    voxel_size_um : (z, y, x)
    """
    if not np.isfinite(psf).all():
        return None
    core = np.maximum(np.asarray(psf, np.float64) - _CORE * float(psf.max()), 0)
    places = np.argwhere(core > 0) * np.asarray(voxel_size_um)
    if not len(places):
        return None
    light = core[core > 0]
    apart = places - np.average(places, axis=0, weights=light)
    widths, axes = np.linalg.eigh((apart * light[:, None]).T @ apart / light.sum())
    if widths[2] <= _LONG**2 * widths[1]:
        return None
    return float_triple(axes[:, 2])


def _of_angle(angle: float) -> np.ndarray:
    """The detection axis of a view at an angle in degrees, as a unit vector (z, y, x)."""
    turn = np.radians(angle)
    return np.array([np.cos(turn), np.sin(turn), 0.0])


def _named(direction: np.ndarray) -> str:
    """A direction in words: "along z", or degrees from z to y."""
    nearest = int(np.abs(direction).argmax())
    if abs(direction[nearest]) >= np.cos(np.radians(_NEAR_AN_AXIS)):
        return f"along {'zyx'[nearest]}"
    if abs(direction[2]) >= np.sin(np.radians(_NEAR_AN_AXIS)):
        return "aslant to all axes"
    return f"at {np.degrees(np.arctan2(direction[1], direction[0])) % 180:.0f} degrees from z to y"
