"""What a run shows while it goes on: its progress, curves, and pictures; knows no buttons and no process."""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent, QShowEvent
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_mvfusion.data.events import Warned
from napari_mvfusion.gui.jobs.status import ProgressBar
from napari_mvfusion.gui.panels.finetune.curves import Curves
from napari_mvfusion.gui.widgets.inputs import WordList, describe, text_label
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.system.words import Pace, duration, times
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.history import History
from napari_mvfusion.training.training_events import (
    Continued,
    MemoryFallback,
    Paused,
    Previewed,
    Started,
    StepDone,
    SteppedBack,
    TrainEvent,
    Validated,
    Waiting,
)

# With software rendering the whole window is put together again whenever a part of it is drawn: all parts are drawn
# at once, and seldom.
_REDRAW_MS = 1000
_CURVES_SECONDS = 2.0
_WINDOW_SECONDS = 20.0

_RESIDUAL = "; the number is the residual on this tile, in units of the noise: 1 is the noise alone"
_PICTURES = (
    ("Views", "The mean of the views"),
    ("Before", f"What the starting weights make of the views{_RESIDUAL}"),
    ("Now", f"What the weights make of them that would be kept now{_RESIDUAL}"),
)
_PLANES = [("xy", "0"), ("xz", "1"), ("yz", "2")]
_LOW, _HIGH = 1.0, 99.8
_LEAST_PIXELS = 90


