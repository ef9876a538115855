"""Notice what happens to the layers of a viewer: added, removed, moved, renamed, changed."""

from __future__ import annotations

from typing import Any

from napari.components import LayerList
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

_LIST_EVENTS = ("inserted", "removed", "reordered")
_LAYER_EVENTS = ("name", "metadata", "data", "scale", "translate", "rotate", "shear", "affine", "units")


class LayerFollower(QObject):
    """Follows all image layers, until it is told to let go.

    Signals: `listed` tells that there are other layers, or in another order; `changed` gives the event of a layer whose
    name, notes, pixels or place are not what they were.

    Parameters
    ----------
    layers : of the viewer
    """

    listed = Signal()
    changed = Signal(object)

    def __init__(self, layers: LayerList, parent: QObject) -> None:
        super().__init__(parent)
        self._layers = layers
        self._followed: list[Image] = []
        for name in _LIST_EVENTS:
            getattr(layers.events, name).connect(self._notice)
        self._follow([layer for layer in layers if isinstance(layer, Image)])

    def close_down(self) -> None:
        """Follow nothing any more."""
        for name in _LIST_EVENTS:
            getattr(self._layers.events, name).disconnect(self._notice)
        self._follow([])

    def _notice(self, event: Any = None) -> None:
        del event
        self._follow([layer for layer in self._layers if isinstance(layer, Image)])
        self.listed.emit()

    def _follow(self, now: list[Image]) -> None:
        for layer in self._followed:
            if layer not in now:
                self._connect(layer, on=False)
        for layer in now:
            if layer not in self._followed:
                self._connect(layer, on=True)
        self._followed = now

    def _connect(self, layer: Image, *, on: bool) -> None:
        for name in _LAYER_EVENTS:
            emitter = getattr(layer.events, name)
            (emitter.connect if on else emitter.disconnect)(self._tell)

    def _tell(self, event: Any) -> None:
        self.changed.emit(event)
