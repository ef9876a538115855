"""A plot of values along a line that looks right in dark and in light themes; it knows no volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.gui.widgets.plots import BarePlot

_AXIS_PIXELS = 42
_OVERHANG_PIXELS = 6


class ProfilePlot(QWidget):
    """Curves over distance, and under them a legend that wraps."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._plot = BarePlot("distance along the line (µm)", top=4, bottom=_OVERHANG_PIXELS, mouse=True)
        self._plot.setObjectName("plot")
        self._plot.setMinimumHeight(150)
        self._plot.axes["bottom"].setHeight(_AXIS_PIXELS)
        self._legend = text_label("legend")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot, 1)
        layout.addWidget(self._legend)

    def show_curves(
        self, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], colours: Sequence[str], value_label: str
    ) -> None:
        """Draw curves, each distances in micrometres and values, in place of those before."""
        self._plot.box.clear()
        self._plot.axes["left"].setLabel(value_label)
        for (distance, values), colour in zip(curves.values(), colours, strict=True):
            pen = pyqtgraph.mkPen(QColor(colour), width=2)
            self._plot.box.addItem(pyqtgraph.PlotCurveItem(distance, values, pen=pen, connect="finite", antialias=True))
        self._plot.box.autoRange(padding=0.03)
        words = [
            f'<span style="color:{colour}; white-space:nowrap;"><b>━━</b></span>&nbsp;{_plain(name)}'
            for name, colour in zip(curves, colours, strict=True)
        ]
        self._legend.setText(" &nbsp; ".join(words))

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari for axes and text."""
        self._plot.set_theme(name)


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(" ", "&nbsp;")
