"""The curves of a training run: the parts of the loss, and below them the residual with the noise floor.

The plots are rendered unseen, into pictures: in sight, pyqtgraph has the window drawn four times for each change.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyqtgraph
from qtpy.QtCore import QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPixmap, QResizeEvent
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_mvfusion.gui.widgets.layout import column
from napari_mvfusion.gui.widgets.plots import BLUE, GREEN, GREY, OLIVE, ORANGE, PINK, RED, TEAL, VIOLET, BarePlot
from napari_mvfusion.training.history import History, smoothed

_LOSSES = {
    "cycle": (BLUE, "fit to the views"),
    "gradient": (ORANGE, "roughness"),
    "cycle of sharp volumes": (TEAL, "resimulated sharp volumes"),
    "adversarial": (PINK, "unlike sharp volumes"),
    "discriminator": (VIOLET, "judge of sharpness"),
    "resimulated": (GREY, "resimulated results"),
}
_FIGURES = {"residual": (GREEN, "residual"), "structure_residual": (VIOLET, "structure residual")}
_SPARE, _FLOOR = OLIVE, RED
_TIPS = (
    "<qt><b>fit to the views</b> (cycle): what is generated, blurred with each PSF, against the views.<br>"
    "<b>roughness</b> (gradient): holds noise down.<br>"
    "<b>resimulated results</b> (resimulated): what the start gives, recorded in the computer, to be restored.<br>"
    "<b>resimulated sharp volumes</b>: the same with sharp volumes, where there are some.<br>"
    "<b>unlike sharp volumes</b> (adversarial): only with sharp volumes.<br>All are smaller the better; the scale is "
    "logarithmic.</qt>"
)
_RESIDUAL_TIP = (
    "<qt>Measured on tiles that are never trained on, in units of the noise that is expected.<br><b>residual</b>: what the "
    "result leaves of the views. 1, the dashed line, is the noise alone: higher misses structure, lower learned noise.<br>"
    "<b>structure residual</b>: the same without the noise; 0 is best, and it decides which weights are kept.</qt>"
)
_LEAST_PIXELS = 330
# Opacity before the colour, as Qt reads it.
_FAINT = "#60"
_LEAST = 1e-9
_LEFT_PIXELS = 44
_MANY_DECADES = 1.5
_OVERHANG_PIXELS = 4


class Curves(QWidget):
    """Two plots over one axis of steps, each with a line of words about its colours."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._losses, self._legend = Plot("loss_plot", 150, logarithmic=True), _Legend("loss_legend")
        self._residual, self._about = Plot("residual_plot", 120, logarithmic=False), _Legend("residual_legend")
        for part in (self._losses, self._legend):
            part.setToolTip(_TIPS)
        for part in (self._residual, self._about):
            part.setToolTip(_RESIDUAL_TIP)
        self.setMinimumHeight(_LEAST_PIXELS)
        column(self, self._legend, (self._losses, 3), self._about, (self._residual, 2)).setSpacing(2)
        self._turns: deque[Callable[[], None]] = deque()
        # Due whenever nothing else is.
        self._next = QTimer(self)
        self._next.timeout.connect(self._take_turn)
        for plot in (self._losses, self._residual):
            plot.outdated.connect(self._render_anew)

    def show_history(self, history: History) -> None:
        """Draw what a run has reported so far: one part in each turn of the event loop, so that the window answers."""
        losses = {name: curve.points() for name, curve in history.losses.items()}
        losses = {name: (x, np.log10(np.maximum(np.abs(y), _LEAST))) for name, (x, y) in losses.items() if len(x)}
        figures = {name: curve.points() for name, curve in history.figures.items()}
        self._turns = deque(
            [
                partial(self._losses.draw, _loss_lines(losses)),
                partial(
                    self._residual.draw, _figure_lines(figures, [x for x, _ in (*losses.values(), *figures.values())])
                ),
                partial(self._tell, list(losses), list(figures)),
                *self._pictures(),
            ]
        )
        self._next.start()

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari."""
        for plot in (self._losses, self._residual):
            plot.set_theme(name)

    def close_down(self) -> None:
        """The panel is closed."""
        self._next.stop()

    def _tell(self, losses: list[str], figures: list[str]) -> None:
        """Name what is drawn; nothing is seen without any."""
        self._legend.setText(" ".join(_entry(*_LOSSES.get(name, (_SPARE, name))) for name in losses))
        self._about.setText(" ".join([*(_entry(*_FIGURES[name]) for name in figures), _entry(_FLOOR, "noise")]))
        self.setVisible(bool(losses or figures))

    def _pictures(self) -> list[Callable[[], None]]:
        """The turns that put points in sight: both plots at once, as the window is put together again for each."""
        return [self._losses.render_picture, self._residual.render_picture, self._show]

    def _show(self) -> None:
        self._losses.update()
        self._residual.update()

    def _render_anew(self) -> None:
        """A plot has another size or theme, or is seen for the first time."""
        if not self._turns:
            self._turns.extend(self._pictures())
            self._next.start()

    def _take_turn(self) -> None:
        self._turns.popleft()()
        if not self._turns:
            self._next.stop()


class _Legend(QLabel):
    """Coloured words that wrap; Qt draws them, and the window, again each time that it computes their height."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
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


