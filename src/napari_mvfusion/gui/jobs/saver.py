"""One file that is being written: how far it is, and a button to cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.tasks import Steps, Task
from napari_mvfusion.gui.widgets.progress import ProgressBar


class Saver(QWidget):
    """Hidden while nothing is written."""

    said = Signal(str, str)
    failed = Signal(object)
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._task: Task | None = None
        self._bar = ProgressBar()
        self._bar.setObjectName("save_progress")
        self._step = QLabel()
        self._step.setObjectName("save_step")
        self._step.setWordWrap(True)
        self._stop = QPushButton("Cancel saving")
        self._stop.setObjectName("cancel_saving")
        self._stop.setToolTip("Stop; nothing is left of the file")
        self._stop.clicked.connect(self.cancel)
        row = QHBoxLayout()
        row.addWidget(self._step, 1)
        row.addWidget(self._stop, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._bar)
        layout.addLayout(row)
        self.hide()

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
        task = Task(lambda check: steps(check, *args, **options), parent=self)
        task.progressed.connect(lambda _, share: self._bar.show_share(share))
        task.succeeded.connect(done)
        task.failed.connect(self.failed)
        task.ended.connect(self._end)
        self._task = task
        self._bar.show_share(0)
        self._step.setText(f"Saving {what}…")
        self._stop.setEnabled(True)
        self.show()
        self.changed.emit()
        task.start()

    def cancel(self) -> None:
        """Stop what is written; the rest of it is removed."""
        if self._task is not None:
            self._task.cancel()
            self._stop.setEnabled(False)
            self._step.setText("Stopping…")

    def _end(self) -> None:
        cancelled = not self._stop.isEnabled()
        self._task = None
        self.hide()
        if cancelled:
            self.said.emit("warning", "Saving was cancelled, and nothing is left of the file.")
        self.changed.emit()
