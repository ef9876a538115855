"""How far some work in a thread is, with a button to cancel it; and that of writing a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.tasks import Latest, Steps, Task
from napari_mvfusion.gui.widgets.inputs import describe

_STEPS = 1000


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
        self._step = QLabel()
        self._step.setObjectName(names[1])
        self._step.setWordWrap(True)
        self._stop = QPushButton(cancel)
        describe(self._stop, names[2], cancel, tip)
        self._stop.clicked.connect(self.cancelled)
        row = QHBoxLayout()
        row.addWidget(self._step, 1)
        row.addWidget(self._stop, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._bar)
        layout.addLayout(row)
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


class Saver(TaskBar):
    """One file that is being written, in a thread."""

    said = Signal(str, str)
    failed = Signal(object)
    changed = Signal()

    def __init__(self) -> None:
        super().__init__(
            cancel="Cancel saving",
            tip="Stop; nothing is left of the file",
            names=("save_progress", "save_step", "cancel_saving"),
        )
        self._task: Task | None = None
        self._ending_early = False
        self.cancelled.connect(self.cancel)

    @property
    def running(self) -> bool:
        """Whether something is written."""
        return self._task is not None

    def start(self, what: str, steps: Steps, *args: Any, done: Callable[[Any], None], **options: Any) -> None:
        """Write in a thread.

        Parameters
        ----------
        what : is written, as the user reads it
        steps, args, options : a generator function that gets a `Checkpoint` first
        done : is called with what it returns
        """
        words = f"Saving {what}…"
        task = Task(lambda check: steps(check, *args, **options), parent=self)
        task.progressed.connect(lambda _, share: self.show_progress(words, share))
        task.succeeded.connect(done)
        task.failed.connect(self.failed)
        task.ended.connect(self._end)
        self._task, self._ending_early = task, False
        self.begin(words)
        self.changed.emit()
        task.start()

    def cancel(self) -> None:
        """Stop what is written; the rest of it is removed."""
        if self._task is not None:
            self._task.cancel()
            self._ending_early = True
            self.stopping()

    close_down = cancel

    def _end(self) -> None:
        self._task = None
        self.hide()
        if self._ending_early:
            self.said.emit("warning", "Saving was cancelled, and nothing is left of the file.")
        self.changed.emit()
