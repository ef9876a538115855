"""A plot that is rendered unseen, into a picture, and only when somebody asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph
from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPixmap, QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_mvfusion.gui.widgets.plots import BarePlot

_LEFT_PIXELS = 44
_MANY_DECADES = 1.5
_OVERHANG_PIXELS = 4


@dataclass(frozen=True, eq=False)
class Line:
    """A curve.

    Attributes
    ----------
    x, y : the points, the same number of each
    colour : as Qt reads it
    dashed, dots : whether the line is interrupted, and whether each point has a dot
    """

    x: np.ndarray
    y: np.ndarray
    colour: str
    dashed: bool = False
    dots: bool = False


class Plot(QWidget):
    """A picture of a plot of pyqtgraph, which is hidden: in sight, it has the window drawn four times for each change.

    Points and picture are made apart, so that the window can answer between them: `outdated` asks for `render_picture`,
    which makes the picture, and `update` shows it.

    Parameters
    ----------
    height : pixels at least
    label : of the axis below
    logarithmic : whether the values are decimal logarithms
    """

    outdated = Signal()

    def __init__(self, height: int, label: str, *, logarithmic: bool) -> None:
        super().__init__()
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._picture: QPixmap | None = None
        self._fresh = False
        self._logarithmic = logarithmic
        self._view = BarePlot(label, top=2, bottom=_OVERHANG_PIXELS, mouse=False, parent=self)
        self._view.hide()
        # Else it keeps the background of the theme that it was made in.
        self._view.setStyleSheet("background: transparent; border: none;")
        self._view.axes["left"].setWidth(_LEFT_PIXELS)
        self._curves: list[pyqtgraph.PlotCurveItem] = []
        self._dots: list[pyqtgraph.ScatterPlotItem] = []

    def draw(self, lines: Sequence[Line]) -> None:
        """Take other points; the picture stays as it was. Curves are kept, which is quicker than new ones."""
        self._fresh = False
        dotted = [line for line in lines if line.dots]
        _as_many(self._curves, len(lines), self._view.box, pyqtgraph.PlotCurveItem)
        _as_many(self._dots, len(dotted), self._view.box, _dots)
        for curve, line in zip(self._curves, lines, strict=True):
            style = Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine
            pen = pyqtgraph.mkPen(QColor(line.colour), width=2, style=style)
            curve.setData(line.x, line.y, pen=pen, connect="finite")
        for dots, line in zip(self._dots, dotted, strict=True):
            dots.setData(line.x, line.y, brush=QColor(line.colour))
        if lines:
            self._view.box.autoRange(padding=0.05)
            if self._logarithmic:
                self._view.axes["left"].setTicks([_ticks(np.concatenate([line.y for line in lines]))])

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari."""
        self._view.set_theme(name)
        self._fresh = False
        self.update()

    def render_picture(self) -> None:
        """Make the picture for the next `update`, if the plot is seen; `grab` would lay out the window."""
        if not self.isVisible() or self._fits():
            return
        if self._view.size() != self.size():
            self._view.resize(self.size())
            self._view.viewport().resize(self.size())
            # Hidden, it is not told of its size.
            self._view.resizeEvent(QResizeEvent(self.size(), self.size()))
        self._view.ci.layout.activate()
        picture = QPixmap(self.size() * self.devicePixelRatio())
        picture.setDevicePixelRatio(self.devicePixelRatio())
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        self._view.render(painter, QRectF(self.rect()), self.rect())
        painter.end()
        self._picture, self._fresh = picture, True

    def paintEvent(self, event: QPaintEvent) -> None:
        """Show the picture, stretched until there is one of the right size."""
        del event
        if self._picture is not None:
            QPainter(self).drawPixmap(self.rect(), self._picture)
        if not self._fits():
            self.outdated.emit()

    def _fits(self) -> bool:
        return self._fresh and self._view.size() == self.size()


def _as_many(items: list[Any], count: int, box: pyqtgraph.ViewBox, make: Callable[[], Any]) -> None:
    """Take items away or add some."""
    while len(items) > count:
        box.removeItem(items.pop())
    while len(items) < count:
        items.append(make())
        box.addItem(items[-1])


def _dots() -> pyqtgraph.ScatterPlotItem:
    return pyqtgraph.ScatterPlotItem(size=5, pen=None)


def _ticks(logarithms: np.ndarray) -> list[tuple[float, str]]:
    """Places and words of a logarithmic axis: 1, 2 and 5 of every decade, or 1 alone where there are many."""
    low, high = float(logarithms.min()), float(logarithms.max())
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < _MANY_DECADES else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return [(math.log10(value), f"{value:g}") for value in values]
