"""Which part of the views is trained on: chosen automatically, all of it, or a box that is drawn in the viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import same_place
from napari_mvfusion.gui.widgets.forms import Form, Number, Words
from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.training.config import DataSettings

_NAME = "Training box"
_AUTO, _WHOLE, _BOX = "auto", "whole", "box"
_CHOICES = [("Informative blocks", _AUTO), ("The whole volume", _WHOLE), ("A box that I draw", _BOX)]
_TIPS = {
    _AUTO: "Of large volumes up to 8 blocks where there is most to see, and small ones whole: memory and time stay small.",
    _WHOLE: "All of it is held in memory. For volumes that are small, or that differ from place to place.",
    _BOX: "Draw a rectangle over the views; it is taken as deep as you say.",
}
_ALL = "all"
_SPATIAL = 3


class RegionForm(QWidget):
    """A choice of the region; the box is a shapes layer that goes when another choice is made.

    Parameters
    ----------
    viewer : gets the layer
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._shapes: Shapes | None = None
        self._first: Image | None = None
        tip = "Voxels across the plane that you drew in, about that plane"
        self._form = Form(
            [
                Words(_CHOICES, name="region", label="Region"),
                Number(
                    0, 100000, 0, name="depth", label="Depth (voxels)", tooltip=tip, value=_ALL, bounds={"word": _ALL}
                ),
            ]
        )
        self._words = text_label("region_words")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._form)
        layout.addWidget(self._words)
        self._form["region"].changed.connect(self._choose)
        self._form["depth"].changed.connect(self._tell)
        viewer.layers.events.removed.connect(self._notice_removal)
        self._describe()

    def follow(self, first: Image | None) -> None:
        """Say which layer's voxels are those of the fused volume; None where the views come from files."""
        self._first = first
        if self._chosen == _BOX and first is not None and self._shapes is None:
            self._add_layer(first)
        self._describe()

    def settings(self, shape: Triple | None) -> DataSettings:
        """What is chosen, for the configuration of a run.

        Parameters
        ----------
        shape : (z, y, x) of the volume; None where the views come from files

        Raises
        ------
        InputError
            If no box is drawn, or there is no volume to draw one in.
        """
        if self._chosen == _AUTO:
            return DataSettings()
        if self._chosen == _WHOLE:
            return DataSettings(whole_below=2**53)
        if self._first is None or shape is None:
            raise InputError("a box can be drawn only in opened layers: choose another region, or learn from layers")
        box = None if self._shapes is None else drawn_box(self._shapes, self._first, shape, self._deep)
        if box is None:
            raise InputError("no box is drawn: draw a rectangle over the views")
        return DataSettings(start=box.start, stop=box.stop)

    def close_down(self) -> None:
        """Take the box away: the panel is closed."""
        self._viewer.layers.events.removed.disconnect(self._notice_removal)
        self._drop()

    @property
    def _chosen(self) -> str:
        return str(self._form["region"].value)

    @property
    def _deep(self) -> int | None:
        value = self._form["depth"].value
        return None if value == _ALL else int(value)

    def _tell(self, _: object = None) -> None:
        self.changed.emit()

    def _choose(self, _: object = None) -> None:
        if self._chosen == _BOX and self._first is not None:
            self._add_layer(self._first)
        elif self._chosen != _BOX:
            self._drop()
        self._describe()
        self.changed.emit()

    def _add_layer(self, first: Image) -> None:
        self._shapes = self._viewer.add_shapes(
            ndim=first.ndim, name=_NAME, edge_color="yellow", face_color="transparent", **same_place(first)
        )
        self._shapes.mode = "add_rectangle"
        self._shapes.events.set_data.connect(self._redrawn)

    def _drop(self) -> None:
        layer, self._shapes = self._shapes, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _redrawn(self, event: Any = None) -> None:
        del event
        self._describe()
        self.changed.emit()

    def _notice_removal(self, event: Any) -> None:
        """The user took the box away: that is another choice."""
        if self._shapes is not None and event.value == self._shapes:
            self._shapes = None
            self._form["region"].value = _AUTO

    def _describe(self) -> None:
        self._form.show_field("depth", self._chosen == _BOX)
        words = _TIPS[self._chosen]
        if self._shapes is not None and self._first is not None:
            shape = triple(self._first.level_shapes[0][-_SPATIAL:])
            box = drawn_box(self._shapes, self._first, shape, self._deep)
            if box is not None:
                words = f"{' × '.join(str(n) for n in box.shape)} voxels from ({', '.join(map(str, box.start))})"
        self._words.setText(words)


def drawn_box(shapes: Shapes, layer: Image, shape: Triple, depth: int | None) -> Box | None:
    """The voxels of a layer inside the last rectangle that was drawn; None while there is none.

    Parameters
    ----------
    shapes : where it was drawn
    layer : its voxels count
    shape : of its volume, (z, y, x)
    depth : voxels across the plane of the rectangle, None for all
    """
    if not len(shapes.data):
        return None
    corners = np.array(
        [
            np.asarray(layer.world_to_data(np.asarray(shapes.data_to_world(vertex))[-layer.ndim :]), float)[-_SPATIAL:]
            for vertex in shapes.data[-1]
        ]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    flat = int(np.argmin(high - low))
    middle, deep = (low[flat] + high[flat]) / 2, shape[flat] if depth is None else depth
    low[flat], high[flat] = (0, shape[flat]) if depth is None else (middle - deep / 2, middle + deep / 2)
    start = [int(np.clip(round(float(a)), 0, n - 1)) for a, n in zip(low, shape, strict=True)]
    stop = [int(np.clip(round(float(b)), a + 1, n)) for a, b, n in zip(start, high, shape, strict=True)]
    return Box(triple(start), triple(stop))
