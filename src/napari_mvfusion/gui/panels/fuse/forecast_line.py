"""The line above Fuse that says how much memory a run will take, and about how long, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from napari.layers import Image
from qtpy.QtWidgets import QLabel, QWidget

from napari_mvfusion.data.events import Prepared
from napari_mvfusion.engine.forecast import Forecaster, Speeds, forecast_words, kind_of, passes_told
from napari_mvfusion.engine.running_series import VolumeDone
from napari_mvfusion.engine.series import FuseJob, JobDone, SeriesEvent
from napari_mvfusion.gui.jobs.series_runs import SeriesJob
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.layers.opened import Opened
from napari_mvfusion.gui.panels.fuse.live_preview import identity
from napari_mvfusion.gui.settings import Preferences, keep, last_used, preferences
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.methods.base import Method

_NAME = "speeds"
# A slider that moves is not followed.
_SETTLE_MS = 300
_KEPT = 16


@dataclass(frozen=True)
class _Question:
    """What is to be forecast; equal ones have equal answers."""

    layers: tuple[Any, ...]
    methods: tuple[Method, ...]
    device: str
    on_disk: bool
    volumes: int
    prefer: Preferences


class ForecastLine(QLabel):
    """Forecasts in a thread what the ticked methods will need, and learns from the runs that it is told of."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("forecast")
        self.setWordWrap(True)
        self.setToolTip("<qt>Time is told from earlier runs on this computer that were like this one</qt>")
        self._task = Latest(self)
        self._task.succeeded.connect(self._answer)
        self._task.failed.connect(self.hide)
        self._question: _Question | None = None
        self._opened: Opened | None = None
        self._forecaster: tuple[Any, Forecaster] | None = None
        self._answers: list[tuple[_Question, str]] = []
        self._prepared: Prepared | None = None
        self._speeds = Speeds(last_used(_NAME))
        self._due = Later(_SETTLE_MS, self._ask, self)
        self.hide()

    @property
    def busy(self) -> bool:
        """Whether an answer is on its way."""
        return self._due.due or self._task.running

    def show_for(
        self,
        layers: Sequence[Image],
        opened: Opened,
        methods: Sequence[Method],
        device: str,
        *,
        on_disk: bool,
        volumes: int,
    ) -> None:
        """Say what fusing so many volumes like these layers by these methods will need, as soon as that is known."""
        question = _Question(tuple(map(identity, layers)), tuple(methods), device, on_disk, volumes, preferences())
        known = next((text for asked, text in self._answers if asked == question), None)
        if known is None and question == self._question and self.isVisibleTo(self.parentWidget()):
            return
        self._question, self._opened = question, opened
        self._task.cancel()
        self._due.cancel()
        self.setText("Estimating memory and time…" if known is None else known)
        self.show()
        if known is None:
            self._due.ask()

    def clear_away(self) -> None:
        """Nothing can be fused now."""
        self._question = None
        self._due.cancel()
        self._task.cancel()
        self.hide()

    def learn(self, job: FuseJob | SeriesJob, event: SeriesEvent | VolumeDone | Failed) -> None:
        """Follow a run: how long it took is what the next one is told from."""
        match event:
            case Prepared():
                self._prepared = event
            case JobDone(seconds=seconds) if isinstance(job, FuseJob):
                self._take_time(job, seconds / len(job.parts))
            case VolumeDone(seconds=seconds):
                self._take_time(job, seconds)

    def _take_time(self, job: FuseJob | SeriesJob, seconds: float) -> None:
        """A volume took so long."""
        if self._prepared is None or job.resume or self._prepared.resumed_tiles:
            return
        key = kind_of(job.method, len(job.views), job.device, job.threads)
        passes = passes_told(job.method, self._prepared.passes)
        self._speeds.add(key, job.views.grid.box.size, passes, seconds)
        keep(_NAME, self._speeds.state())
        self._answers.clear()

    def _ask(self) -> None:
        question, opened = self._question, self._opened
        if question is None or opened is None:
            return
        if self._forecaster is None or self._forecaster[0] != question.layers:
            self._forecaster = question.layers, Forecaster(opened.views, self._speeds)
        forecaster = self._forecaster[1]
        self._task.start(
            lambda check: forecast_words(
                forecaster,
                question.methods,
                question.device,
                volumes=question.volumes,
                memory_share=question.prefer.memory_share,
                to_file=question.on_disk,
                threads=question.prefer.threads,
                cancel=check.stopped,
            )
        )

    def _answer(self, text: str | None) -> None:
        if text is not None and self._question is not None:
            self._answers = [*self._answers, (self._question, text)][-_KEPT:]
            self.setText(text)
