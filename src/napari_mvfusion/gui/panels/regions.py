"""Which part of a volume is meant: what is in sight, or a rectangle that the user draws over the views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.gui.layers.conversion import same_place

# What two CPU cores fuse in about two seconds.
_WIDEST = 128
_DEEPEST = 32
_SPATIAL = 3


class DrawnBox(QObject):
    """A layer in which the user draws a rectangle; `changed` tells of another one, `removed` that the user took it away.

    Attributes
    ----------
    layer : None while there is none

    Parameters
    ----------
    viewer : gets the layer
    name : of the layer
    """

    changed = Signal()
    removed = Signal()

    def __init__(self, viewer: ViewerModel, name: str, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._name = viewer, name
        self._shown = False
        self.layer: Shapes | None = None
        viewer.layers.events.removed.connect(self._notice_removal)

    def show(self, first: Image) -> None:
        """Let the user draw over an image; what was drawn there before can be seen again."""
        if self.layer is not None and not same_axes(self.layer, first):
            self.take_away()
        if self._shown:
            return
        self._shown = True
        if self.layer is not None:
            self.layer.visible = True
            self._viewer.layers.selection.active = self.layer
            return
        self.layer = self._viewer.add_shapes(
            ndim=first.ndim, name=self._name, edge_color="yellow", face_color="transparent", **same_place(first)
        )
        self.layer.mode = "add_rectangle"
        self.layer.events.set_data.connect(self._tell)

    def hide(self) -> None:
        """Hide what was drawn until it is shown again."""
        self._shown = False
        if self.layer is not None:
            self.layer.visible = False

    def take_away(self) -> None:
        """Forget what was drawn."""
        layer, self.layer = self.layer, None
        self._shown = False
        if layer is not None:
            self._viewer.layers.remove(layer)

    def close_down(self) -> None:
        """The panel is closed."""
        self._viewer.layers.events.removed.disconnect(self._notice_removal)
        self.take_away()

    def _tell(self, _: object = None) -> None:
        self.changed.emit()

    def _notice_removal(self, event: Any) -> None:
        if self.layer is not None and event.value == self.layer:
            self.layer, self._shown = None, False
            self.removed.emit()


def same_axes(one: Layer, other: Layer) -> bool:
    """Whether the axes of two layers mean the same."""
    return (one.ndim, one.units, one.axis_labels) == (other.ndim, other.units, other.axis_labels)


def drawn_box(shapes: Shapes, image: Image, shape: Triple, depth: int | None) -> Box | None:
    """The voxels of an image inside the last rectangle that was drawn, about its plane; None while there is none.

    Parameters
    ----------
    shapes : where it was drawn
    image : its voxels count
    shape : of its volume, (z, y, x)
    depth : voxels across the plane of the rectangle, None for all
    """
    if (found := _corners(shapes, image)) is None:
        return None
    low, high, flat = found
    middle, deep = (low[flat] + high[flat]) / 2, shape[flat] if depth is None else depth
    low[flat], high[flat] = (0, shape[flat]) if depth is None else (middle - deep / 2, middle + deep / 2)
    start = [int(np.clip(round(float(a)), 0, n - 1)) for a, n in zip(low, shape, strict=True)]
    stop = [int(np.clip(round(float(b)), a + 1, n)) for a, b, n in zip(start, high, shape, strict=True)]
    return Box(triple(start), triple(stop))


def box_at_slider(shapes: Shapes, viewer: ViewerModel, image: Image, shape: Triple) -> Box | None:
    """The voxels inside the last rectangle, a slab about where the slider stands; None while nothing is drawn."""
    if (found := _corners(shapes, image)) is None:
        return None
    low, high, flat = found
    middle = (low + high) / 2
    # The rectangle is flat: along its normal the box follows the slider.
    middle[flat] = _voxel(image, np.array(viewer.dims.point, float))[flat]
    sides = np.clip(np.rint(high - low), 1, 2 * _WIDEST).astype(int)
    sides[flat] = _DEEPEST
    return _placed(middle, triple(sides.tolist()), shape)


def region_in_sight(viewer: ViewerModel, image: Image, shape: Triple) -> Box:
    """The voxels in the middle of the canvas: a slab about the current slice, or a block of the volume in 3D.

    Parameters
    ----------
    viewer : its camera, canvas and sliders
    image : the voxels of the fused volume are those of this layer
    shape : of the fused volume, (z, y, x)

    Returns
    -------
    A box inside the volume, at least one voxel wide.
    """
    displayed, flat = list(viewer.dims.displayed), len(viewer.dims.displayed) == 2
    point = np.array(viewer.dims.point, float)
    point[displayed] = np.array(viewer.scene.camera.center, float)[-len(displayed) :]
    half = np.zeros_like(point)
    half[displayed[-2:]] = np.array(viewer.canvas.size, float) / max(viewer.scene.camera.zoom, 1e-9) / 2
    width = np.abs(_voxel(image, point + half) - _voxel(image, point - half))
    sides = []
    for axis in range(_SPATIAL):
        in_plane = flat and axis + viewer.dims.ndim - _SPATIAL in displayed
        most = _WIDEST if in_plane else _DEEPEST if flat else _WIDEST // 2
        sides.append(min(most, max(1, round(float(width[axis])))) if in_plane else most)
    return _placed(_voxel(image, point), triple(sides), shape)


def leading_index(viewer: ViewerModel, image: Image, leading: Sequence[int]) -> tuple[int, ...]:
    """Where the sliders stand on the axes before z."""
    data = np.asarray(image.world_to_data(np.array(viewer.dims.point, float)[-image.ndim :]))
    return tuple(int(np.clip(round(float(value)), 0, n - 1)) for value, n in zip(data, leading, strict=False))


def _corners(shapes: Shapes, image: Image) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Two corners of the last rectangle in voxels of an image, and the axis along which it is flat; None without one."""
    if not len(shapes.data):
        return None
    voxels = np.array([_voxel(image, np.asarray(shapes.data_to_world(vertex), float)) for vertex in shapes.data[-1]])
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    return low, high, int(np.argmin(high - low))


def _voxel(image: Image, world: np.ndarray) -> np.ndarray:
    """Position of a world point in the image's voxels (z, y, x)."""
    return np.asarray(image.world_to_data(world[-image.ndim :]), float)[-_SPATIAL:]


def _placed(middle: np.ndarray, sides: Triple, shape: Triple) -> Box:
    """A box of these sides about a point, pushed back into the volume."""
    sides = triple(min(s, n) for s, n in zip(sides, shape, strict=True))
    start = triple(
        int(np.clip(round(float(m) - s / 2), 0, n - s)) for m, s, n in zip(middle, sides, shape, strict=True)
    )
    return Box(start, triple(a + s for a, s in zip(start, sides, strict=True)))
