"""A plot of values along a line that looks right in dark and in light themes; it knows no volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

# Of middle brightness, so that they can be told apart and read on black and on white.
COLOURS = ("#e08e1b", "#2f9be0", "#23a566", "#e0503c", "#b06be0", "#12a5a5", "#d6559e", "#8f9a1e", "#8c8c8c")
_AXIS_PIXELS = 42
_OVERHANG_PIXELS = 6


class ProfilePlot(QWidget):
    """Curves over distance, and under them a legend that wraps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plot = pyqtgraph.PlotWidget(enableMenu=False, background=None)
        self._plot.setObjectName("plot")
        self._plot.setMinimumHeight(150)
        self._plot.setLabel("bottom", "distance along the line (µm)")
        self._plot.showGrid(y=True, alpha=0.2)
        self._plot.getAxis("bottom").setHeight(_AXIS_PIXELS)
        # The label of the axis hangs over its edge.
        self._plot.plotItem.setContentsMargins(0, 0, 0, _OVERHANG_PIXELS)
        self._plot.hideButtons()
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
        self._plot.clear()
        self._plot.setLabel("left", value_label)
        for (distance, values), colour in zip(curves.values(), colours, strict=True):
            pen = pyqtgraph.mkPen(QColor(colour), width=2)
            self._plot.plot(distance, values, pen=pen, connect="finite", antialias=True)
        self._plot.autoRange()
        words = [
            f'<span style="color:{colour}; white-space:nowrap;"><b>━━</b></span>&nbsp;{_plain(name)}'
            for name, colour in zip(curves, colours, strict=True)
        ]
        self._legend.setText(" &nbsp; ".join(words))

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari for axes and text."""
        theme = get_theme(name)
        text = QColor(*(int(part) for part in theme.text.as_rgb_tuple()[:3]))
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(" ", "&nbsp;")
