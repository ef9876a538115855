"""A curtain between two volumes: one on the left of it, the other on the right, and it can be drawn with the mouse."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from napari.utils.colormaps import Colormap
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.joined_volume import JoinedVolume
from napari_mvfusion.gui.layers.conversion import same_place, stack_of
from napari_mvfusion.gui.layers.notes import KEY
from napari_mvfusion.gui.panels.compare.compared_layers import volume_at
from napari_mvfusion.gui.panels.compare.shared_contrast import AS_IT_IS, Fit
from napari_mvfusion.measures.placed_volume import require_one_grid

# Drawn over each other in 3D, the halves then add up to no more than white.
_VEIL = Colormap([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]], name="white veil")
_LINE_PIXELS = 2.0
_GRAB_PIXELS = 8.0
_LINE_COLOUR = "#ffd400"
_HALF = 0.5


class Curtain(QObject):
    """Shows layer A before the split and layer B after it, along the horizontal axis of the canvas.

    In 2D a layer of its own shows both, read from the two as the slice is drawn. In 3D the two layers themselves are
    shown, each cut off at the split by the graphics card, so that nothing is copied there either. The caller keeps and
    restores how layers look. `moved` tells the share of the axis that A is seen on, `lost` that a layer which it needs is
    gone.

    Parameters
    ----------
    viewer : where it is drawn
    """

    moved = Signal(float)
    lost = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._pair: tuple[Image, Image] | None = None
        self._fit = AS_IT_IS
        self._share = 0.5
        self._layer: Image | None = None
        self._line: Shapes | None = None

    @property
    def layers(self) -> list[Image]:
        """The layers that show it: A, B, and the one of its own where there is one."""
        return [*(self._pair or ()), *([] if self._layer is None else [self._layer])]

    @property
    def helpers(self) -> list[Any]:
        """The layers that it has added."""
        return [layer for layer in (self._layer, self._line) if layer is not None]

    def start(self, a: Image, b: Image, fit: Fit) -> None:
        """Draw the curtain.

        Parameters
        ----------
        a, b : what is seen before and after the split
        fit : scale and offset that bring b to a

        Raises
        ------
        InputError
            If the two lie on different grids.
        """
        point = self._viewer.dims.point
        require_one_grid([volume_at(a, point), volume_at(b, point)])
        self.stop()
        self._pair, self._fit = (a, b), fit
        active = self._viewer.layers.selection.active
        common = {"metadata": {KEY: {"role": "curtain"}}, **same_place(a)}
        self._layer = self._viewer.add_image(
            self._split(),
            name=f"Curtain {a.name} | {b.name}",
            colormap="gray",
            contrast_limits=a.contrast_limits,
            blending="translucent_no_depth",
            multiscale=False,
            **common,
        )
        self._layer.contrast_limits_range = a.contrast_limits_range
        self._layer.name_overlay.visible = True
        self._line = self._viewer.add_shapes(
            ndim=a.ndim, name="Curtain edge", edge_color=_LINE_COLOUR, face_color="transparent", **common
        )
        if active in self._viewer.layers:
            self._viewer.layers.selection.active = active
        for emitter, slot in self._events():
            emitter.connect(slot)
        self._viewer.mouse_drag_callbacks.append(self._drag)
        self._dress()

    def stop(self) -> None:
        """Take the curtain away."""
        if self._pair is None:
            return
        for emitter, slot in self._events():
            emitter.disconnect(slot)
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        for layer in self._pair:
            layer.experimental_clipping_planes = []
        helpers = self.helpers
        self._pair = self._layer = self._line = None
        for layer in helpers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def set_fit(self, fit: Fit) -> None:
        """Bring b to a by another scale and offset."""
        if fit != self._fit and self._layer is not None:
            self._fit = fit
            self._layer.data = self._split()

    def set_share(self, share: float) -> None:
        """Move the split: 0 shows only B, 1 only A."""
        share = min(max(share, 0.0), 1.0)
        if share != self._share:
            self._share = share
            self._move()
            self.moved.emit(share)

    def _events(self) -> list[tuple[Any, Any]]:
        dims = self._viewer.dims.events
        return [
            (dims.order, self._turn),
            (dims.ndisplay, self._turn),
            (dims.point, self._draw_line),
            (self._viewer.scene.camera.events.zoom, self._thin_line),
            (self._viewer.layers.events.removed, self._miss),
        ]

    def _miss(self, event: Any) -> None:
        if event.value in [*self.layers, *self.helpers]:
            self.lost.emit()

    @property
    def _first(self) -> Image:
        """A, whose voxels places are in."""
        assert self._pair is not None
        return self._pair[0]

    @property
    def _missing(self) -> int:
        """How many axes of the viewer come before those of the layers."""
        return int(self._viewer.dims.ndim - self._first.ndim)

    def _axis(self) -> int:
        """The axis of the layers that is horizontal on the canvas."""
        return int(self._viewer.dims.displayed[-1] - self._missing)

    def _split(self) -> JoinedVolume:
        assert self._pair is not None
        first, second = map(stack_of, self._pair)
        return JoinedVolume(first, second, self._axis(), self._at(), scale=self._fit[0], offset=self._fit[1])

    def _at(self) -> int:
        """Index of the first voxel that shows B."""
        return round(self._share * self._size(self._axis()))

    def _size(self, axis: int) -> int:
        return int(self._first.level_shapes[0][axis])

    def _turn(self, event: Any = None) -> None:
        """The viewer shows other axes, or another number of them."""
        del event
        if self._layer is not None:
            self._layer.data = self._split()
            self._dress()

    def _dress(self) -> None:
        """Show what belongs to 2D or 3D."""
        assert self._pair is not None
        assert self._layer is not None
        solid = self._viewer.dims.ndisplay == 3
        for layer in self._pair:
            layer.visible = solid
            layer.colormap = _VEIL if solid else "gray"
            layer.blending = "translucent_no_depth"
        for layer, direction in zip(self._pair, (-1, 1), strict=True):
            layer.experimental_clipping_planes = [self._plane(direction)] if solid else []
        self._layer.visible = not solid
        self._draw_line()
        self._thin_line()

    def _move(self) -> None:
        """Follow the split."""
        if self._pair is None or self._layer is None:
            return
        if self._viewer.dims.ndisplay == 3:
            for layer, direction in zip(self._pair, (-1, 1), strict=True):
                plane = self._plane(direction)
                layer.experimental_clipping_planes[0].position = plane["position"]
        self._layer.data.at = self._at()
        if self._layer.visible:
            self._layer.refresh(extent=False, highlight=False, thumbnail=False)
        self._draw_line()

    def _plane(self, direction: int) -> dict[str, Any]:
        """The split as a clipping plane, in the world coordinates of the axes that are shown."""
        layer, shown = self._first, list(self._viewer.dims.displayed)
        corner, axis = self._corner(), self._axis()
        foot = np.asarray(layer.data_to_world(corner))
        others = [number for number in range(layer.ndim) if number != axis][-2:]
        sides = [np.subtract(layer.data_to_world(corner + np.eye(layer.ndim)[other]), foot) for other in others]
        along = np.subtract(layer.data_to_world(corner + np.eye(layer.ndim)[axis]), foot)
        first, second, along, foot = (_shown(vector, shown, self._viewer.dims.ndim) for vector in (*sides, along, foot))
        normal = np.cross(first, second)
        normal *= direction * np.sign(normal @ along) / np.linalg.norm(normal)
        return {"position": tuple(foot), "normal": tuple(normal), "enabled": True}

    def _corner(self) -> np.ndarray:
        """Where the split meets the first edge of the volume, in voxels."""
        layer, missing = self._first, self._missing
        corner = np.full(layer.ndim, -_HALF)
        point = np.asarray(layer.world_to_data(self._viewer.dims.point))[-layer.ndim :]
        for hidden in self._viewer.dims.not_displayed:
            if hidden >= missing:
                corner[hidden - missing] = point[hidden - missing]
        corner[self._axis()] = self._at() - _HALF
        return corner

    def _outline(self) -> np.ndarray:
        """Corners of the line in 2D, or of the frame in 3D, in voxels."""
        dims, corners = self._viewer.dims, [self._corner()]
        for axis in [shown - self._missing for shown in dims.displayed[:-1]]:
            far = [corner.copy() for corner in reversed(corners)]
            for corner in far:
                corner[axis] = self._size(axis) - _HALF
            corners += far
        return np.array([*corners, corners[0]] if dims.ndisplay == 3 else corners)

    def _draw_line(self, event: Any = None) -> None:
        del event
        if self._line is not None:
            kind = "path" if self._viewer.dims.ndisplay == 3 else "line"
            self._line.data = [(self._outline(), kind)]
            self._thin_line()

    def _thin_line(self, event: Any = None) -> None:
        """Keep the line as thin as on paper at any zoom."""
        del event
        if self._line is not None:
            size = float(np.mean(np.abs(self._line.scale[list(self._viewer.dims.displayed)[-2:]])))
            width = _LINE_PIXELS / self._viewer.scene.camera.zoom / size
            if self._line.nshapes and not np.isclose(self._line.edge_width[0], width):
                self._line.edge_width = [width]

    def _drag(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        """Let the mouse take the line and carry it along."""
        active = viewer.layers.selection.active
        if self._pair is None or (active is not None and active.mode != "pan_zoom") or not self._touches(event):
            return
        layer, axis = self._pair[0], self._axis()
        step = np.subtract(layer.data_to_world(np.eye(layer.ndim)[axis]), layer.data_to_world(np.zeros(layer.ndim)))
        step = _flat(step, _direction(event, layer.ndim))
        if not step.any():
            return
        start, begun = np.array(event.position)[-layer.ndim :], self._share
        panned, viewer.scene.camera.mouse_pan = viewer.scene.camera.mouse_pan, False
        try:
            yield
            while event.type == "mouse_move":
                way = np.array(event.position)[-layer.ndim :] - start
                self.set_share(begun + float(way @ step / (step @ step)) / self._size(axis))
                yield
        finally:
            viewer.scene.camera.mouse_pan = panned

    def _touches(self, event: Any) -> bool:
        """Whether the mouse is on the line."""
        layer = self._first
        direction = _direction(event, layer.ndim)
        corners = [np.asarray(layer.data_to_world(corner)) for corner in self._outline()]
        mouse = np.array(event.position)[-layer.ndim :]
        distances = []
        for one, other in pairwise(corners):
            side, way = _flat(other - one, direction), _flat(mouse - one, direction)
            along = np.clip(way @ side / max(side @ side, 1e-12), 0, 1)
            distances.append(float(np.linalg.norm(way - along * side)))
        return min(distances) * self._viewer.scene.camera.zoom <= _GRAB_PIXELS


def _shown(vector: np.ndarray, shown: list[int], ndim: int) -> np.ndarray:
    """The part of a world vector along the axes that are shown."""
    return np.asarray(vector)[[axis - (ndim - len(vector)) for axis in shown]].astype(float)


def _direction(event: Any, ndim: int) -> np.ndarray | None:
    """Where the camera looks, in 3D."""
    return None if event.view_direction is None else np.array(event.view_direction)[-ndim:]


def _flat(vector: np.ndarray, direction: np.ndarray | None) -> np.ndarray:
    """A vector as it is seen on the screen."""
    return vector if direction is None else vector - (vector @ direction) * direction
