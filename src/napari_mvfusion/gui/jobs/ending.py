"""Workers whose threads end before Python does: one that outlives the objects of Qt takes the interpreter with it."""

from __future__ import annotations

import atexit
import threading

from napari.qt.threading import GeneratorWorker
from qtpy.QtCore import QThreadPool

# For what a thread does after its work, which is next to nothing, and for the workers of others.
_GRACE_MS = 2000

_lock = threading.Lock()
_running: set[EndingWorker] = set()
_closed = False


class EndingWorker(GeneratorWorker):
    """A worker that is asked to quit when Python ends, and waited for.

    napari asks and waits too, but only where it runs the event loop itself: not in a script or notebook that closes its
    window and ends.
    """

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
