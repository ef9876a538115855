"""Which part of the fused volume a preview shows: what is in sight, or a box that the user drew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_mvfusion.data.geometry import Box, Triple, triple

# What two CPU cores fuse in about two seconds.
WIDEST = 128
DEEPEST = 32
_SPATIAL = 3


def region_in_sight(viewer: ViewerModel, layer: Image, shape: Triple, widest: int = WIDEST) -> Box:
    """The voxels in the middle of the canvas: a slab about the current slice, or a block of the volume in 3D.

    Parameters
    ----------
    viewer : its camera, canvas and sliders
    layer : the voxels of the fused volume are those of this layer
    shape : of the fused volume, (z, y, x)
    widest : most voxels along the axes that are shown

    Returns
    -------
    A box inside the volume, at least one voxel wide.
    """
    shown = [axis for axis in viewer.dims.displayed if axis >= viewer.dims.ndim - _SPATIAL]
    point = np.array(viewer.dims.point, float)
    camera = viewer.scene.camera
    centre = np.array(camera.center, float)[-len(viewer.dims.displayed) :]
    point[list(viewer.dims.displayed)] = centre
    half_sight = np.array(viewer.canvas.size, float) / max(camera.zoom, 1e-9) / 2
    corners = []
    for sign in (-1, 1):
        corner = point.copy()
        for axis, half in zip(viewer.dims.displayed[-2:], half_sight, strict=True):
            corner[axis] += sign * half
        corners.append(_voxel(layer, corner))
    middle = _voxel(layer, point)
    width = np.abs(corners[1] - corners[0])
    sides = []
    for axis in range(_SPATIAL):
        in_plane = len(viewer.dims.displayed) == 2 and axis + viewer.dims.ndim - _SPATIAL in shown
        most = widest if in_plane else DEEPEST if len(viewer.dims.displayed) == 2 else WIDEST // 2
        sides.append(min(most, max(1, round(float(width[axis])))) if in_plane else most)
    return _placed(middle, triple(sides), shape)


def region_of_box(box: Shapes, viewer: ViewerModel, layer: Image, shape: Triple, widest: int = WIDEST) -> Box | None:
    """The voxels inside the last rectangle of a shapes layer, with some depth; None while nothing is drawn."""
    if not len(box.data):
        return None
    world = [box.data_to_world(vertex) for vertex in box.data[-1]]
    voxels = np.array([_voxel(layer, np.array(corner, float)) for corner in world])
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    # The rectangle is flat: along its normal the preview follows the slider.
    current = _voxel(layer, np.array(viewer.dims.point, float))
    flat = int(np.argmin(high - low))
    middle = (low + high) / 2
    middle[flat] = current[flat]
    sides = [
        DEEPEST if axis == flat else int(np.clip(round(float(high[axis] - low[axis])), 1, 2 * widest))
        for axis in range(_SPATIAL)
    ]
    return _placed(middle, triple(sides), shape)


def leading_index(viewer: ViewerModel, layer: Image, leading: Sequence[int]) -> tuple[int, ...]:
    """Where the sliders stand on the axes before z."""
    data = np.asarray(layer.world_to_data(np.array(viewer.dims.point, float)[-layer.ndim :]))
    return tuple(int(np.clip(round(float(value)), 0, n - 1)) for value, n in zip(data, leading, strict=False))


def _voxel(layer: Image, world: np.ndarray) -> np.ndarray:
    """Position of a world point in the layer's voxels (z, y, x)."""
    return np.asarray(layer.world_to_data(world[-layer.ndim :]), float)[-_SPATIAL:]


def _placed(middle: np.ndarray, sides: Triple, shape: Triple) -> Box:
    """A box of these sides about a point, pushed back into the volume."""
    sides = triple(min(s, n) for s, n in zip(sides, shape, strict=True))
    start = triple(
        int(np.clip(round(float(m) - s / 2), 0, n - s)) for m, s, n in zip(middle, sides, shape, strict=True)
    )
    return Box(start, triple(a + s for a, s in zip(start, sides, strict=True)))
