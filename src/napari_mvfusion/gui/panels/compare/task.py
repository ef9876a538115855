"""The work of a tab of the Compare panel: the latest wins, with progress and cancel."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs import tasks
from napari_mvfusion.gui.widgets.progress import ProgressBar

# Called by work with what it is doing and the share of it that is done, 0 to 1; raises when the work is to stop.
Report = Callable[[str, float], None]
Work = Callable[[Report], Iterator[Any]]


class Task(QObject):
    """Runs one piece of work at a time. Starting another one cancels it, and nothing more is heard of the first.

    Signals come on the GUI thread: `progressed` (what is being done, share), `found` (each value that the work yields),
    `failed` (an error), and `ended` in every case.
    """

    progressed = Signal(str, float)
    found = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._running: tasks.Task | None = None

    @property
    def running(self) -> bool:
        """Whether anything is being done."""
        return self._running is not None

    def start(self, work: Work) -> None:
        """Do `work(report)`, a generator of results, in a thread."""
        self._drop()
        task = tasks.Task(_results, work, parent=self)
        task.progressed.connect(self.progressed)
        task.reported.connect(self.found)
        task.failed.connect(self.failed)
        task.ended.connect(partial(self._end, task))
        self._running = task
        task.start()

    def cancel(self) -> None:
        """Stop what is being done; `ended` comes at once, the thread follows at its next report."""
        if self._drop():
            self.ended.emit()

    def _drop(self) -> bool:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        return running is not None

    def _end(self, task: tasks.Task) -> None:
        if task is self._running:
            self._running = None
            self.ended.emit()


def _results(check: tasks.Checkpoint, work: Work) -> Generator[Any, None, None]:
    for value in work(check.report):
        check()
        yield value


class TaskBar(QWidget):
    """A progress bar, what is being done, and a button to cancel; hidden while nothing is done.

    Parameters
    ----------
    task : what it follows
    """

    def __init__(self, task: Task, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bar = ProgressBar()
        self._step = QLabel()
        self._step.setObjectName("step")
        self._step.setWordWrap(True)
        cancel = QPushButton("Cancel")
        cancel.setObjectName("cancel")
        cancel.setToolTip("Stop; what is found so far stays")
        cancel.clicked.connect(task.cancel)
        row = QHBoxLayout()
        row.addWidget(self._step, 1)
        row.addWidget(cancel, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._bar)
        layout.addLayout(row)
        task.progressed.connect(self._show_progress)
        task.ended.connect(self.hide)
        self.hide()

    def begin(self, text: str) -> None:
        """Show that something is being done."""
        self._show_progress(text, 0.0)
        self.show()

    def _show_progress(self, text: str, share: float) -> None:
        self._step.setText(text)
        self._bar.show_share(share)
