"""Fuses views with models, one after the other, each as a layer that fills while it is computed."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_mvfusion.engine.series import FuseJob, JobDone
from napari_mvfusion.gui.jobs.result import ResultLayer
from napari_mvfusion.gui.jobs.tasks import Failed, Task
from napari_mvfusion.gui.jobs.worker import Report, fuse_run
from napari_mvfusion.gui.layers.conversion import open_layers, same_place
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.panels.fuse.jobs import jobs_of
from napari_mvfusion.gui.panels.fuse.output_form import Target, check_memory
from napari_mvfusion.methods import LearnedFusion


class Fusing(QObject):
    """A queue of models.

    Signals: `begun` (a run's title), `reported` (event, whether there is anything to see), and at the end either
    `finished` (the layers) or `ended_early`.

    Parameters
    ----------
    viewer : gets the layers
    """

    begun = Signal(str, str)
    reported = Signal(object, bool)
    finished = Signal(object)
    ended_early = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: Task | None = None
        self._waiting: deque[tuple[str, FuseJob]] = deque()
        self._done: list[Image] = []
        self._complete = False

    @property
    def running(self) -> bool:
        """Whether anything is being fused."""
        return self._run is not None

    def start(self, layers: list[Image], models: list[str], device: str, host: QObject) -> None:
        """Fuse layers with these models; runs live as long as `host`.

        Raises
        ------
        InputError, DeviceError
            If the layers do not fit together or to a model, or the results do not fit into memory.
        """
        opened = open_layers(layers)
        methods = [LearnedFusion(model=name) for name in models]
        for method in methods:
            method.check(opened.views)
        check_memory(opened.views.grid, len(opened.indices) * len(models))
        self._first, self._host = layers[0], host
        jobs = jobs_of(opened, list(methods), Target(device, None))
        self._waiting = deque((Path(name).stem, job) for name, job in zip(models, jobs, strict=True))
        self._done = []
        self._next()

    def cancel(self) -> None:
        """Stop within a second; what is finished stays."""
        self._waiting.clear()
        if self._run is not None:
            self._run.cancel()

    def _next(self) -> None:
        name, job = self._waiting.popleft()
        self._complete = False
        run = self._run = fuse_run(job, self._host)
        sample = notes(self._first).get("sample") or ""
        limits = tuple(self._first.contrast_limits)
        result = ResultLayer(self._viewer, job, f"{sample} {name}".strip(), same_place(self._first), limits, run)
        self._layer = self._viewer.layers[-1]
        self._result = result
        result.removed.connect(run.cancel)
        run.reported.connect(result.follow)
        run.reported.connect(self._follow)
        run.ended.connect(self._end)
        self.begun.emit(name, name)
        run.start()

    def _follow(self, event: Report) -> None:
        if isinstance(event, JobDone):
            self._complete = True
            self._done.append(self._layer)
        if isinstance(event, Failed):
            self._waiting.clear()
        self.reported.emit(event, self._result.filled)

    def _end(self) -> None:
        self._run = None
        if not self._complete:
            self._waiting.clear()
            self.ended_early.emit()
        elif self._waiting:
            self._next()
        else:
            self.finished.emit(list(self._done))
