"""How far work is, and what became of it: bars with the time that is left, a button to stop, messages, and details."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QFrame, QLabel, QPlainTextEdit, QProgressBar, QPushButton, QWidget

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
from napari_mvfusion.engine.series import JobDone, SeriesEvent
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.widgets.inputs import describe, text_label
from napari_mvfusion.gui.widgets.layout import Fold, Roll, column, discard, row
from napari_mvfusion.system.devices import used_bytes
from napari_mvfusion.system.words import Rate, TimeLeft, duration, sentence, times

_STEPS = 1000
# Of messages that are seen at once, about seven lines; older ones are scrolled to.
_MOST_PIXELS = 132
# Translucent, so that the theme's own text colour can be read on it in dark and in light.
_COLOURS = {
    "error": "rgba(220, 50, 47, 90)",
    "warning": "rgba(203, 150, 0, 80)",
    "done": "rgba(60, 160, 70, 80)",
    "working": "rgba(128, 128, 128, 60)",
}

# What options of the command line are called in the window, longer words first.
_PRESSED = {
    "discard it (--overwrite without --resume)": "discard it (“Discard the unfinished run”)",
    "discard it (--overwrite)": "discard it (“Discard the unfinished run”)",
    "allow it to be overwritten (--overwrite)": "choose “Replace it”",
    "run again with --resume": "choose “{go_on}”",
    "go on with --resume": "choose “{go_on}”",
    "--resume": "“{go_on}”",
    "leave --cluster out": "choose this computer under “Compute on”",
    "--timepoints": "“Time points”",
    "--channels": "“Channels”",
    "(--transmission VIEW=FILE)": "(Field > Lost light in Views & PSFs)",
}


def in_window(text: str, go_on: str = "Go on with the unfinished run") -> str:
    """A message of the core with the words of buttons and choices in place of options of the command line.

    Parameters
    ----------
    text : the message
    go_on : what goes on with an unfinished run
    """
    for option, pressed in _PRESSED.items():
        text = text.replace(option, pressed.format(go_on=go_on))
    return text


class Say(Protocol):
    """Shows a message, see `Status.say`."""

    def __call__(self, kind: str, text: str, about: Iterable[object] = ()) -> None:
        """Show a message of this kind about these layers."""


class ProgressBar(QProgressBar):
    """Shows a share of 0 to 1 without a number; drawn with the rest of the window."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("progress")
        self.setRange(0, _STEPS)
        self.setTextVisible(False)

    def show_share(self, share: float) -> None:
        """Show this share the next time that the window is drawn.

        A bar of Qt draws the window, canvas and all, each time before `setValue` returns, unless its updates are off.
        """
        value = round(_STEPS * share)
        if value == self.value():
            return
        self.setUpdatesEnabled(False)
        self.setValue(value)
        self.setUpdatesEnabled(True)


