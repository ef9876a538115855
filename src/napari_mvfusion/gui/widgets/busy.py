"""Work that somebody waits for, in a thread: the window answers meanwhile, and says what it waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from qtpy.QtCore import QCoreApplication, QEventLoop, Qt, QThread, QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog

T = TypeVar("T")

# What takes less time is over before anybody could read what it is.
_SHOWN_AFTER_MS = 300
_LOOK_MS = 10


def while_busy(words: str, work: Callable[[], T]) -> T:
    """Do something in a thread and return what it returns; clicks and keys wait until it is done.

    Parameters
    ----------
    words : what is being done, as the user reads it
    work : touches no widget and no layer

    Raises
    ------
    Whatever `work` raises.
    """
    if not _somebody_waits():
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # whatever it is, it is raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="mvfusion-busy")
    thread.start()
    _wait_for(thread, words)
    if errors:
        raise errors[0]
    return results[0]


def _somebody_waits() -> bool:
    """Whether this is the thread of a window."""
    application = QCoreApplication.instance()
    return isinstance(application, QApplication) and QThread.currentThread() == application.thread()


def _wait_for(thread: threading.Thread, words: str) -> None:
    """Let the window be drawn until the thread has ended; show the words where that takes a while."""
    loop, look, show = QEventLoop(), QTimer(), QTimer()
    sign = QProgressDialog(words, "", 0, 0, QApplication.activeWindow())
    sign.setObjectName("busy")
    sign.setCancelButton(None)
    sign.setWindowTitle("Multi-view fusion")
    sign.setWindowModality(Qt.WindowModality.ApplicationModal)
    sign.setAutoReset(False)
    # A dialog of Qt shows itself after four seconds.
    sign.reset()
    look.timeout.connect(lambda: None if thread.is_alive() else loop.quit())
    look.start(_LOOK_MS)
    show.setSingleShot(True)
    show.timeout.connect(sign.show)
    show.start(_SHOWN_AFTER_MS)
    loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    show.stop()
    sign.close()
    sign.deleteLater()
    thread.join()
