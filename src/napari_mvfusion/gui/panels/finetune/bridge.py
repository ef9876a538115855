"""A training process as the GUI sees it: polled by a timer, its events as signals on the GUI thread."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer, Signal

from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.process import TrainingOutcome, TrainingProcess

_POLL_MS = 60


class TrainingRun(QObject):
    """One run. It stops, and keeps what it has, when its parent is destroyed.

    Parameters
    ----------
    job : what to train
    parent : lives longer than the panel, so that a run that stops with the panel is followed to its end
    """

    happened = Signal(object)
    ended = Signal(object)

    def __init__(self, job: TrainJob, parent: QObject) -> None:
        super().__init__(parent)
        self.job = job
        self._process = TrainingProcess(job)
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)
        self.destroyed.connect(_stopper(self._process))

    @property
    def paused(self) -> bool:
        """Whether it was asked to wait."""
        return self._process.paused

    def start(self) -> None:
        """Start the process."""
        self._process.start()
        self._timer.start()

    def pause(self) -> None:
        """Wait after the step that is being done."""
        self._process.pause()

    def go_on(self) -> None:
        """End a pause."""
        self._process.go_on()

    def stop(self) -> None:
        """Keep the best weights and end."""
        self._process.stop()

    def kill(self) -> None:
        """End at once; nothing after the last checkpoint is kept."""
        self._process.kill()

    def _poll(self) -> None:
        for event in self._process.events():
            if isinstance(event, TrainingOutcome):
                self._timer.stop()
                self.ended.emit(event)
                self.deleteLater()
            else:
                self.happened.emit(event)


def _stopper(process: TrainingProcess) -> Callable[[], None]:
    """A slot that knows the process only: the run is gone when it is called."""
    return lambda: process.stop()
