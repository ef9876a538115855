"""The dock that napari puts a panel into: a tab beside the other panels; its cross asks while a run is going on."""

from __future__ import annotations

from typing import Protocol

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QMessageBox, QPushButton, QWidget

_CLOSE = "QTitleBarCloseButton"
_MARK = "mvfusion_panel"


class Docked(Protocol):
    """What a dock asks of its panel."""

    title: str

    @property
    def going_on(self) -> str:
        """What closing would stop, as the subject of a sentence, or ""."""


class Dock(QObject):
    """Looks after the dock of one panel for as long as the panel is in it.

    Parameters
    ----------
    panel : a widget that is `Docked`, in the dock
    dock : napari's
    """

    def __init__(self, panel: QWidget, dock: QDockWidget) -> None:
        super().__init__(panel)
        self._panel: QWidget | Docked = panel
        self.widget = dock
        self._front = False
        self._placed = False
        dock.setProperty(_MARK, True)
        # Qt takes a single ampersand of a tab for a shortcut.
        dock.setWindowTitle(panel.title.replace("&", "&&"))
        dock.dockLocationChanged.connect(self._place)
        dock.topLevelChanged.connect(self._take_cross)
        dock.visibilityChanged.connect(self._note_front)
        dock.installEventFilter(self)
        self._take_cross()

    def leave(self) -> None:
        """The panel is taken out of the dock, which goes."""
        self.widget.removeEventFilter(self)
        for signal, slot in (
            (self.widget.dockLocationChanged, self._place),
            (self.widget.topLevelChanged, self._take_cross),
            (self.widget.visibilityChanged, self._note_front),
        ):
            signal.disconnect(slot)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """A menu entry that would hide a panel behind another one brings it to the front instead."""
        # A dock that is being destroyed hides too.
        if event.type() == QEvent.Type.Hide and isalive(self.widget) and self.widget.isHidden() and self._behind:
            QTimer.singleShot(0, self._come_to_front)
        return bool(super().eventFilter(watched, event))

    def _place(self, area: object = None) -> None:
        """Join the other panels, the first time that the dock has a place."""
        del area
        self._take_cross()
        window = self.widget.parentWidget()
        if self._placed or not isinstance(window, QMainWindow) or self.widget.isFloating():
            return
        self._placed = True
        others = self._others()
        if others:
            window.tabifyDockWidget(others[-1], self.widget)
        # Once napari has set the heights of docks that stand above one another.
        QTimer.singleShot(0, self._come_to_front)

    def _others(self) -> list[QDockWidget]:
        """Docks of other panels that are neither floating nor closed; at the side where this one is, if any."""
        window = self.widget.parentWidget()
        if not isinstance(window, QMainWindow):
            return []
        docks = [dock for dock in window.findChildren(QDockWidget) if dock.property(_MARK) and dock is not self.widget]
        return [dock for dock in docks if dock.widget() is not None and not dock.isFloating() and not dock.isHidden()]

    @property
    def _behind(self) -> bool:
        """Whether another tab is seen instead."""
        return self._placed and not self._front and bool(self._others())

    def _come_to_front(self) -> None:
        self.widget.show()
        self.widget.raise_()

    def _note_front(self, front: bool) -> None:
        self._front = front

    def _take_cross(self, floating: object = None) -> None:
        """Let the cross of the title bar ask first; napari makes a new title bar for each place."""
        del floating
        cross = self.widget.findChild(QPushButton, _CLOSE)
        if cross is not None and not cross.property(_MARK):
            cross.setProperty(_MARK, True)
            cross.clicked.disconnect()
            cross.clicked.connect(self._ask)

    def _ask(self) -> None:
        going_on = self._panel.going_on
        if not going_on:
            self.widget.destroyOnClose()
            return
        question = QMessageBox(self.widget.window())
        question.setObjectName("close_question")
        question.setIcon(QMessageBox.Icon.Question)
        question.setWindowTitle("Close the panel?")
        question.setText(f"{going_on} is going on.")
        question.setInformativeText(
            "It can go on without its panel, which then opens again from the Plugins menu, or stop and keep what is done."
        )
        keep = question.addButton("Keep it running", QMessageBox.ButtonRole.AcceptRole)
        stop = question.addButton("Stop and keep what is done", QMessageBox.ButtonRole.DestructiveRole)
        question.addButton("Do not close", QMessageBox.ButtonRole.RejectRole)
        question.setDefaultButton(keep)
        keep.clicked.connect(self.widget.hide)
        stop.clicked.connect(self.widget.destroyOnClose)
        question.finished.connect(question.deleteLater)
        question.open()