class RunView(QWidget):
    """Follows the events of a run; what comes often is drawn once a second, curves less often, and only while seen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = ProgressBar()
        self._step = text_label("step")
        self._machine = text_label("machine")
        self._machine.setToolTip("What computes, and how many steps it does in a second")
        self._curves = Curves()
        self._pictures = BeforeAfter()
        column(self, self._bar, self._step, self._machine, (self._curves, 1), self._pictures, None)
        self._due = Later(_REDRAW_MS, self._draw, self)
        self._history = History()
        self._preview: Previewed | None = None
        self._speed: float | None = None
        self._pace = Pace(_WINDOW_SECONDS)
        self._forget(None)

    @property
    def seconds(self) -> float:
        """How long the run has worked, as far as it said."""
        return self._seconds

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return self._steps

    def begin(self, config: TrainConfig, *, going_on: bool) -> None:
        """A run starts; one that goes on keeps its curves."""
        if not going_on:
            self._history = History()
            self._pictures.clear()
        self._forget(config.minutes)
        self._bar.show()
        self._bar.show_share(0)
        self._step.setText("Starting…")
        self._step.show()
        self._tell_machine("")
        self._draw_all()

    def follow(self, event: TrainEvent) -> str:
        """Show an event; what is odd comes back as words for a message."""
        match event:
            case Started():
                self._device = event.device
                self._steps = event.step
                self._step.setText("Preparing…")
            case Waiting(label, fraction):
                self._bar.show_share(fraction)
                self._step.setText(f"Preparing: {label}")
            case StepDone():
                self._began, self._paused = True, False
                self._steps, self._seconds = event.step, event.seconds
                self._history.add_losses(event.step, event.losses)
                self._speed = self._pace(event.step, event.seconds)
                self._curves_grew = True
                self._redraw_soon()
            case Validated(step, figures):
                self._history.add_figures(step, figures)
                self._curves_grew = True
                self._redraw_soon()
            case Previewed():
                self._preview = event
                self._redraw_soon()
            case Paused():
                self._paused = True
                self._describe()
            case Continued():
                self._paused = False
                self._pace, self._speed = Pace(_WINDOW_SECONDS), None
                self._describe()
            case MemoryFallback(_, tile, batch):
                size = times(tile)
                return f"Memory ran out: going on with {batch} tile{'s' if batch > 1 else ''} of {size} voxels a step."
            case SteppedBack(step, rate):
                return f"The loss was not finite: going on from step {step} at the lower rate of {rate:.1e}."
            case Warned(message):
                return str(message)
        return ""

    def end(self) -> None:
        """The run is over; its curves stay."""
        self._due.cancel()
        self._draw_all()
        # What is said now stays.
        self._began = self._paused = False
        self._bar.hide()
        self._step.hide()
        whole = f"{self._steps} steps in {duration(self._seconds)} on {self._device}"
        self._tell_machine(whole if self._device else "")

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari."""
        self._curves.set_theme(name)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened unseen."""
        super().showEvent(event)
        self._redraw_soon()

    def _forget(self, minutes: float | None) -> None:
        self._minutes = minutes
        self._device = ""
        self._steps, self._seconds = 0, 0.0
        self._began = self._paused = False
        self._pace = Pace(_WINDOW_SECONDS)
        self._speed = self._preview = None
        self._curves_grew = False
        self._drawn = 0.0

    def _redraw_soon(self) -> None:
        if not self._due.due:
            self._due.ask()

    def _draw(self) -> None:
        """Draw what has changed, if anybody sees it: never curves and pictures at once, and later what is not due yet."""
        if not self.isVisible():
            return
        if self._began or self._paused:
            self._describe()
        if self._curves_grew and time.monotonic() - self._drawn >= _CURVES_SECONDS:
            self._draw_curves()
        else:
            self._draw_pictures()
        if self._curves_grew or self._preview is not None:
            self._redraw_soon()

    def _draw_all(self) -> None:
        self._draw()
        self._draw_pictures()
        self._draw_curves()

    def _draw_pictures(self) -> None:
        if self._preview is not None:
            self._pictures.show_preview(self._preview)
            self._preview = None

    def _draw_curves(self) -> None:
        self._curves_grew = False
        self._curves.show_history(self._history)
        self._drawn = time.monotonic()

    def _describe(self) -> None:
        """Progress, time that is left, speed and device."""
        parts = [f"Step {self._steps}"]
        if self._minutes is not None:
            whole = 60 * self._minutes
            self._bar.show_share(min(1.0, self._seconds / whole))
            parts.append("paused" if self._paused else f"{duration(max(0.0, whole - self._seconds))} left")
        elif self._paused:
            parts.append("paused")
        self._step.setText(" · ".join(parts))
        speed = ""
        if self._speed is not None and not self._paused:
            speed = f"{self._speed:.{0 if self._speed >= 10 else 1 if self._speed >= 0.1 else 2}f} steps/s"
        self._tell_machine(" · ".join(part for part in (self._device, speed) if part))

    def _tell_machine(self, text: str) -> None:
        self._machine.setText(text)
        self._machine.setVisible(bool(text))


class BeforeAfter(QWidget):
    """One slice of a tile that is never trained on: three pictures with one contrast, and the residual of two of them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: Previewed | None = None
        self._plane = WordList(_PLANES)
        describe(self._plane, "plane", "Plane of the tile", "<qt>Which way the tile is cut, where it is brightest</qt>")
        self._plane.currentIndexChanged.connect(self._draw)
        self._pictures: list[_Picture] = []
        self._words: list[QLabel] = []
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, (name, tip) in enumerate(_PICTURES):
            picture, words = _Picture(), text_label(f"words_{name.lower()}", name)
            picture.setObjectName(f"picture_{name.lower()}")
            words.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            for place, part in enumerate((picture, words)):
                part.setToolTip(f"<qt>{tip}</qt>")
                grid.addWidget(part, place, number)
            grid.setColumnStretch(number, 1)
            self._pictures.append(picture)
            self._words.append(words)
        column(self, row((text_label("tile", "A tile never trained on"), 1), self._plane), grid)

    def clear(self) -> None:
        """Show nothing: a new run begins."""
        self._shown = None
        self.hide()
        for picture, words, (name, _) in zip(self._pictures, self._words, _PICTURES, strict=True):
            picture.show_image(None)
            words.setText(name)

    def show_preview(self, event: Previewed) -> None:
        """Show what a run sent."""
        self._shown = event
        self.show()
        self._draw()

    def _draw(self) -> None:
        event = self._shown
        if event is None:
            return
        axis = int(self._plane.currentData())
        # Where the views are brightest, and one contrast for all: nothing else may make one look better.
        others = tuple(a for a in range(3) if a != axis)
        index = int(np.argmax(event.view.mean(axis=others)))
        low, high = np.percentile(event.before, [_LOW, _HIGH])
        for picture, volume in zip(self._pictures, (event.view, event.before, event.after), strict=True):
            picture.show_image(_gray(np.take(volume, index, axis=axis), float(low), float(high)))
        self._words[1].setText(f"Before: {event.residual_before:.2f}")
        self._words[2].setText(f"Now: {event.residual_after:.2f}")


class _Picture(QWidget):
    """A picture, as large as its place allows, voxels square."""

    def __init__(self) -> None:
        super().__init__()
        self._image: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def sizeHint(self) -> QSize:
        return QSize(_LEAST_PIXELS, _LEAST_PIXELS)

    def minimumSizeHint(self) -> QSize:
        return QSize(60, 60)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return min(width, 200)

    def show_image(self, image: QImage | None) -> None:
        """Show another picture, or none."""
        self._image = image
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        if self._image is None:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
            return
        scale = min(self.width() / self._image.width(), self.height() / self._image.height())
        width, height = self._image.width() * scale, self._image.height() * scale
        painter.drawImage(QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height), self._image)


def _gray(plane: np.ndarray, low: float, high: float) -> QImage:
    """A plane as gray levels."""
    values = np.clip((plane - low) / max(high - low, 1e-9), 0, 1)
    pixels = np.ascontiguousarray(np.round(255 * values), np.uint8)
    height, width = pixels.shape
    # A copy, because a QImage only borrows its pixels.
    return QImage(pixels.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()
