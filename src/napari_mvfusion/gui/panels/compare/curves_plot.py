"""Curves of several volumes in one plot, each in its colour, for dark and light themes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import pyqtgraph
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.gui.widgets.plots import GREY, BarePlot

_AXIS_PIXELS = 42
_OVERHANG_PIXELS = 6
# Smooth edges of more points than that would hold the window for more than 50 ms.
_SMOOTH_POINTS = 1500


class PlottedCurve(NamedTuple):
    """A curve: what it is called, its colour, and values over what lies along the axis below."""

    name: str
    colour: str
    along: np.ndarray
    values: np.ndarray


class CurvesPlot(QWidget):
    """Curves, and under them a legend that wraps.

    Parameters
    ----------
    label : of the axis below
    level : where a thin line lies across, or None
    """

    def __init__(self, label: str, level: float | None = None) -> None:
        super().__init__()
        self._level = level
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._plot = BarePlot(label, top=4, bottom=_OVERHANG_PIXELS, mouse=True)
        self._plot.setObjectName("plot")
        self._plot.setMinimumHeight(150)
        # As high as there is room: the height that pyqtgraph would like has to be scrolled in a small window.
        self._plot.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._plot.axes["bottom"].setHeight(_AXIS_PIXELS)
        # Units are written out: thousandths of them would be something else.
        self._plot.axes["bottom"].enableAutoSIPrefix(False)
        self._legend = text_label("legend")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot, 1)
        layout.addWidget(self._legend)

    def show_curves(self, curves: Sequence[PlottedCurve], value_label: str, label: str | None = None) -> None:
        """Draw curves in place of those before; `label` is another one of the axis below."""
        self._plot.box.clear()
        self._plot.axes["left"].setLabel(value_label)
        if label is not None:
            self._plot.axes["bottom"].setLabel(label)
        smooth = sum(curve.values.size for curve in curves) <= _SMOOTH_POINTS
        for curve in curves:
            pen = pyqtgraph.mkPen(QColor(curve.colour), width=2)
            self._plot.box.addItem(
                pyqtgraph.PlotCurveItem(curve.along, curve.values, pen=pen, connect="finite", antialias=smooth)
            )
        if self._level is not None and curves:
            ends = [min(curve.along[0] for curve in curves), max(curve.along[-1] for curve in curves)]
            line = pyqtgraph.mkPen(QColor(GREY), width=1, style=Qt.PenStyle.DashLine)
            self._plot.box.addItem(pyqtgraph.PlotCurveItem(ends, [self._level] * 2, pen=line))
        self._plot.box.autoRange(padding=0.03)
        words = [
            f'<span style="color:{curve.colour}; white-space:nowrap;"><b>━━</b></span>&nbsp;'
            + escape(curve.name, quote=False).replace(" ", "&nbsp;")
            for curve in curves
        ]
        self._legend.setText(" &nbsp; ".join(words))

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari for axes and text."""
        self._plot.set_theme(name)
