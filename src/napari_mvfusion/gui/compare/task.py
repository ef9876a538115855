"""Work in a thread for a panel: the latest wins, with progress, cancel, and errors in words."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mvfusion.devices import is_out_of_memory
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.progress import ProgressBar
from napari_mvfusion.gui.worker import Failed

# Called by work with what it is doing and the share of it that is done, 0 to 1; raises when the work is to stop.
Report = Callable[[str, float], None]
Work = Callable[[Report], Iterator[Any]]


class Stopped(Exception):  # noqa: N818 - it is no error: the user asked for it
    """The work is not wanted any more."""


@dataclass(eq=False)
class _Ticket:
    """One piece of work: its flag to stop, and how its thread is heard."""

    stop: threading.Event
    emit: Callable[[_Message], None] = lambda message: None


@dataclass(frozen=True, eq=False)
class _Message:
    """What a thread tells, and about which work."""

    ticket: _Ticket
    kind: str
    content: Any = None


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
        self._ticket: _Ticket | None = None
        self._latest: list[_Ticket] = []
        self.destroyed.connect(_stopper(self._latest))

    @property
    def running(self) -> bool:
        """Whether anything is being done."""
        return self._ticket is not None

    def start(self, work: Work) -> None:
        """Do `work(report)`, a generator of results, in a thread."""
        self._drop()
        self._ticket = _Ticket(threading.Event())
        self._latest[:] = [self._ticket]
        worker = create_worker(_steps, work, self._ticket, _worker_class=_Worker, _start_thread=False)
        worker.stop = self._ticket.stop
        self._ticket.emit = worker.yielded.emit
        worker.yielded.connect(self._hear)
        worker.start()

    def cancel(self) -> None:
        """Stop what is being done; `ended` comes at once, the thread follows at its next report."""
        if self._drop():
            self.ended.emit()

    def _drop(self) -> bool:
        running, self._ticket = self._ticket, None
        if running is not None:
            running.stop.set()
        return running is not None

    def _hear(self, message: _Message) -> None:
        if message.ticket is not self._ticket:
            return
        match message.kind:
            case "progress":
                self.progressed.emit(*message.content)
            case "found":
                self.found.emit(message.content)
            case "failed":
                self._ticket = None
                self.failed.emit(message.content)
                self.ended.emit()
            case "ended":
                self._ticket = None
                self.ended.emit()


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


class _Worker(GeneratorWorker):
    """A worker that stops at its next report. napari asks workers to quit when its window closes."""

    stop: threading.Event

    def quit(self) -> None:
        self.stop.set()


def _steps(work: Work, ticket: _Ticket) -> Generator[_Message, None, None]:
    """What the work yields, its progress and its end as messages."""

    def report(text: str, share: float) -> None:
        if ticket.stop.is_set():
            raise Stopped
        ticket.emit(_Message(ticket, "progress", (text, share)))

    try:
        for value in work(report):
            if ticket.stop.is_set():
                return
            yield _Message(ticket, "found", value)
    except Stopped:
        return
    except MVFusionError as error:
        yield _Message(ticket, "failed", Failed(str(error)))
    except Exception as error:
        words = f"this should not have happened ({error}): please report it with the details"
        if is_out_of_memory(error):
            words = "memory ran out: close other programs, or compare fewer or smaller volumes"
        yield _Message(ticket, "failed", Failed(words, traceback.format_exc()))
    else:
        yield _Message(ticket, "ended")


def _stopper(tickets: list[_Ticket]) -> Callable[[], None]:
    """A slot that knows the flags only: the task is gone when it is called."""

    def stop() -> None:
        for ticket in tickets:
            ticket.stop.set()

    return stop
