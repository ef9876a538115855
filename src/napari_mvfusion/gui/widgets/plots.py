"""Curves: a plot for them, and colours that are told from one another."""

from __future__ import annotations

import pyqtgraph
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

# With a contrast of 3 and more on napari's dark and on its light background.
GREY, PINK, OLIVE = "#7c7c7c", "#d34397", "#788413"
TEAL, ORANGE, BLUE = "#078a8a", "#c8690b", "#117ed7"
RED, GREEN, VIOLET = "#e03a27", "#198f4c", "#a354d4"
CURVES = (GREY, PINK, OLIVE, TEAL, ORANGE, BLUE, RED, GREEN, VIOLET)

_GRID_ALPHA = 40


class BarePlot(pyqtgraph.GraphicsLayoutWidget):
    """A box for curves with an axis on its left and one below, in the colours of a theme.

    It is made of parts of pyqtgraph's own plot, which comes with menus that outlive it.

    Parameters
    ----------
    label : of the axis below
    top, bottom : pixels between the edge and the plot; the label of the axis hangs over its edge
    mouse : whether the mouse moves the box

    Attributes
    ----------
    box : holds the curves
    axes : "left" and "bottom"
    """

    def __init__(self, label: str, *, top: int, bottom: int, mouse: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setBackground(None)
        self.setAccessibleName(f"Plot over {label}")
        self.box = pyqtgraph.ViewBox(enableMenu=False, enableMouse=mouse)
        self.axes = {side: pyqtgraph.AxisItem(side) for side in ("left", "bottom")}
        for axis in self.axes.values():
            axis.linkToView(self.box)
        self.axes["left"].setGrid(_GRID_ALPHA)
        self.axes["bottom"].setLabel(label)
        self.addItem(self.axes["left"], 0, 0)
        self.addItem(self.box, 0, 1)
        self.addItem(self.axes["bottom"], 1, 1)
        self.ci.layout.setContentsMargins(0, top, 4, bottom)
        self.ci.layout.setSpacing(0)

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari for axes and text."""
        text = QColor(*(int(part) for part in get_theme(name).text.as_rgb_tuple()[:3]))
        for axis in self.axes.values():
            axis.setPen(text)
            axis.setTextPen(text)
