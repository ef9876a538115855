"""Previews in a thread, the latest request first: what is under way is dropped, and nothing is queued."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.preview import Preview, Previewer
from napari_mvfusion.gui.jobs.tasks import Checkpoint, Failed, Task, failure_of
from napari_mvfusion.imaging.threads import Interrupted
from napari_mvfusion.methods.base import Method
from napari_mvfusion.system.devices import losses_in_words, pick_device


@dataclass(frozen=True, eq=False)
class Request:
    """What to fuse.

    Attributes
    ----------
    views : the views
    key : equal for requests with the same views; their pixels are then kept
    method : with its parameters
    device : as `pick_device` takes it
    box : the region
    """

    views: RegisteredViews
    key: Any
    method: Method
    device: str
    box: Box


@dataclass(frozen=True, eq=False)
class Picture:
    """A preview as it is to be shown.

    Attributes
    ----------
    request : what was asked for
    preview : the answer
    limits : contrast limits that suit it
    """

    request: Request
    preview: Preview
    limits: tuple[float, float]


class PreviewRunner(QObject):
    """Runs one preview at a time, and hands on its pictures."""

    shown = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: Request | None = None
        self._task: Task | None = None
        self._kept: tuple[Any, Previewer] | None = None

    @property
    def busy(self) -> bool:
        """Whether a preview is being computed."""
        return self._task is not None

    def ask(self, request: Request) -> None:
        """Compute this instead of what is under way."""
        self._drop(request)
        self._next()

    def stop(self) -> None:
        """Drop what is under way and what waits, and forget all pixels."""
        self._drop(None)
        self._kept = None

    def _drop(self, waiting: Request | None) -> None:
        self._waiting = waiting
        if self._task is not None:
            self._task.cancel()

    def _next(self) -> None:
        if self._task is not None or self._waiting is None:
            return
        request, self._waiting = self._waiting, None
        key = (request.key, request.device)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, Previewer(request.views, pick_device(request.device))
        self._task = Task(_steps, self._kept[1], request, parent=self)
        self._task.reported.connect(self._report)
        self._task.ended.connect(self._end)
        self._task.start()

    def _report(self, report: Picture | Failed) -> None:
        (self.failed if isinstance(report, Failed) else self.shown).emit(report)

    def _end(self) -> None:
        self._task = None
        self._next()


def _steps(check: Checkpoint, previewer: Previewer, request: Request) -> Generator[Picture | Failed, None, None]:
    try:
        with losses_in_words():
            for preview in previewer.run(request.method, request.box, cancel=check.stopped):
                yield Picture(request, preview, _limits(preview.values))
    except Interrupted:
        raise
    except Exception as error:
        yield failure_of(error, when_memory_ran_out="draw a smaller box to preview")


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (1, 99.9))
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)
