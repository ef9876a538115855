"""Two layers in turns at one place: differences catch the eye."""

from __future__ import annotations

from collections.abc import Generator

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

KEY = "K"
_TAP_MS = 350


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
        for layer in self._viewer.layers:
            if isinstance(layer, Image):
                layer.visible = layer is a
        for layer in self._pair:
            layer.colormap = "gray"
            layer.blending = "translucent_no_depth"
            layer.name_overlay.visible = True
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
