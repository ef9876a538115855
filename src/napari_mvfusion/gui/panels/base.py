"""What all panels have in common: how they are laid out and docked, what they say and remember, and how they close."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import napari.viewer
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDockWidget, QMainWindow, QMenu, QMessageBox, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.opened import transmitted_in_memory, weighed_in_memory
from napari_mvfusion.gui.settings import keep, last_used
from napari_mvfusion.gui.widgets.inputs import wrapped
from napari_mvfusion.gui.widgets.layout import Part, fill, neighbour, scrolled
from napari_mvfusion.gui.widgets.waiting import Later

_WIDTH = 390
NOT_IN_FILES = (
    "the views, as they are now, cannot be opened from files elsewhere: press Save views… in Views & PSFs, which writes "
    "them with their PSFs"
)


def not_in_files(layers: Sequence[Image]) -> str:
    """Why no command opens the views of these layers as they are now, and what helps."""
    return no_file_holds(layers) or NOT_IN_FILES


def no_file_holds(layers: Sequence[Image]) -> str:
    """What is to be said of views whose weights or transmission are in no file; "" where there are none."""
    if weighed := weighed_in_memory(layers):
        count = "counts" if len(weighed) == 1 else "count"
        return (
            f"how much {_named(weighed)} {count} is in no file with the voxels of the view: save that layer as a file, open "
            "it, and choose it in Field > Counts"
        )
    if given := transmitted_in_memory(layers):
        return (
            f"the transmission that was given for {_named(given)} is in no file: save that layer as a file, open it, and "
            "choose it in Field > Lost light"
        )
    return ""


def _named(layers: Sequence[Image]) -> str:
    return " and ".join(f"'{layer.name}'" for layer in layers)


# What napari calls the cross of a dock, and what marks our docks and their crosses.
_CLOSE, _MARK = "QTitleBarCloseButton", "mvfusion_panel"


class Panel(QWidget):
    """A panel of the plugin: what scrolls, below it the actions, and at the bottom the status.

    In a dock of a main window it becomes a tab beside the panels that are there already, whichever way it was opened.

    Attributes
    ----------
    title : on its tab
    name : under which its settings are remembered
    viewer : whose layers it is about
    status : messages, progress and details

    Parameters
    ----------
    viewer : the viewer
    """

    title = ""
    name = ""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.status = Status()
        self._dock: Dock | None = None
        self._closed = self._moving = False
        viewer.layers.events.removed.connect(self._forget)

    @property
    def going_on(self) -> str:
        """What closing the panel would stop, as the subject of a sentence; empty where it stops nothing of worth."""
        return ""

    def lay_out(self, body: QWidget, *actions: Part, above: Iterable[Part] = (), scrolls: bool = True) -> Any:
        """Put the parts where those of all panels are; called once.

        Parameters
        ----------
        body : takes the room there is
        actions : always in sight below it
        above : always in sight above it
        scrolls : False where the body does so by itself

        Returns
        -------
        The area that scrolls, None where it was not made here.
        """
        area = scrolled(body) if scrolls else None
        # Where the body is hidden the rest stays where it is.
        fill(QVBoxLayout(self), (*above, (area or body, 1), None, *actions, self.status))
        return area

    def _forget(self, event: Any) -> None:
        """What was said about a layer goes with it."""
        self.status.forget_layer(event.value)

    def say(self, kind: str, text: str) -> None:
        """Say something in place of what was said before."""
        self.status.say_instead(kind, text)

    def remembered(self) -> dict[str, Any]:
        """What `remember` was given last, in this or an earlier session."""
        return last_used(self.name)

    def remember(self, state: dict[str, Any]) -> None:
        """Keep what is entered, as JSON types."""
        keep(self.name, state)

    def sizeHint(self) -> QSize:
        """Wide enough for what the forms say; all panels have one width."""
        return QSize(_WIDTH, super().sizeHint().height())

    def close_down(self) -> None:
        """Have every part that can close down do so; a panel that has more to end does that first."""
        if self._closed:
            return
        self._closed = True
        self.viewer.layers.events.removed.disconnect(self._forget)
        # Nothing is noticed any more, and in the end nothing is due.
        parts = sorted(
            self.findChildren(QObject), key=lambda part: isinstance(part, Later) - isinstance(part, LayerFollower)
        )
        for part in parts:
            if (close := getattr(part, "close_down", None)) is not None:
                close()
        self.deleteLater()

    def leave_dock(self) -> None:
        """Come out of its dock, which goes, as it is: napari puts it into another one."""
        self._moving = True
        self.viewer.window.remove_dock_widget(self)
        self._moving = False

    def event(self, event: QEvent) -> bool:
        """Notice that napari puts the panel into a dock, and that it closes it: then it takes it out."""
        if event.type() == QEvent.Type.ParentChange:
            parent = self.parentWidget()
            if parent is None:
                if self._dock is not None:
                    self._dock.leave()
                    self._dock = None
                if not self._moving:
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


class CopyAs(QPushButton):
    """A button with a menu that copies a run to the clipboard, as a command or as Python.

    Parameters
    ----------
    write : gets "command" or "Python" and gives the text, None where it is not there yet; may raise `MVFusionError`
    say : says that it was copied, or why it could not be
    """

    tip = "Copies this run to the clipboard, to repeat it in a terminal or a notebook"

    def __init__(self, write: Callable[[str], str | None], say: Callable[[str, str], None]) -> None:
        super().__init__("Copy as…")
        self.setObjectName("copy")
        self.setToolTip(wrapped(self.tip))
        self._write, self._say = write, say
        menu = QMenu(self)
        menu.addAction("Command", lambda: self.copy("command"))
        menu.addAction("Python", lambda: self.copy("Python"))
        self.setMenu(menu)

    def copy(self, kind: str) -> None:
        """Copy it as "command" or "Python"."""
        try:
            text = self._write(kind)
        except MVFusionError as error:
            self._say("error", str(error))
            return
        if text is not None:
            QGuiApplication.clipboard().setText(text)
            self._say("done", f"Copied as {kind}.")


class Dock(QObject):
    """Looks after the dock of one panel for as long as the panel is in it; its cross asks while a run is going on.

    Parameters
    ----------
    panel : in the dock
    dock : napari's
    """

    def __init__(self, panel: Panel, dock: QDockWidget) -> None:
        super().__init__(panel)
        self._panel = panel
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