class Status(QWidget):
    """Follows the events of a run, one after the other.

    Attributes
    ----------
    go_on : what is pressed or chosen to go on with an unfinished run
    """

    go_on = "Go on with the unfinished run"

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
        self._messages = column(lines)
        self._messages.setSpacing(4)
        self._roll = Roll(lines, _MOST_PIXELS)
        self._roll.hide()
        # Once all messages have their places.
        self._placed = QTimer(self, singleShot=True, interval=0)
        self._placed.timeout.connect(self._show_newest)
        self._roll.verticalScrollBar().rangeChanged.connect(lambda *_: self._placed.start())
        # The layers that messages are about.
        self._about: dict[QLabel, WeakSet[Any]] = {}
        self._log = QPlainTextEdit()
        describe(self._log, "log", "Details of the run")
        self._log.setReadOnly(True)
        self._log.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self._log.setFixedHeight(120)
        self._details = Fold("Details", "details", self._log)
        column(self, self._bar, self._step, self._machine, self._roll, self._details)
        self._title = self._device = self._beside = ""
        self._left = TimeLeft()
        self._rate = Rate()
        self._idle()

    def begin(self, title: str, description: str, *, beside: str = "") -> None:
        """A run starts.

        Parameters
        ----------
        title : what messages begin with, empty where there is only one run
        description : for the details
        beside : what is said of where it runs, beside the device
        """
        self._title, self._beside, self._device = title, beside, ""
        self._left = TimeLeft()
        self._bar.show()
        self._bar.show_share(0)
        self._step.show()
        self._stopping = False
        self._tell_step("starting…")
        self._machine.setText(beside)
        self._machine.show()
        self._write(description)
        self._details.show()

    def cancelling(self) -> None:
        """The user asked to stop."""
        self._stopping = True
        self._step.setText("Stopping after this step…")

    def forget(self) -> None:
        """Take all messages and details away."""
        self.clear()
        self._log.clear()

    def clear(self) -> None:
        """Take all messages away."""
        for message in self._shown():
            self._take_away(message)

    def forget_layer(self, layer: object) -> None:
        """Take away what was said about this layer, and about no other that is still there."""
        for message, layers in list(self._about.items()):
            if layer in layers:
                layers.discard(layer)
                if not layers:
                    self._take_away(message)

    def say(self, kind: str, text: str, about: Iterable[object] = ()) -> None:
        """Show a message, instead of one that says the same.

        Parameters
        ----------
        kind : "error", "warning", "done", or "working", which goes once anything else is said
        about : the layers that it speaks of; it goes with the last of them
        """
        text = sentence(in_window(text, self.go_on))
        for before in self._shown():
            if before.objectName() == "working" or (before.objectName(), before.text()) == (kind, text):
                self._take_away(before)
        message = QLabel(text)
        message.setObjectName(kind)
        message.setWordWrap(True)
        message.setTextFormat(Qt.TextFormat.PlainText)
        message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        message.setFrameShape(QFrame.Shape.NoFrame)
        message.setStyleSheet(f"{box_of(kind)} padding: 5px;")
        self._messages.addWidget(message)
        if layers := WeakSet(about):
            self._about[message] = layers
        self._roll.show()
        self._placed.start()

    def say_instead(self, kind: str, text: str, about: Iterable[object] = ()) -> None:
        """Say something in place of what was said before."""
        self.clear()
        self.say(kind, text, about)

    def _shown(self) -> list[QLabel]:
        return [self._messages.itemAt(place).widget() for place in range(self._messages.count())]

    def _take_away(self, message: QLabel) -> None:
        self._about.pop(message, None)
        self._messages.removeWidget(message)
        discard(message)
        self._roll.setVisible(bool(self._messages.count()))

    def _show_newest(self) -> None:
        """Scroll to the last message: to its first line, where it has more than are seen."""
        if shown := self._shown():
            self._roll.verticalScrollBar().setValue(shown[-1].y() + min(shown[-1].height() - self._roll.height(), 0))

    def fail(self, failed: Failed) -> None:
        """Show the error of some work that is no run; what helps to find a mistake in the program is folded."""
        self.say("error", failed.message)
        if failed.details:
            self.note(failed.details)

    def note(self, details: str) -> None:
        """Write something into the folded details."""
        self._write(details)
        self._details.show()

    def follow(
        self, event: SeriesEvent | Failed, *, shown: bool, deleted: bool = False, layer: object | None = None
    ) -> None:
        """Show an event.

        Parameters
        ----------
        shown : whether the layer of the result holds anything yet
        deleted : whether it is gone
        layer : of the result; what is said goes with it, unless there is a file
        """
        about = () if layer is None or deleted else (layer,)
        match event:
            case Preparing(label, fraction):
                self._bar.show_share(fraction)
                self._tell_step(f"preparing: {label}")
            case Prepared():
                self._rate = Rate()
                self._device = event.device
                self._bar.show_share(0)
                self._tell_step("computing…")
                self._machine.setText(" · ".join(text for text in (event.device, self._beside) if text))
                self._write(_plan(event))
            case TileStep(label, fraction):
                self.show_step(label, fraction)
            case TileDone():
                tile = f", tile {event.tile} of {event.tiles}" if event.tiles > 1 else ""
                self.show_step(f"{event.label}{tile}", event.fraction)
                self.count(event.voxels)
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
                self.say("warning", self._titled(_cancelled(kept, shown=shown, deleted=deleted)), () if kept else about)
            case JobDone(fused, seconds=seconds):
                self._idle()
                places = [str(one.path) for one in fused if one.path]
                saved = f" Saved as {places[0]}{' and more like it' if len(places) > 1 else ''}." if places else ""
                self.say("done", self._titled(f"done in {duration(seconds)}.{saved}"), () if places else about)
                self._write(f"done in {seconds:.1f} s")
            case Failed():
                self._write(event.details or event.message)
                self._idle()
                self.say("error", self._titled(event.message))

    def show_step(self, text: str, share: float, below: str = "") -> None:
        """Say what is being done, and how long the run will take, of which this share is done.

        Parameters
        ----------
        text : is followed by how long it will take
        share : 0 to 1
        below : another line
        """
        self._bar.show_share(share)
        left = self._left(share)
        line = f"{text}{' · ' + left if left else ''}"
        self._tell_step(f"{line}\n{below}" if below else line)

    def count(self, voxels: int) -> None:
        """So many voxels were updated: say how many are in a second, and how much memory that takes."""
        rate = self._rate(voxels)
        memory = f"{used_bytes() / 2**30:.1f} GiB in use"
        self._machine.setText(" · ".join(text for text in (self._device, rate, memory) if text))

    def end(self, kind: str, text: str) -> None:
        """The run is over: the bar goes, and it is said how that came; see `say`."""
        self._idle()
        self.say(kind, self._titled(text))

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


class TaskBar(QWidget):
    """A progress bar, what is being done, and a button to cancel; hidden while nothing is done.

    Parameters
    ----------
    task : what it follows; None where somebody else shows what is being done
    cancel, tip : on the button
    names : of bar, words and button, for the program
    """

    cancelled = Signal()

    def __init__(
        self,
        task: Latest | None = None,
        *,
        cancel: str = "Cancel",
        tip: str = "Stop; what is found so far stays",
        names: tuple[str, str, str] = ("progress", "step", "cancel"),
    ) -> None:
        super().__init__()
        self._bar = ProgressBar()
        self._bar.setObjectName(names[0])
        self._step = text_label(names[1])
        self._stop = QPushButton(cancel)
        describe(self._stop, names[2], cancel, tip)
        self._stop.clicked.connect(self.cancelled)
        line = row((self._step, 1))
        line.addWidget(self._stop, 0, Qt.AlignmentFlag.AlignTop)
        column(self, self._bar, line)
        self.hide()
        if task is not None:
            self.cancelled.connect(task.cancel)
            task.progressed.connect(self.show_progress)
            task.ended.connect(self.hide)

    def begin(self, text: str) -> None:
        """Show that something is being done."""
        self.show_progress(text, 0.0)
        self._stop.setEnabled(True)
        self.show()

    def stopping(self) -> None:
        """Show that it was cancelled, and is coming to its end."""
        self._stop.setEnabled(False)
        self._step.setText("Stopping…")

    def show_progress(self, text: str, share: float) -> None:
        """Say what is being done, and the share that is done."""
        self._step.setText(text)
        self._bar.show_share(share)


def box_of(kind: str) -> str:
    """The style of a box with a message, see `Status.say`."""
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
