"""The Fine-tune panel: a generator learns from the views at hand, in a process of its own."""

from __future__ import annotations

from dataclasses import replace

import napari.viewer
from qtpy.QtWidgets import QStackedWidget, QWidget

from napari_mvfusion.errors import InputError, MVFusionError
from napari_mvfusion.gui.jobs.fusions import outermost
from napari_mvfusion.gui.jobs.tasks import Latest
from napari_mvfusion.gui.panels.base import Panel
from napari_mvfusion.gui.panels.finetune.after_run import GO_ON
from napari_mvfusion.gui.panels.finetune.run_page import RunPage, TrainingRun
from napari_mvfusion.gui.panels.finetune.setup_page import SetupPage
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.forms import NEWS
from napari_mvfusion.models import delete_model
from napari_mvfusion.training.config import TrainConfig
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.plan import Plan, as_sent
from napari_mvfusion.training.runs import UnfinishedRun, discard_run, folder_of_run, model_file
from napari_mvfusion.training.state import STATE_FILE, read_header


class FineTunePanel(Panel):
    """Trains a generator on the ticked layers, or on files, and puts the model into all lists.

    Parameters
    ----------
    viewer : the viewer whose layers are learned from
    """

    title = "Fine-tune"
    name = "finetune"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.status.go_on = GO_ON
        self._job: TrainJob | None = None
        self._training = self._goes_on = False
        self._setup = SetupPage(viewer, self.status, self.remembered())
        self._page = RunPage(viewer, self._setup.data)
        self._reading = Latest(self)
        self._pages = QStackedWidget()
        self._pages.addWidget(self._setup)
        self._pages.addWidget(self._page)
        self.lay_out(self._pages, scrolls=False)
        self._setup.start_wanted.connect(self._start)
        self._setup.unfinished.go_on.connect(self._go_on_with)
        self._setup.unfinished.discarded.connect(self._forget_run)
        self._setup.start.go_on.connect(self._go_on_with_model)
        self._reading.succeeded.connect(self._launch)
        self._reading.failed.connect(self.status.fail)
        self._reading.failed.connect(self._back)
        self._page.over.connect(self._end)
        self._page.discarded.connect(self._discard)
        self._page.after.go_on.connect(self._go_on)
        self._page.after.back.connect(self._back)
        self._page.after.renamed.connect(self._take_name)

    @property
    def going_on(self) -> str:
        """The training, while there is one."""
        return f"The training of '{self._job.out}'" if self._training and self._job is not None else ""

    def _start(self, plan: Plan) -> None:
        self.remember(self._setup.state())
        self._begin(plan.job)

    def _go_on_with(self, run: UnfinishedRun) -> None:
        """Go on with a run of an earlier session; the core refuses other data than it had."""
        self._resume(run.name, run.config, run.start_from)

    def _go_on_with_model(self, name: str, minutes: float) -> None:
        """Train a model of an earlier run on."""
        try:
            note = read_header(folder_of_run(name) / STATE_FILE)
        except InputError as error:
            self.say("error", str(error))
            return
        config = note.config.model_copy(update={"minutes": note.progress.seconds / 60 + minutes})
        self._resume(name, config, note.start_from)

    def _resume(self, name: str, config: TrainConfig, start_from: str | None) -> None:
        try:
            data = self._setup.data.data()
        except InputError as error:
            self.say("error", f"{error}. Choose the views that '{name}' was trained on, then go on with it")
            return
        job = TrainJob(
            config,
            name,
            data=data,
            sharp=self._setup.data.sharp(),
            start_from=start_from,
            device=self._setup.training.device,
            threads=preferences().threads,
            resume=True,
        )
        self._begin(job)

    def _go_on(self, minutes: float) -> None:
        """Train on: the minutes of a configuration count from the very start."""
        assert self._job is not None
        config = self._job.config.model_copy(update={"minutes": self._page.view.seconds / 60 + minutes})
        self._begin(replace(self._job, config=config, resume=True), going_on=True)

    def _begin(self, job: TrainJob, *, going_on: bool = False) -> None:
        """Start a run, as soon as its sharp volumes are read; one that goes on keeps its curves."""
        self.status.clear()
        self._setup.set_active(False)
        self._page.after.clear()
        self._goes_on = going_on
        self._reading.start(as_sent, job)

    def _launch(self, job: TrainJob) -> None:
        self._job, self._training = job, True
        run = TrainingRun(job, outermost(self))
        self._page.begin(run, going_on=self._goes_on)
        self._pages.setCurrentWidget(self._page)
        run.start()

    def _end(self) -> None:
        self._training = False
        self._setup.training.forget_name()
        NEWS.changed.emit()

    def _take_name(self, name: str) -> None:
        assert self._job is not None
        self._job = replace(self._job, out=name)

    def _discard(self) -> None:
        assert self._job is not None
        self._training = False
        name = self._job.out
        try:
            if not self._page.had_model and model_file(name).is_file():
                delete_model(name)
            discard_run(name)
        except InputError:
            pass  # it was ended before it had saved anything
        except MVFusionError as error:
            self.say("error", str(error))
        NEWS.changed.emit()
        self._back()
        self.say("done", f"Discarded what '{name}' had learned.")

    def _forget_run(self, run: UnfinishedRun) -> None:
        try:
            discard_run(run.name)
        except MVFusionError as error:
            self.say("error", str(error))
        self._setup.unfinished.refresh()
        self._setup.check()

    def _back(self) -> None:
        self._page.after.clear()
        self._pages.setCurrentWidget(self._setup)
        self._setup.set_active(True)
