"""How a run goes: a progress bar with the time that is left, messages in words, and details for those who want them."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from napari_mvfusion.data.events import (
    Cancelled,
    IterationDone,
    Noted,
    Prepared,
    Preparing,
    TileDone,
    TileHalved,
    TileStep,
    Warned,
)
from napari_mvfusion.engine.series import JobDone
from napari_mvfusion.gui.jobs.bar import ProgressBar
from napari_mvfusion.gui.jobs.tasks import Failed
from napari_mvfusion.gui.jobs.worker import Report
from napari_mvfusion.gui.widgets.inputs import describe, text_label
from napari_mvfusion.gui.widgets.layout import Fold, Roll
from napari_mvfusion.system.devices import used_bytes
from napari_mvfusion.system.words import Rate, TimeLeft, duration, sentence, times

# Of messages that are seen at once; older ones are scrolled to.
_MOST_PIXELS = 200
# Translucent, so that the theme's own text colour can be read on it in dark and in light.
_COLOURS = {"error": "rgba(220, 50, 47, 90)", "warning": "rgba(203, 150, 0, 80)", "done": "rgba(60, 160, 70, 80)"}


class Status(QWidget):
    """Follows the events of a run, one after the other."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._stopping = False
        self._bar = ProgressBar()
        self._step = text_label("step")
        self._machine = QLabel()
        self._machine.setObjectName("machine")
        self._machine.setToolTip(
            "<qt>What computes, how many voxels it updates in a second (with one view each), and how much memory "
            "napari takes in all</qt>"
        )
        lines = QWidget()
        self._messages = QVBoxLayout(lines)
        self._messages.setContentsMargins(0, 0, 0, 0)
        self._messages.setSpacing(4)
        self._roll = Roll(lines, _MOST_PIXELS)
        self._roll.hide()
        newest = self._roll.verticalScrollBar()
        newest.rangeChanged.connect(lambda _, bottom: newest.setValue(bottom))
        self._log = QPlainTextEdit()
        describe(self._log, "log", "Details of the run")
        self._log.setReadOnly(True)
        self._log.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self._log.setFixedHeight(120)
        self._details = Fold("Details", "details", self._log)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._bar)
        layout.addWidget(self._step)
        layout.addWidget(self._machine)
        layout.addWidget(self._roll)
        layout.addWidget(self._details)
        self._title = ""
        self._device = ""
        self._left = TimeLeft()
        self._rate = Rate()
        self._idle()

    def begin(self, title: str, description: str, *, first: bool) -> None:
        """A run starts; when it is the first of several, what was said before goes.

        Parameters
        ----------
        title : what messages begin with, empty where there is only one run
        description : for the details
        """
        if first:
            self.clear()
            self._log.clear()
        self._title = title
        self._left = TimeLeft()
        self._bar.show()
        self._bar.show_share(0)
        self._step.show()
        self._stopping = False
        self._tell_step("starting…")
        self._machine.setText("")
        self._machine.show()
        self._write(description)
        self._details.show()

    def cancelling(self) -> None:
        """The user asked to stop."""
        self._stopping = True
        self._step.setText("Stopping after this step…")

    def clear(self) -> None:
        """Take all messages away."""
        while (item := self._messages.takeAt(0)) is not None:
            message = item.widget()
            # Deleting waits for the event loop; until then it would show through the next message.
            message.setParent(None)
            message.deleteLater()
        self._roll.hide()

    def say(self, kind: str, text: str) -> None:
        """Show a message; `kind` is "error", "warning" or "done"."""
        message = QLabel(sentence(text))
        message.setObjectName(kind)
        message.setWordWrap(True)
        message.setTextFormat(Qt.TextFormat.PlainText)
        message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        message.setFrameShape(QFrame.Shape.NoFrame)
        message.setStyleSheet(f"{box_of(kind)} padding: 5px;")
        self._messages.addWidget(message)
        self._roll.show()

    def fail(self, failed: Failed) -> None:
        """Show the error of some work that is no run; what helps to find a mistake in the program is folded."""
        self.say("error", failed.message)
        if failed.details:
            self.note(failed.details)

    def note(self, details: str) -> None:
        """Write something into the folded details."""
        self._write(details)
        self._details.show()

    def follow(self, event: Report, *, shown: bool, deleted: bool = False) -> None:
        """Show an event; `shown` tells whether the layer of the result holds anything yet, `deleted` that it is gone."""
        match event:
            case Preparing(label, fraction):
                self._bar.show_share(fraction)
                self._tell_step(f"preparing: {label}")
            case Prepared():
                self._rate = Rate()
                self._device = event.device
                self._bar.show_share(0)
                self._tell_step("computing…")
                self._machine.setText(event.device)
                self._write(_plan(event))
            case TileStep(label, fraction):
                self._bar.show_share(fraction)
                left = self._left(fraction)
                self._tell_step(f"{label}{' · ' + left if left else ''}")
            case TileDone():
                self._bar.show_share(event.fraction)
                tile = f", tile {event.tile} of {event.tiles}" if event.tiles > 1 else ""
                left = self._left(event.fraction)
                self._tell_step(f"{event.label}{tile}{' · ' + left if left else ''}")
                rate = self._rate(event.voxels)
                memory = f"{used_bytes() / 2**30:.1f} GiB in use"
                self._machine.setText(" · ".join(text for text in (self._device, rate, memory) if text))
            case IterationDone():
                self._write(f"iteration {event.iteration} of {event.iterations}: changed by {event.change:.2%}")
            case TileHalved(_, to_shape):
                self.say("warning", f"Memory ran out: going on with smaller tiles of {times(to_shape)} voxels.")
            case Noted(message):
                self.note(message)
            case Warned(message):
                self.say("warning", message)
                self._write(message)
            case Cancelled(kept=kept):
                self._idle()
                self.say("warning", self._titled(_cancelled(kept, shown=shown, deleted=deleted)))
            case JobDone(fused, seconds=seconds):
                self._idle()
                places = [str(one.path) for one in fused if one.path]
                saved = f" Saved as {places[0]}{' and more like it' if len(places) > 1 else ''}." if places else ""
                self.say("done", self._titled(f"done in {duration(seconds)}.{saved}"))
                self._write(f"done in {seconds:.1f} s")
            case Failed():
                self._write(event.details or event.message)
                self._idle()
                self.say("error", self._titled(event.message))

    def _tell_step(self, text: str) -> None:
        """Say what is being done, unless it is to stop: what was on its way then comes late."""
        if not self._stopping:
            self._step.setText(self._titled(text))

    def _titled(self, text: str) -> str:
        """A sentence, after the title where several runs follow each other."""
        return f"{self._title}: {text[:1].lower()}{text[1:]}" if self._title else sentence(text)

    def _idle(self) -> None:
        self._bar.hide()
        self._step.hide()
        self._machine.hide()
        self._details.setVisible(bool(self._log.toPlainText()))

    def _write(self, line: str) -> None:
        self._log.appendPlainText(line)


def box_of(kind: str) -> str:
    """The style of a box with a message, whose `kind` is "error", "warning" or "done"."""
    return f"background: {_COLOURS[kind]}; border-radius: 3px;"


def _plan(event: Prepared) -> str:
    tiles = "one tile" if event.tiles == 1 else f"{event.tiles} tiles of {times(event.tile_shape)} voxels"
    resumed = f", {event.resumed_tiles} done before" if event.resumed_tiles else ""
    return f"on {event.device}: {tiles}{resumed}, at most {event.memory_bound_bytes / 2**30:.1f} GiB"


def _cancelled(kept: Path | None, *, shown: bool, deleted: bool) -> str:
    if kept is not None:
        return f"Cancelled. What is finished is kept in {kept}: fuse to the same file again to go on."
    if deleted:
        return "Cancelled, as the layer of its result was deleted."
    return "Cancelled. The layer keeps what is finished." if shown else "Cancelled before there was anything to see."
