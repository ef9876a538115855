"""The curves of a training run: the parts of the loss, and below them the residual with the noise floor."""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph
from napari.utils.theme import get_theme
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPixmap, QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_mvfusion.gui.finetune.history import History

_COLOURS = {
    "cycle": "#2f9be0",
    "gradient": "#e08e1b",
    "cycle of sharp volumes": "#12a5a5",
    "adversarial": "#d6559e",
    "discriminator": "#b06be0",
    "again": "#8c8c8c",
}
_SPARE, _FLOOR = "#8f9a1e", "#e0503c"
_FIGURES = {"residual": ("#23a566", "residual"), "unexplained": ("#b06be0", "structure missed")}
_WORDS = {
    "cycle": "fit to the views",
    "gradient": "roughness",
    "cycle of sharp volumes": "fit to the sharp volumes",
    "adversarial": "unlike sharp volumes",
    "discriminator": "judge of sharpness",
    "again": "own results found again",
}
_TIPS = (
    "<qt><b>fit to the views</b> (cycle): what is generated, blurred with each PSF, against the views.<br>"
    "<b>roughness</b> (gradient): holds noise down.<br>"
    "<b>own results found again</b> (again): what the start gives, recorded anew with noise.<br>"
    "<b>unlike sharp volumes</b> (adversarial): only with sharp volumes.<br>All are smaller the better; the scale is "
    "logarithmic.</qt>"
)
_RESIDUAL_TIP = (
    "<qt>Measured on tiles that are never trained on, in units of the noise that is expected.<br><b>residual</b>: what the "
    "result leaves of the views. 1, the dashed line, is the noise alone: higher misses structure, lower learned noise.<br>"
    "<b>structure missed</b>: the same without the noise; 0 is best, and it decides which weights are kept.</qt>"
)
_LEFT_PIXELS = 44
_LEAST_PIXELS = 330
_MANY_DECADES = 1.5
# Opacity before the colour, as Qt reads it; and how many times its reach a smoothed curve is long.
_FAINT, _SMOOTH = "#60", 16
_LEAST = 1e-9
_GRID_ALPHA = 40
_OVERHANG_PIXELS = 4


class Curves(QWidget):
    """Two plots over one axis of steps, each with a line of words about its colours."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._losses = _Plot(150, logarithmic=True)
        self._losses.setObjectName("loss_plot")
        self._losses.setToolTip(_TIPS)
        self._residual = _Plot(120, logarithmic=False)
        self._residual.setObjectName("residual_plot")
        self._residual.setToolTip(_RESIDUAL_TIP)
        self._legend = _Legend()
        self._legend.setObjectName("loss_legend")
        self._legend.setToolTip(_TIPS)
        self._about = _Legend()
        self._about.setToolTip(_RESIDUAL_TIP)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        self.setMinimumHeight(_LEAST_PIXELS)
        layout.addWidget(self._legend)
        layout.addWidget(self._losses, 3)
        layout.addWidget(self._about)
        layout.addWidget(self._residual, 2)

    def show_history(self, history: History) -> None:
        """Draw what a run has reported so far."""
        curves = {name: curve.points() for name, curve in history.losses.items()}
        logarithms = {
            name: (steps, np.log10(np.maximum(np.abs(values), _LEAST)), _COLOURS.get(name, _SPARE))
            for name, (steps, values) in curves.items()
            if len(steps)
        }
        # Every step draws other tiles: the mean over some steps shows where it goes.
        faint = [(x, y, f"{_FAINT}{colour[1:]}") for x, y, colour in logarithms.values()]
        means = [(x, _smoothed(y), colour) for x, y, colour in logarithms.values()]
        self._losses.draw([*faint, *means])
        self._legend.setText(" ".join(f"{_dash(_COLOURS.get(n, _SPARE))}&nbsp;{_plain(n)}" for n in logarithms))
        figures = {name: curve.points() for name, curve in history.figures.items()}
        self.setVisible(bool(logarithms or figures))
        ends = [
            float(steps[end])
            for steps, *_ in (*logarithms.values(), *figures.values())
            if len(steps)
            for end in (0, -1)
        ]
        self._residual.draw(
            [(steps, values, _FIGURES[name][0]) for name, (steps, values) in figures.items()],
            noise=(min(ends), max(ends)) if ends and figures else None,
            dots=True,
        )
        words = [f"{_dash(_FIGURES[name][0])}&nbsp;{_FIGURES[name][1]}" for name in figures]
        self._about.setText(" ".join([*words, f"{_dash(_FLOOR)}&nbsp;noise"]))

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari."""
        for plot in (self._losses, self._residual):
            plot.set_theme(name)


