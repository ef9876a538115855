"""Work in threads: a generator runs there, and what it reports and returns arrives on the GUI thread.

Runs and previews have bridges of their own, `worker.py` and `preview/runner.py`: the engine has its own cancel and events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.gui.jobs.ending import EndingWorker
from napari_mvfusion.gui.jobs.failures import Failed, failure_of

Steps = Callable[..., Generator[Any, None, Any]]


class Stopped(Exception):  # noqa: N818 - not an error: unwinds work that nobody waits for any more
    """The task was stopped."""


@dataclass(frozen=True)
class Progress:
    """How far the work is: what is being done, and the share that is done, 0 to 1."""

    text: str
    share: float


class Checkpoint:
    """Ends the work of a task that was stopped, where the work calls it; any arguments will do."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self.emit: Callable[[Progress], None] = lambda progress: None

    def stop(self) -> None:
        """Let the next call end the work."""
        self._stopped.set()

    def __call__(self, *_: object) -> None:
        """End the work by an error if it was stopped."""
        if self._stopped.is_set():
            raise Stopped

    def report(self, text: str, share: float) -> None:
        """Tell how far the work is, from where it cannot yield; a checkpoint too."""
        self()
        self.emit(Progress(text, share))


class Task(QObject):
    """One generator in a thread. It can be stopped wherever it yields or passes its checkpoint.

    Parameters
    ----------
    steps : a generator function that gets a `Checkpoint` first; it must touch neither layers nor widgets
    args : what else it is called with
    parent : the task is deaf and stops once this is destroyed
    """

    progressed = Signal(str, float)
    reported = Signal(object)
    succeeded = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, steps: Steps, *args: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._outcome: tuple[Any] | None = None
        checkpoint = Checkpoint()
        self._worker = create_worker(_guarded, steps, checkpoint, args, _worker_class=_Worker, _start_thread=False)
        self._worker.checkpoint = checkpoint
        self._worker.yielded.connect(self._report)
        self._worker.returned.connect(self._keep)
        self._worker.finished.connect(self._end)
        checkpoint.emit = self._worker.yielded.emit
        self.destroyed.connect(checkpoint.stop)

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def cancel(self) -> None:
        """Stop at the next yield; nothing but the end is told any more."""
        self._worker.quit()
        self.blockSignals(True)

    def _report(self, value: Any) -> None:
        if isinstance(value, Progress):
            self.progressed.emit(value.text, value.share)
        else:
            self.reported.emit(value)

    def _keep(self, value: Any) -> None:
        self._outcome = (value,)

    def _end(self) -> None:
        stopped = self.blockSignals(False)
        self.ended.emit()
        if self._outcome is not None and not stopped:
            (value,) = self._outcome
            (self.failed if isinstance(value, Failed) else self.succeeded).emit(value)
        self.deleteLater()


class _Worker(EndingWorker):
    """A worker whose checkpoint stops it too."""

    checkpoint: Checkpoint

    def quit(self) -> None:
        self.checkpoint.stop()
        super().quit()


class Tasks(QObject):
    """The tasks of a panel, each under a name; a task takes the place of an older one of its name."""

    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._running: dict[str, Task] = {}

    def start(
        self,
        name: str,
        steps: Steps,
        *args: Any,
        done: Callable[[Any], None],
        report: Callable[[Any], None] | None = None,
    ) -> Task:
        """Run a generator in a thread.

        Parameters
        ----------
        name : of the task
        steps, args : see `Task`
        done : is called with what the generator returns
        report : is called with what it yields
        """
        self.stop(name)
        task = Task(steps, *args, parent=self)
        task.succeeded.connect(done)
        task.failed.connect(self.failed)
        if report is not None:
            task.reported.connect(report)
        self._running[name] = task
        task.ended.connect(partial(self._forget, name, task))
        task.start()
        return task

    def stop(self, name: str) -> None:
        """Stop a task, if there is one of this name."""
        if (task := self._running.pop(name, None)) is not None:
            task.cancel()

    def stop_all(self) -> None:
        """Stop every task."""
        for name in list(self._running):
            self.stop(name)

    def runs(self, name: str) -> bool:
        """Whether a task of this name is going on."""
        return name in self._running

    @property
    def busy(self) -> bool:
        """Whether any task is going on."""
        return bool(self._running)

    def _forget(self, name: str, task: Task) -> None:
        if self._running.get(name) is task:
            del self._running[name]


def _guarded(steps: Steps, checkpoint: Checkpoint, args: tuple[Any, ...]) -> Generator[Any, None, Any]:
    """What the steps yield and return; an error becomes what is returned, because a worker would lose its words."""
    try:
        return (yield from steps(checkpoint, *args))
    except Stopped:
        return None
    except Exception as error:
        return failure_of(error)