def _loss_lines(losses: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[Line]:
    """Each loss faintly, and its mean over some steps: every step draws other tiles."""
    colours = {name: _LOSSES.get(name, (_SPARE, ""))[0] for name in losses}
    faint = [Line(x, y, f"{_FAINT}{colours[name][1:]}") for name, (x, y) in losses.items()]
    return [*faint, *(Line(x, smoothed(y), colours[name]) for name, (x, y) in losses.items())]


def _figure_lines(figures: dict[str, tuple[np.ndarray, np.ndarray]], steps: list[np.ndarray]) -> list[Line]:
    """What was measured, and the noise over all steps there are."""
    if not figures:
        return []
    lines = [Line(x, y, _FIGURES[name][0], dots=True) for name, (x, y) in figures.items()]
    ends = [float(end) for x in steps if len(x) for end in (x[0], x[-1])]
    return [*lines, Line(np.array([min(ends), max(ends)]), np.ones(2), _FLOOR, dashed=True)] if ends else lines


def _entry(colour: str, words: str) -> str:
    """A line of this colour and what it is, as rich text that does not wrap inside."""
    return f'<span style="color:{colour};"><b>━━</b></span>&nbsp;{words.replace(" ", "&nbsp;")}'


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
    name : of the object
    height : pixels at least
    logarithmic : whether the values are decimal logarithms
    """

    outdated = Signal()

    def __init__(self, name: str, height: int, *, logarithmic: bool) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._picture: QPixmap | None = None
        self._fresh = False
        self._logarithmic = logarithmic
        self._view = BarePlot("steps", top=2, bottom=_OVERHANG_PIXELS, mouse=False, parent=self)
        self._view.hide()
        # Else it keeps the background of the theme that it was made in.
        self._view.setStyleSheet("background: transparent; border: none;")
        self._view.axes["left"].setWidth(_LEFT_PIXELS)
        self._curves: list[pyqtgraph.PlotDataItem] = []

    def draw(self, lines: Sequence[Line]) -> None:
        """Take other points; the picture stays as it was. Curves are kept, which is quicker than new ones."""
        self._fresh = False
        while len(self._curves) > len(lines):
            self._view.box.removeItem(self._curves.pop())
        while len(self._curves) < len(lines):
            self._curves.append(pyqtgraph.PlotDataItem(symbolSize=5, symbolPen=None))
            self._view.box.addItem(self._curves[-1])
        for curve, line in zip(self._curves, lines, strict=True):
            colour = QColor(line.colour)
            style = Qt.PenStyle.DashLine if line.dashed else Qt.PenStyle.SolidLine
            pen = pyqtgraph.mkPen(colour, width=2, style=style)
            dot = "o" if line.dots else None
            curve.setData(line.x, line.y, pen=pen, connect="finite", symbol=dot, symbolBrush=colour)
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


def _ticks(logarithms: np.ndarray) -> list[tuple[float, str]]:
    """Places and words of a logarithmic axis: 1, 2 and 5 of every decade, or 1 alone where there are many."""
    low, high = float(logarithms.min()), float(logarithms.max())
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < _MANY_DECADES else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return [(math.log10(value), f"{value:g}") for value in values]
