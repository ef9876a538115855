"""What a run shows while it goes on: its progress, curves, and pictures; knows no buttons and no process."""

from __future__ import annotations

import time
from collections import deque

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mvfusion.data.events import Warned
from napari_mvfusion.gui.jobs.status import ProgressBar
from napari_mvfusion.gui.panels.finetune.curves import Curves
from napari_mvfusion.gui.panels.finetune.pictures import BeforeAfter
from napari_mvfusion.gui.widgets.inputs import text_label
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.system.words import duration, sentence, times
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
_LEAST_SECONDS = 1e-3


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
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._bar)
        layout.addWidget(self._step)
        layout.addWidget(self._machine)
        layout.addWidget(self._curves, 1)
        layout.addWidget(self._pictures)
        layout.addStretch()
        self._due = Later(_REDRAW_MS, self._draw, self)
        self._preview: Previewed | None = None
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
        self._machine.setText("")
        self._machine.hide()
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
                self._paused = False
                self._steps, self._seconds = event.step, event.seconds
                self._history.add_losses(event.step, event.losses)
                self._times.append((event.step, event.seconds))
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
                self._times.clear()
                self._describe()
            case MemoryFallback(_, tile, batch):
                size = times(tile)
                return f"Memory ran out: going on with {batch} tile{'s' if batch > 1 else ''} of {size} voxels a step."
            case SteppedBack(step, rate):
                return f"The loss was not finite: going on from step {step} at the lower rate of {rate:.1e}."
            case Warned(message):
                return str(message)
        return ""

    def end(self, words: str) -> None:
        """The run is over; its curves stay."""
        self._due.cancel()
        self._draw_all()
        # What is said now stays.
        self._times.clear()
        self._paused = False
        self._bar.hide()
        self._step.setText(words)
        self._step.setVisible(bool(words))
        self._machine.setText(
            f"{self._steps} steps in {duration(self._seconds)} on {self._device}" if self._device else ""
        )
        self._machine.setVisible(bool(self._device))

    def set_theme(self, name: str) -> None:
        """Take the colours of a theme of napari."""
        self._curves.set_theme(name)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened unseen."""
        super().showEvent(event)
        self._redraw_soon()

    def _forget(self, minutes: float | None) -> None:
        self._minutes = minutes
        self._history = getattr(self, "_history", None) or History()
        self._device = ""
        self._steps, self._seconds = 0, 0.0
        self._paused = False
        self._times: deque[tuple[int, float]] = deque()
        self._preview = None
        self._curves_grew = False
        self._drawn = 0.0

    def _redraw_soon(self) -> None:
        if not self._due.due:
            self._due.ask()

    def _draw(self) -> None:
        """Draw what has changed, if anybody sees it: never curves and pictures at once, and later what is not due yet."""
        if not self.isVisible():
            return
        if self._times or self._paused:
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
        self._step.setText(sentence(" · ".join(parts)))
        while len(self._times) > 2 and self._times[-1][1] - self._times[0][1] > _WINDOW_SECONDS:
            self._times.popleft()
        speed = ""
        if len(self._times) > 1 and not self._paused:
            (first, begun), (last, now) = self._times[0], self._times[-1]
            rate = (last - first) / max(now - begun, _LEAST_SECONDS)
            speed = (
                f"{rate:.0f} steps/s" if rate >= 10 else f"{rate:.1f} steps/s" if rate >= 0.1 else f"{rate:.2f} steps/s"
            )
        self._machine.setText(" · ".join(part for part in (self._device, speed) if part))
        self._machine.setVisible(bool(self._machine.text()))
