"""What all panels have in common: a place among the other panels, the Tab key in reading order, and how they close."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QSize
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_mvfusion.gui.widgets.docking import Dock
from napari_mvfusion.gui.widgets.tab_order import neighbour

_WIDTH = 390


class Panel(QWidget):
    """A panel of the plugin.

    In a dock of a main window it becomes a tab beside the panels that are there already, whichever way it was opened.

    Attributes
    ----------
    title : on its tab
    """

    title = ""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._dock: Dock | None = None

    @property
    def going_on(self) -> str:
        """What closing the panel would stop, as the subject of a sentence; empty where it stops nothing of worth."""
        return ""

    def sizeHint(self) -> QSize:
        """Wide enough for what the forms say; all panels have one width."""
        return QSize(_WIDTH, super().sizeHint().height())

    def close_down(self) -> None:
        """Stop what is going on; a panel that has more to end does that first."""
        self.deleteLater()

    def event(self, event: QEvent) -> bool:
        """Notice that napari puts the panel into a dock, and that it closes it: then it takes it out."""
        if event.type() == QEvent.Type.ParentChange:
            parent = self.parentWidget()
            if parent is None:
                if self._dock is not None:
                    self._dock.leave()
                    self._dock = None
                self.close_down()
            elif isinstance(parent, QDockWidget) and (self._dock is None or self._dock.widget is not parent):
                self._dock = Dock(self, parent)
        return bool(super().event(event))

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Go on with what stands next in reading order; rows that came later are no exception."""
        wanted = neighbour(self, self.window().focusWidget(), forward=forward)
        if wanted is None:
            return bool(super().focusNextPrevChild(forward))
        wanted.setFocus()
        return True
