"""Trust in a view that changes from place to place: a volume of weights, a box, and a fade with depth.

All three are kept as rules, and computed where one looks: a view of a terabyte needs no second one beside it. What they
say is multiplied. 1 is full trust, and where a view has 0 it does not count, as if it had no data there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.fused_grid import Placed
from napari_mvfusion.data.geometry import Box, FloatTriple, Grid, Triple, float_triple, is_aligned, triple
from napari_mvfusion.data.sampling import positions
from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError

# Over so many voxels inside a box, or a quarter of a thin one, trust rises from those of its faces that lie within the
# view, so that none of them is seen in the fused volume.
EDGE_VOXELS = 8
_THIN = 4


@dataclass(frozen=True)
class Fade:
    """Trust that falls with depth along the detection axis of a view.

    Depth is counted from the side on which the view's own z begins. A fade whose `none_um` is less than its `full_um`
    drops that side instead of the far one.

    Attributes
    ----------
    full_um : depth to which the view counts fully, um
    none_um : depth from which on it does not count, um; another one
    """

    full_um: float
    none_um: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.full_um, self.none_um]).all() and self.full_um != self.none_um):
            raise InputError(
                f"a fade from {self.full_um:g} to {self.none_um:g} um has no width: give the depth to which the view counts "
                "fully, and another one from which on it does not"
            )

    def at(self, depth: np.ndarray) -> np.ndarray:
        """Trust at depths in um, from 0 to 1."""
        return ((depth - self.none_um) / (self.full_um - self.none_um)).clip(0, 1)


@dataclass(frozen=True, eq=False)
class PlacedTrust:
    """How much a view counts at each of its own voxels: a lazy float32 array (z, y, x) from 0 to 1.

    Attributes
    ----------
    shape : of the view
    to_world : 4 x 4, from its voxels to the world, um
    weights : array (z, y, x) of the same shape, from 0 to 1, or None
    box_um : first and last place (z, y, x) in the world within which it counts, um, or None
    fade : with depth, or None
    axis : unit vector (z, y, x) of the world along which depth is counted
    """

    shape: Triple
    to_world: np.ndarray
    weights: VolumeLike | None = None
    box_um: tuple[FloatTriple, FloatTriple] | None = None
    fade: Fade | None = None
    axis: FloatTriple = (1.0, 0.0, 0.0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what it holds."""
        return np.dtype(np.float32)

    @property
    def depth_um(self) -> float:
        """How far its voxels reach along the axis, um."""
        toward = np.asarray(self.axis) @ self.to_world[:3]
        return float(np.abs(toward[:3]) @ (np.asarray(self.shape) - 1))

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Trust in a box of voxels, given as three slices without steps."""
        ranges = [each.indices(n) for each, n in zip(index, self.shape, strict=True)]
        box = Box(triple(each[0] for each in ranges), triple(each[1] for each in ranges))
        trust = np.ones(box.shape, np.float32)
        if self.weights is not None:
            trust *= np.asarray(self.weights[box.slices]).astype(np.float32)
        places = positions(self.to_world, box)
        if self.fade is not None:
            toward = np.asarray(self.axis) @ self.to_world[:3]
            depth = sum((share * place for share, place in zip(self.axis, places, strict=True)), np.zeros((1, 1, 1)))
            trust *= self.fade.at(depth - self._nearest(toward)).astype(np.float32)
        if self.box_um is not None:
            for row, place, low, high in zip(self.to_world[:3], places, *self.box_um, strict=True):
                trust *= self._within(row, place, low, high)
        return trust

    def _within(self, row: np.ndarray, place: np.ndarray, low: float, high: float) -> np.ndarray:
        """Trust at places between two faces across an axis of the world, whose row of the matrix this is."""
        step = _step(row)
        edge = min(EDGE_VOXELS, max(1.0, (high - low) / step / _THIN))
        first = self._nearest(row)
        last = -self._nearest(-row)
        within = np.asarray((place >= low) & (place <= high), np.float32)
        for face, inside in ((low > first, place - low), (high < last, high - place)):
            if face:
                within = within * ((inside / step + 1) / edge).clip(0, 1)
        return within

    def _nearest(self, toward: np.ndarray) -> float:
        """The least depth of a corner of the view."""
        ends = np.minimum(0, toward[:3] * (np.asarray(self.shape) - 1))
        return float(ends.sum() + toward[3])


def with_trust(
    view: View,
    grid: Grid,
    *,
    weights: VolumeLike | None = None,
    box_um: tuple[FloatTriple, FloatTriple] | None = None,
    fade: Fade | None = None,
    source: str = "",
) -> View:
    """A view that counts more in some places than in others.

    Parameters
    ----------
    view : the view; what it had of `View.trust` is replaced
    grid : of the fused volume, on which views without an affine lie
    weights : array (z, y, x) of the shape of the view, from 0 to 1; at each place one view at least should have about 1
    box_um : first and last place (z, y, x) in the world within which it counts, um; over its outermost `EDGE_VOXELS`
        voxels trust rises
    fade : with depth along its detection axis, which follows from its angle, or is its own z where its affine turns it
    source : the file or layer that the weights came from, for messages

    Raises
    ------
    InputError
        If there is nothing to be said, weights have another shape or are no real numbers, a box holds nothing of the view,
        or the detection axis is not known.
    """
    if weights is None and box_um is None and fade is None:
        raise InputError(f"{view.label}: trust needs weights, a box or a fade")
    view = replace(view, trust=weights, trust_source=source)
    to_world = grid.affine if view.affine is None else view.affine
    if box_um is not None:
        _check_box(view, to_world, box_um)
    axis = (1.0, 0.0, 0.0) if fade is None else _detection_axis(view, to_world)
    return replace(view, trust=PlacedTrust(view.shape, to_world, weights, box_um, fade, axis))


def edge_um(to_world: np.ndarray) -> FloatTriple:
    """How wide the edges of a box are within which trust rises, along (z, y, x) of the world, um.

    Parameters
    ----------
    to_world : 4 x 4, from the voxels of the view to the world, um
    """
    return float_triple(EDGE_VOXELS * _step(row) for row in to_world[:3])


def _step(row: np.ndarray) -> float:
    """The shortest way from voxel to voxel along an axis of the world, whose row of the matrix to it this is."""
    return float(np.abs(row[:3]).max())


def _detection_axis(view: View, to_world: np.ndarray) -> FloatTriple:
    """Where the own z of a view points in the world."""
    if view.affine is not None and not is_aligned(view.affine):
        own = to_world[:3, 0] / np.linalg.norm(to_world[:3, 0])
        return float(own[0]), float(own[1]), float(own[2])
    if view.angle is None:
        raise InputError(
            f"{view.label} has no known angle, so its detection axis is not known: enter its angle (on the command line "
            "--view ANGLE=FILE), or give a box or weights"
        )
    turn = np.radians(view.angle)
    return float(np.cos(turn)), float(np.sin(turn)), 0.0


def _check_box(view: View, to_world: np.ndarray, box_um: tuple[FloatTriple, FloatTriple]) -> None:
    low, high = box_um
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise InputError(
            f"{view.label}: the box of trust {_said(box_um)} has no extent: give its first place, then its last"
        )
    first, last = Placed(view.shape, to_world, view.label).bounds_um
    if (first > high).any() or (last < low).any():
        field = (tuple(first), tuple(last))
        raise InputError(f"{view.label} lies {_said(field)}, outside of its box of trust {_said(box_um)}")


def _said(box: Any) -> str:
    first, last = (", ".join(f"{place:.6g}" for place in corner) for corner in box)
    return f"from ({first}) to ({last}) um"
