"""The line that is drawn once and read through all volumes: a Shapes layer that stays in the slice that is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtCore import QObject, QTimer, Signal

from napari_mvfusion.gui.layers.conversion import same_place, to_world_um
from napari_mvfusion.gui.layers.notes import KEY

_NAME = "Profile"
_COLOUR = "#ff5fa2"
_WIDTH_PIXELS = 2.0


class ProfileLine(QObject):
    """Adds the layer to draw in, and says where its line runs. Only the line that was drawn last counts.

    `moved` tells that the line is new, lies elsewhere, or is gone.

    Parameters
    ----------
    viewer : gets the layer
    """

    moved = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._said: np.ndarray | None = None

    def draw(self, reference: Image) -> None:
        """Let the user draw a line; what was drawn before goes as soon as there is another one.

        Parameters
        ----------
        reference : the line lies in its voxels
        """
        if self._layer is None:
            self._layer = self._viewer.add_shapes(
                ndim=reference.ndim,
                name=_NAME,
                edge_color=_COLOUR,
                metadata={KEY: {"role": "profile"}},
                **same_place(reference),
            )
            for emitter, slot in self._events(self._layer):
                emitter.connect(slot)
        self._layer.visible = True
        self._viewer.layers.selection.active = self._layer
        self._layer.current_edge_width = self._width()
        self._layer.mode = "add_line"

    def ends(self) -> np.ndarray | None:
        """Both ends of the line, (2, 3), world micrometres; None where there is no line."""
        voxels = self._voxels()
        if self._layer is None or voxels is None:
            return None
        matrix = to_world_um(self._layer)
        return np.asarray(voxels[[0, -1], -3:] @ matrix[:3, :3].T + matrix[:3, 3])

    def remove(self) -> None:
        """Take the layer away: the panel is closed."""
        layer = self._layer
        self._let_go()
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _events(self, layer: Shapes) -> list[tuple[Any, Any]]:
        return [
            (layer.events.data, self._notice),
            (layer.events.set_data, self._look),
            (self._viewer.dims.events.point, self._follow_slice),
            (self._viewer.scene.camera.events.zoom, self._thin),
            (self._viewer.layers.events.removed, self._miss),
        ]

    def _voxels(self) -> np.ndarray | None:
        if self._layer is None or self._layer.nshapes == 0:
            return None
        return np.asarray(self._layer.data[-1])

    def _let_go(self) -> None:
        if self._layer is not None:
            for emitter, slot in self._events(self._layer):
                emitter.disconnect(slot)
            self._layer = self._said = None

    def _miss(self, event: Any) -> None:
        if self._layer is not None and event.value == self._layer:
            self._let_go()
            self.moved.emit()

    def _notice(self, event: Any) -> None:
        if event.action == "added":
            # The layer is still busy with the mouse that draws.
            QTimer.singleShot(0, self._keep_last)
        self._look()

    def _keep_last(self) -> None:
        """One line is enough; now it can be taken by its ends."""
        if self._layer is None:
            return
        if self._layer.nshapes > 1:
            self._layer.selected_data = set(range(self._layer.nshapes - 1))
            self._layer.remove_selected()
        if self._layer.mode == "add_line":
            self._layer.mode = "direct"

    def _look(self, event: Any = None) -> None:
        """Tell when the line is another one than before."""
        del event
        ends = self.ends()
        same = ends is None if self._said is None else ends is not None and np.allclose(ends, self._said)
        if not same:
            self._said = ends
            self.moved.emit()

    def _follow_slice(self, event: Any = None) -> None:
        """Carry a line that lies in a slice along when another slice is shown."""
        del event
        voxels = self._voxels()
        if self._layer is None or voxels is None or self._viewer.dims.ndisplay == 3:
            return
        point = np.asarray(self._layer.world_to_data(self._viewer.dims.point))[-self._layer.ndim :]
        moved = voxels.copy()
        for hidden in self._viewer.dims.not_displayed:
            axis = hidden - (self._viewer.dims.ndim - self._layer.ndim)
            if axis >= 0 and np.ptp(voxels[:, axis]) < 1e-6:
                moved[:, axis] = point[axis]
        if not np.allclose(moved, voxels):
            self._layer.data = [(moved, self._layer.shape_type[-1])]

    def _thin(self, event: Any = None) -> None:
        """Keep the line as thin as on paper at any zoom."""
        del event
        if self._layer is not None and self._layer.nshapes:
            self._layer.edge_width = [self._width()] * self._layer.nshapes

    def _width(self) -> float:
        assert self._layer is not None
        size = float(np.mean(np.abs(self._layer.scale[-2:])))
        return _WIDTH_PIXELS / self._viewer.scene.camera.zoom / size
