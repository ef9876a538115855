"""Layers side by side, or two of them in turns; and how all layers looked before that."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer, Signal

KEY = "K"
"""Changes over from one layer to the other."""

_TAP_MS = 350
_SPACING_PIXELS = 4.0
# The range goes before the limits, which it bounds.
_OF_IMAGES = ("colormap", "blending", "contrast_limits_range", "contrast_limits")


class SideBySide:
    """Turns the grid on for some layers and off again. The caller keeps and restores how layers look.

    Parameters
    ----------
    viewer : whose canvas is divided
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._before: dict[str, Any] | None = None
        self._layers: list[Image] = []

    def start(self, layers: Sequence[Image]) -> None:
        """Show only these layers, each in a cell, as large as the same field of view allows."""
        grid = self._viewer.canvas.grid
        fitting = self._fitting_zoom()
        if self._before is None:
            self._before = {name: getattr(grid, name) for name in ("enabled", "stride", "shape", "spacing")}
            for emitter in self._events():
                emitter.connect(self._arrange)
        self._layers = list(layers)
        for layer in self._viewer.layers:
            layer.visible = layer in layers
        _caption(layers, "translucent")
        grid.stride = 1
        grid.spacing = _SPACING_PIXELS
        self._arrange()
        grid.enabled = True
        self._zoom(fitting)

    def stop(self) -> None:
        """The canvas as it was."""
        if self._before is None:
            return
        for emitter in self._events():
            emitter.disconnect(self._arrange)
        fitting = self._fitting_zoom()
        for name, value in self._before.items():
            setattr(self._viewer.canvas.grid, name, value)
        self._before = None
        self._layers = []
        self._zoom(fitting)

    def _events(self) -> tuple[Any, ...]:
        """After which the best rows and columns may be others."""
        dims = self._viewer.dims.events
        return self._viewer.canvas.events.size, dims.order, dims.ndisplay

    def _zoom(self, before: float) -> None:
        """What was in sight stays in sight, though the cells have another size."""
        self._viewer.scene.camera.zoom *= self._fitting_zoom() / before

    def _fitting_zoom(self) -> float:
        """Pixels for a world unit with which the volumes would just fit into a cell."""
        rows, columns = self._viewer.canvas.grid.actual_shape(self._viewer.layers)
        height, width = self._viewer.canvas.size
        tall, broad = self._extent()
        return min(height / rows / tall, width / columns / broad)

    def _extent(self) -> tuple[float, float]:
        """Height and width of the volumes as they are seen, world units."""
        extent = np.array(self._viewer.layers.extent.world)
        shown = [axis for axis in self._viewer.dims.displayed if axis < extent.shape[1]]
        sizes = np.maximum(extent[1] - extent[0], 1e-9)[shown]
        # A volume that can be turned may fill any direction.
        return (float(sizes[-2]), float(sizes[-1])) if len(shown) == 2 else (float(sizes.max()), float(sizes.max()))

    def _arrange(self, event: Any = None) -> None:
        """Choose rows and columns so that the layers are drawn as large as possible."""
        del event
        count = len(self._layers)
        if count == 0:
            return
        tall, broad = self._extent()
        height, width = self._viewer.canvas.size
        best = max(range(1, count + 1), key=lambda rows: _scale(rows, count, height / tall, width / broad))
        shape = (best, -(-count // best))
        if self._viewer.canvas.grid.shape != shape:
            self._viewer.canvas.grid.shape = shape


class Flicker(QObject):
    """Shows one of two layers, and the other when it is told to, by a button or by the key K in the canvas.

    A tap on the key changes over; while the key is held the other one is seen. The caller keeps and restores how layers
    look. `wanted` tells that the key was pressed though nothing flickers yet; `shown` names the layer that is seen.

    Parameters
    ----------
    viewer : its keys are listened to
    """

    wanted = Signal()
    shown = Signal(str)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._pair: tuple[Image, Image] | None = None
        # A timer and no clock: while a slow window is drawn, no time passes for the key.
        self._tap = QTimer(self)
        self._tap.setSingleShot(True)
        self._tap.setInterval(_TAP_MS)
        self.has_key = True
        try:
            viewer.bind_key(KEY, self._press)
        except ValueError:
            # Somebody else uses it.
            self.has_key = False

    def start(self, a: Image, b: Image) -> None:
        """Show a, ready to change over to b."""
        self._uncaption()
        self._pair = (a, b)
        show_only(self._viewer, [a])
        _caption(self._pair, "translucent_no_depth")
        self.shown.emit(a.name)

    def stop(self) -> None:
        """No more."""
        self._uncaption()
        self._pair = None

    def change_over(self) -> None:
        """Show the other one."""
        if self._pair is None:
            return
        a, b = self._pair
        seen, hidden = (a, b) if a.visible else (b, a)
        hidden.visible = True
        seen.visible = False
        self.shown.emit(hidden.name)

    def _uncaption(self) -> None:
        """Take the names of the pair off the canvas."""
        for layer in self._pair or ():
            layer.name_overlay.visible = False

    def release_key(self) -> None:
        """Give the key back."""
        if self.has_key:
            self._viewer.bind_key(KEY, None)
            self.has_key = False

    def _press(self, viewer: ViewerModel) -> Generator[None, None, None]:
        if self._pair is None:
            self.wanted.emit()
            return
        self.change_over()
        self._tap.start()
        yield
        if not self._tap.isActive():
            self.change_over()
        self._tap.stop()


class SavedAppearance:
    """Remembers layers as they are first seen, and brings them back."""

    def __init__(self) -> None:
        self._kept: dict[Layer, dict[str, Any]] = {}

    def keep(self, layers: Iterable[Layer]) -> None:
        """Remember layers that are not remembered yet."""
        for layer in layers:
            if layer not in self._kept:
                self._kept[layer] = _look(layer)

    def forget(self, layer: Layer) -> None:
        """A layer is gone."""
        self._kept.pop(layer, None)

    def restore(self) -> None:
        """Let all layers look as they did, and forget them."""
        kept, self._kept = self._kept, {}
        for layer, look in kept.items():
            planes = look.pop("planes", None)
            layer.name_overlay.visible = look.pop("named")
            for name, value in look.items():
                setattr(layer, name, value)
            if planes is not None:
                layer.experimental_clipping_planes = planes


def show_only(viewer: ViewerModel, shown: Sequence[Image]) -> None:
    """Hide all other images; points and shapes stay."""
    for layer in viewer.layers:
        if isinstance(layer, Image):
            layer.visible = layer in shown


def _caption(layers: Sequence[Image], blending: str) -> None:
    """Show layers in gray, with their names on the canvas."""
    for layer in layers:
        layer.colormap = "gray"
        layer.blending = blending
        layer.name_overlay.visible = True


def _scale(rows: int, count: int, tall: float, broad: float) -> tuple[float, int]:
    """How large a picture gets in a grid, and, for grids that are alike in that, how few cells stay empty."""
    columns = -(-count // rows)
    return round(min(tall / rows, broad / columns), 6), count - rows * columns


def _look(layer: Layer) -> dict[str, Any]:
    look = {"visible": layer.visible, "named": layer.name_overlay.visible}
    if isinstance(layer, Image):
        for name in _OF_IMAGES:
            if not (layer.rgb and name.startswith("co")):
                value = getattr(layer, name)
                look[name] = tuple(value) if isinstance(value, list) else value
        look["planes"] = [plane.model_dump() for plane in layer.experimental_clipping_planes]
    return look
