"""Waiting while the window answers: for work in a thread, and for a moment until something is due."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from qtpy.QtCore import QCoreApplication, QEventLoop, QObject, Qt, QThread, QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog
from superqt.utils import QSignalDebouncer

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
    with ThreadPoolExecutor(1, "mvfusion-busy") as pool:
        done = pool.submit(work)
        _wait_for(done, words)
        return done.result()


def _somebody_waits() -> bool:
    """Whether this is the thread of a window."""
    application = QCoreApplication.instance()
    return isinstance(application, QApplication) and QThread.currentThread() == application.thread()


def _wait_for(work: Future[Any], words: str) -> None:
    """Let the window be drawn until the work is done; show the words where that takes a while."""
    loop, look, show = QEventLoop(), QTimer(), QTimer()
    sign = QProgressDialog(words, "", 0, 0, QApplication.activeWindow())
    sign.setObjectName("busy")
    sign.setCancelButton(None)
    sign.setWindowTitle("Multi-view fusion")
    sign.setWindowModality(Qt.WindowModality.ApplicationModal)
    sign.setAutoReset(False)
    # A dialog of Qt shows itself after four seconds.
    sign.reset()
    look.timeout.connect(lambda: loop.quit() if work.done() else None)
    look.start(_LOOK_MS)
    show.setSingleShot(True)
    show.timeout.connect(sign.show)
    show.start(_SHOWN_AFTER_MS)
    loop.exec(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    show.stop()
    sign.close()
    sign.deleteLater()


class Later(QSignalDebouncer):
    """Something that is done once, a moment after it was last asked for: superqt's, which tells whether it is to come.

    Attributes
    ----------
    due : whether it is

    Parameters
    ----------
    milliseconds : after it was asked for
    call : what is done
    parent : it is done no more once this is destroyed
    """

    def __init__(self, milliseconds: int, call: Callable[[], object], parent: QObject) -> None:
        super().__init__(parent=parent)
        self.setTimeout(milliseconds)
        self.due = False
        self.triggered.connect(self.cancel)
        self.triggered.connect(call)

    def ask(self, *_: object) -> None:
        """Do it in a moment; whatever a signal says with it."""
        self.due = True
        self.throttle()

    def cancel(self) -> None:
        """Do not do it."""
        self.due = False
        super().cancel()

    close_down = cancel
