"""Notice what happens to layers: added, removed, moved, renamed, changed."""

from __future__ import annotations

from typing import Any

from napari.components import LayerList
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.gui.layers.conversion import can_be_view

_LIST_EVENTS = ("inserted", "removed", "reordered")
_LAYER_EVENTS = ("name", "metadata", "data", "scale", "translate", "rotate", "shear", "affine", "units")


class LayerFollower(QObject):
    """Tells when a layer that can be a view changes, or when there are other layers.

    Parameters
    ----------
    layers : of the viewer
    """

    changed = Signal()

    def __init__(self, layers: LayerList, parent: QObject) -> None:
        super().__init__(parent)
        self._layers = layers
        self._followed: list[Image] = []
        for name in _LIST_EVENTS:
            getattr(layers.events, name).connect(self._notice)
        self._follow()

    @property
    def views(self) -> list[Image]:
        """The layers that can be views, in order."""
        return [layer for layer in self._layers if can_be_view(layer)]

    def detach(self) -> None:
        """Follow nothing any more."""
        for name in _LIST_EVENTS:
            getattr(self._layers.events, name).disconnect(self._notice)
        for layer in self._followed:
            self._connect(layer, on=False)
        self._followed = []

    def _notice(self, event: Any = None) -> None:
        del event
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        now = [layer for layer in self._layers if isinstance(layer, Image)]
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

    def _tell(self, event: Any = None) -> None:
        del event
        self.changed.emit()
