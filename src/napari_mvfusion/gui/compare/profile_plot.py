"""A plot of values along a line that looks right in dark and in light themes; it knows no volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

# Of middle brightness, so that they can be told apart and read on black and on white.
COLOURS = ("#8c8c8c", "#d6559e", "#8f9a1e", "#12a5a5", "#e08e1b", "#2f9be0", "#e0503c", "#23a566", "#b06be0")
_AXIS_PIXELS = 42
_OVERHANG_PIXELS = 6
_GRID_ALPHA = 40


class ProfilePlot(QWidget):
    """Curves over distance, and under them a legend that wraps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # A plot of its own parts: pyqtgraph's complete one comes with menus that outlive it.
        self._plot = pyqtgraph.GraphicsLayoutWidget()
        self._plot.setObjectName("plot")
        self._plot.setBackground(None)
        self._plot.setMinimumHeight(150)
        self._box = pyqtgraph.ViewBox(enableMenu=False)
        self._axes = {side: pyqtgraph.AxisItem(side) for side in ("left", "bottom")}
        for axis in self._axes.values():
            axis.linkToView(self._box)
        self._axes["left"].setGrid(_GRID_ALPHA)
        self._axes["bottom"].setLabel("distance along the line (µm)")
        self._axes["bottom"].setHeight(_AXIS_PIXELS)
        self._plot.addItem(self._axes["left"], 0, 0)
        self._plot.addItem(self._box, 0, 1)
        self._plot.addItem(self._axes["bottom"], 1, 1)
        # The label of the axis hangs over its edge.
        self._plot.ci.layout.setContentsMargins(0, 4, 4, _OVERHANG_PIXELS)
        self._plot.ci.layout.setSpacing(0)
        self._legend = QLabel()
        self._legend.setObjectName("legend")
        self._legend.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot, 1)
        layout.addWidget(self._legend)

    def show_curves(
        self, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], colours: Sequence[str], value_label: str
    ) -> None:
        """Draw curves, each distances in micrometres and values, in place of those before."""
        self._box.clear()
        self._axes["left"].setLabel(value_label)
        for (distance, values), colour in zip(curves.values(), colours, strict=True):
            pen = pyqtgraph.mkPen(QColor(colour), width=2)
            self._box.addItem(pyqtgraph.PlotCurveItem(distance, values, pen=pen, connect="finite", antialias=True))
        self._box.autoRange(padding=0.03)
        words = [
            f'<span style="color:{colour}; white-space:nowrap;"><b>━━</b></span>&nbsp;{_plain(name)}'
            for name, colour in zip(curves, colours, strict=True)
        ]
        self._legend.setText(" &nbsp; ".join(words))

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari for axes and text."""
        theme = get_theme(name)
        text = QColor(*(int(part) for part in theme.text.as_rgb_tuple()[:3]))
        for axis in self._axes.values():
            axis.setPen(text)
            axis.setTextPen(text)


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(" ", "&nbsp;")
