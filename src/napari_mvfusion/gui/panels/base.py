"""What all panels have in common: how they are laid out, what they say and remember, and how they close."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import napari.viewer
from qtpy.QtCore import QEvent, QObject, QSize
from qtpy.QtWidgets import QDockWidget, QLayout, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.settings import keep, last_used
from napari_mvfusion.gui.widgets.docking import Dock
from napari_mvfusion.gui.widgets.later import Later
from napari_mvfusion.gui.widgets.scrolled import scrolled
from napari_mvfusion.gui.widgets.tab_order import neighbour

_WIDTH = 390

Part: TypeAlias = QWidget | QLayout


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
        layout = QVBoxLayout(self)
        for part in above:
            _put(layout, part)
        area = scrolled(body) if scrolls else None
        layout.addWidget(area or body, 1)
        # Where the body is hidden the rest stays where it is.
        layout.addStretch()
        for part in (*actions, self.status):
            _put(layout, part)
        return area

    def say(self, kind: str, text: str) -> None:
        """Say something in place of what was said before."""
        self.status.clear()
        self.status.say(kind, text)

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


def _put(layout: QVBoxLayout, part: Part) -> None:
    if isinstance(part, QWidget):
        layout.addWidget(part)
    else:
        layout.addLayout(part)