class _Legend(QLabel):
    """Coloured words that wrap; Qt draws them, and the window, again each time that it computes their height."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self._heights: dict[int, int] = {}
        self._words = ("", "")

    def heightForWidth(self, width: int) -> int:
        """Of the words as they are now; looked up where it was asked before."""
        words = (self.text(), self.font().key())
        if words != self._words:
            self._heights, self._words = {}, words
        if width not in self._heights:
            self._heights[width] = super().heightForWidth(width)
        return self._heights[width]


class _Plot(QWidget):
    """A picture of a plot of pyqtgraph, which is hidden: in sight, it has the window drawn four times for each change.

    Curves are kept and get new points, which is quicker than new curves.
    """

    def __init__(self, height: int, *, logarithmic: bool) -> None:
        super().__init__()
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._picture: QPixmap | None = None
        self._view = pyqtgraph.GraphicsLayoutWidget(self)
        self._view.hide()
        self._view.setBackground(None)
        # Else it keeps the background of the theme that it was made in.
        self._view.setStyleSheet("background: transparent; border: none;")
        self._box = pyqtgraph.ViewBox(enableMenu=False, enableMouse=False)
        self._axes = {side: pyqtgraph.AxisItem(side) for side in ("left", "bottom")}
        for axis in self._axes.values():
            axis.linkToView(self._box)
        self._axes["left"].setGrid(_GRID_ALPHA)
        self._axes["left"].setWidth(_LEFT_PIXELS)
        self._logarithmic = logarithmic
        self._axes["bottom"].setLabel("steps")
        self._view.addItem(self._axes["left"], 0, 0)
        self._view.addItem(self._box, 0, 1)
        self._view.addItem(self._axes["bottom"], 1, 1)
        self._view.ci.layout.setContentsMargins(0, 2, 4, _OVERHANG_PIXELS)
        self._view.ci.layout.setSpacing(0)
        self._items: list[pyqtgraph.PlotDataItem] = []
        self._looks: list[tuple[str, Qt.PenStyle]] = []

    def draw(
        self,
        curves: list[tuple[np.ndarray, np.ndarray, str]],
        *,
        noise: tuple[float, float] | None = None,
        dots: bool = False,
    ) -> None:
        """Draw curves (steps, values, colour), and the noise between two steps."""
        wanted = [(x, y, colour, Qt.PenStyle.SolidLine) for x, y, colour in curves]
        if noise is not None:
            wanted.append((np.array(noise), np.ones(2), _FLOOR, Qt.PenStyle.DashLine))
        while len(self._items) > len(wanted):
            self._box.removeItem(self._items.pop())
            self._looks.pop()
        while len(self._items) < len(wanted):
            item = pyqtgraph.PlotDataItem(connect="finite")
            self._box.addItem(item)
            self._items.append(item)
            self._looks.append(("", Qt.PenStyle.NoPen))
        for number, (x, y, colour, style) in enumerate(wanted):
            item = self._items[number]
            # Whatever is set draws the curve again.
            if self._looks[number] != (colour, style):
                self._looks[number] = (colour, style)
                self._paint(item, colour, style, dots=dots)
            item.setData(x, y)
        if curves:
            self._box.autoRange(padding=0.05)
        if curves and self._logarithmic:
            self._axes["left"].setTicks([_ticks(np.concatenate([y for _, y, _ in curves]))])
        self._show_anew()

    def _show_anew(self) -> None:
        self._picture = None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the plot anew where it or the size has changed."""
        del event
        if self._picture is None or self._view.size() != self.size():
            self._picture = self._rendered()
        QPainter(self).drawPixmap(0, 0, self._picture)

    def _rendered(self) -> QPixmap:
        """Without `grab`, which lays out the whole window."""
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
        return picture

    @staticmethod
    def _paint(item: pyqtgraph.PlotDataItem, colour: str, style: Qt.PenStyle, *, dots: bool) -> None:
        item.setPen(pyqtgraph.mkPen(QColor(colour), width=2, style=style))
        marked = dots and style == Qt.PenStyle.SolidLine
        item.setSymbol("o" if marked else None)
        if marked:
            item.setSymbolSize(5)
            item.setSymbolBrush(QColor(colour))
            item.setSymbolPen(None)

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari."""
        text = QColor(*(int(part) for part in get_theme(name).text.as_rgb_tuple()[:3]))
        for axis in self._axes.values():
            axis.setPen(text)
            axis.setTextPen(text)
        self._show_anew()


def _ticks(logarithms: np.ndarray) -> list[tuple[float, str]]:
    """Places and words of a logarithmic axis: 1, 2 and 5 of every decade, or 1 alone where there are many."""
    low, high = float(logarithms.min()), float(logarithms.max())
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < _MANY_DECADES else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return [(math.log10(value), f"{value:g}") for value in values]


def _smoothed(values: np.ndarray) -> np.ndarray:
    """The mean over some values before each and after it."""
    reach = len(values) // _SMOOTH
    if reach == 0:
        return values
    sums = np.cumsum(np.insert(values, 0, 0.0))
    places = np.arange(len(values))
    low, high = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _plain(name: str) -> str:
    return _WORDS.get(name, name).replace(" ", "&nbsp;")


def _dash(colour: str) -> str:
    return f'<span style="color:{colour};"><b>━━</b></span>'
