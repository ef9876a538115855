"""Work off the GUI thread: a generator runs there, and what it yields, reports and returns arrives on the GUI thread.

All work of the panels goes this way, and ends in one: by `Interrupted`, which its `Checkpoint` or the core raises, or at
its next yield. It also ends before Python does: a thread that outlives the objects of Qt takes the interpreter with it.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import QObject, QThreadPool, Signal

from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.system.unforeseen import in_words

T = TypeVar("T")
Steps = Callable[..., Generator[Any, None, Any]]

_ADVICE = "use smaller volumes"
# For what a thread does after its work, which is next to nothing, and for the workers of others.
_GRACE_MS = 2000


@dataclass(frozen=True)
class Failed:
    """Work ended with an error: what the user reads, and what helps to find a mistake in the program."""

    message: str
    details: str = ""


def failure_of(error: Exception, *, when_memory_ran_out: str = _ADVICE) -> Failed:
    """An error in words. What nobody foresaw is written to the log file as well.

    Parameters
    ----------
    error : our own errors are in words already
    when_memory_ran_out : what to do then, besides closing other programs
    """
    told = in_words(error, when_memory_ran_out=when_memory_ran_out)
    return Failed(told.message, told.details)


@dataclass(frozen=True)
class TaskProgress:
    """How far the work is: what is being done, and the share that is done, 0 to 1."""

    text: str
    share: float


class Checkpoint:
    """Ends the work of a task that was stopped, where the work calls it; any arguments will do."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self.emit: Callable[[TaskProgress], None] = lambda progress: None

    def stop(self) -> None:
        """Let the next call end the work."""
        self._stopped.set()

    def stopped(self) -> bool:
        """Whether the work is to end, for those that ask and end by themselves."""
        return self._stopped.is_set()

    def __call__(self, *_: object) -> None:
        """End the work by `Interrupted` if it was stopped."""
        if self.stopped():
            raise Interrupted

    def report(self, text: str, share: float) -> None:
        """Tell how far the work is, from where it cannot yield; a checkpoint too."""
        self()
        self.emit(TaskProgress(text, share))


def once(check: Checkpoint, work: Callable[..., T], *args: Any) -> Generator[None, None, T]:
    """The steps of a plain function: it goes to its end, but what it returns after a stop is not heard."""
    yield
    check()
    return work(*args)


class Task(QObject):
    """One generator in a thread. It can be stopped wherever it yields or passes its checkpoint.

    Parameters
    ----------
    steps : a generator function that gets a `Checkpoint` first; it must touch neither layers nor widgets
    args : what else it is called with
    parent : the task is deaf and stops once this is destroyed
    to_its_end : stopped, it is not left at a yield, but has to end by itself, and is heard until it does
    when_memory_ran_out : see `failure_of`
    """

    progressed = Signal(str, float)
    reported = Signal(object)
    succeeded = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(
        self,
        steps: Steps,
        *args: Any,
        parent: QObject | None,
        to_its_end: bool = False,
        when_memory_ran_out: str = _ADVICE,
    ) -> None:
        super().__init__(parent)
        self._outcome: tuple[Any] | None = None
        self._to_its_end = to_its_end
        checkpoint = Checkpoint()
        guarded = partial(_guarded, steps, checkpoint, args, when_memory_ran_out)
        self._worker = create_worker(guarded, _worker_class=_Worker, _start_thread=False)
        self._worker.checkpoint, self._worker.to_its_end = checkpoint, to_its_end
        self._worker.yielded.connect(self._report)
        self._worker.returned.connect(self._keep)
        self._worker.finished.connect(self._end)
        checkpoint.emit = self._worker.yielded.emit
        # A slot that knows the flag only: the task is gone when it is called.
        self.destroyed.connect(checkpoint.stop)

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def cancel(self) -> None:
        """Stop; nothing but the end is told any more, except by a task that goes to its end."""
        self._worker.quit()
        self.blockSignals(not self._to_its_end)

    def _report(self, value: Any) -> None:
        if isinstance(value, TaskProgress):
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


class Latest(QObject):
    """One task at a time: starting another one stops it, and nothing more is heard of the first.

    Its signals are those of the task that is going on; `ended` comes at once when it is cancelled.

    Parameters
    ----------
    in_turn : a task begins once the thread of the one before has ended; of those that wait for it, the latest counts
    options : of each `Task`
    """

    progressed = Signal(str, float)
    reported = Signal(object)
    succeeded = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, parent: QObject | None = None, *, in_turn: bool = False, **options: Any) -> None:
        super().__init__(parent)
        self._in_turn, self._options = in_turn, options
        self._task: Task | None = None
        self._leaving: Task | None = None
        self._waiting: tuple[Any, ...] = ()

    @property
    def running(self) -> bool:
        """Whether anything is being done."""
        return self._task is not None or bool(self._waiting)

    def start(self, steps: Steps, *args: Any) -> None:
        """Run a generator in a thread, see `Task`."""
        self._drop()
        if self._in_turn and self._leaving is not None:
            self._waiting = (steps, *args)
            return
        task = Task(steps, *args, parent=self, **self._options)
        for name in ("progressed", "reported", "succeeded", "failed"):
            getattr(task, name).connect(getattr(self, name))
        task.ended.connect(partial(self._end, task))
        self._task = task
        task.start()

    def cancel(self) -> None:
        """Stop what is being done; the thread follows at its next report."""
        if self._drop():
            self.ended.emit()

    close_down = cancel

    def _drop(self) -> bool:
        dropped = self.running
        if self._task is not None:
            self._task.cancel()
            self._leaving = self._task
        self._task, self._waiting = None, ()
        return dropped

    def _end(self, task: Task) -> None:
        if task is self._leaving:
            self._leaving = None
            if self._waiting:
                self.start(*self._waiting)
        if task is self._task:
            self._task = None
            self.ended.emit()


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
        done: Callable[[Any], object],
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

    def close_down(self) -> None:
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


def _guarded(steps: Steps, checkpoint: Checkpoint, args: tuple[Any, ...], advice: str) -> Generator[Any, None, Any]:
    """What the steps yield and return; an error becomes what is returned, because a worker would lose its words."""
    try:
        return (yield from steps(checkpoint, *args))
    except Interrupted:
        return None
    except Exception as error:
        return failure_of(error, when_memory_ran_out=advice)


_lock = threading.Lock()
_running: set[_Worker] = set()
_closed = False


class _Worker(GeneratorWorker):
    """A worker that is asked to quit when Python ends, and waited for; its checkpoint stops it too.

    napari asks and waits too, but only where it runs the event loop itself: not in a script or notebook that closes its
    window and ends.
    """

    checkpoint: Checkpoint
    to_its_end: bool

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.over = threading.Event()

    def run(self) -> None:
        """Work, unless Python is about to end."""
        with _lock:
            if _closed:
                return
            _running.add(self)
        try:
            super().run()
        finally:
            with _lock:
                _running.discard(self)
            self.over.set()

    def quit(self) -> None:
        self.checkpoint.stop()
        if not self.to_its_end:
            super().quit()


def _end_all() -> None:
    """Ask all workers to quit, and wait until they did."""
    global _closed
    with _lock:
        _closed = True
        running = list(_running)
    for worker in running:
        worker.quit()
    for worker in running:
        worker.over.wait()
    QThreadPool.globalInstance().waitForDone(_GRACE_MS)


# What was registered last is called first: before Qt takes its objects down.
atexit.register(_end_all)
