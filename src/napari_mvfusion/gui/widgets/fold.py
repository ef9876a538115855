"""A part of a panel that is folded away under its title."""

from __future__ import annotations

from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QSizePolicy, QWidget
from superqt import QCollapsible

_FOLDED, _UNFOLDED = "▸", "▾"


class Fold(QCollapsible):
    """superqt's, as high as what it holds at any time; what is folded is no stop for the Tab key.

    Parameters
    ----------
    title : on the button
    name : of the button, for the program
    content : what is folded
    """

    def __init__(self, title: str, name: str, content: QWidget) -> None:
        # Its arrows are pictures, in a colour that cannot be seen in every theme: these are letters.
        super().__init__(title, expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title = title
        self._most_pixels = content.maximumHeight()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setDuration(0)
        empty = self.content()
        self.setContent(content)
        empty.deleteLater()
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(2)
        self.toggleButton().setObjectName(name)
        self.toggleButton().setStyleSheet("text-align: left; border: none; background: transparent;")
        self.toggled.connect(self._show_content)
        self._show_content(False)

    def _show_content(self, on: bool) -> None:
        self.setText(f"{_UNFOLDED if on else _FOLDED} {self._title}")
        # It folds by height alone, and forgets that what it holds may grow.
        self.content().setMaximumHeight(self._most_pixels)
        self.content().setVisible(on)
