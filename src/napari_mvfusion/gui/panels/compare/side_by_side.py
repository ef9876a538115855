"""Layers side by side in napari's grid, one a cell, with their names, and the cells as large as they can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

_SPACING_PIXELS = 4.0


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
            self._viewer.canvas.events.size.connect(self._arrange)
            self._viewer.dims.events.order.connect(self._arrange)
            self._viewer.dims.events.ndisplay.connect(self._arrange)
        self._layers = list(layers)
        for layer in self._viewer.layers:
            layer.visible = layer in layers
        for layer in layers:
            layer.colormap = "gray"
            layer.blending = "translucent"
            layer.name_overlay.visible = True
        grid.stride = 1
        grid.spacing = _SPACING_PIXELS
        self._arrange()
        grid.enabled = True
        self._zoom(fitting)

    def stop(self) -> None:
        """The canvas as it was."""
        if self._before is None:
            return
        self._viewer.canvas.events.size.disconnect(self._arrange)
        self._viewer.dims.events.order.disconnect(self._arrange)
        self._viewer.dims.events.ndisplay.disconnect(self._arrange)
        fitting = self._fitting_zoom()
        for name, value in self._before.items():
            setattr(self._viewer.canvas.grid, name, value)
        self._before = None
        self._layers = []
        self._zoom(fitting)

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


def _scale(rows: int, count: int, tall: float, broad: float) -> tuple[float, int]:
    """How large a picture gets in a grid, and, for grids that are alike in that, how few cells stay empty."""
    columns = -(-count // rows)
    return round(min(tall / rows, broad / columns), 6), count - rows * columns
