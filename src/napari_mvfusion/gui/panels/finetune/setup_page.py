"""Before a fine-tune: what it begins with, what it learns from, for how long, and what that takes."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_mvfusion.cli.script import training_command, training_python
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError, MVFusionError
from napari_mvfusion.gui.entrances import open_beads_form
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Failed, Latest
from napari_mvfusion.gui.panels.base import NOT_IN_FILES, CopyAs
from napari_mvfusion.gui.panels.finetune.data_form import DataForm
from napari_mvfusion.gui.panels.finetune.start_form import StartForm, UnfinishedRuns
from napari_mvfusion.gui.panels.finetune.training_form import TrainingForm
from napari_mvfusion.gui.panels.fuse.psf_flaws import WaysOut
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.inputs import push_button, text_label, wrapped
from napari_mvfusion.gui.widgets.layout import column, group, row, scrolled
from napari_mvfusion.gui.widgets.waiting import Later
from napari_mvfusion.system.words import sentence
from napari_mvfusion.training.plan import FormValues, Plan, plan_steps, suggest_name

_CHECK_MS = 100
_LOOKING = "The views are being looked at"
_BLOCKED = "The PSF in the red box has to be mended first"


class SetupPage(QWidget):
    """The forms; `start_wanted` gives the plan of the run.

    Parameters
    ----------
    viewer : of the layers
    status : says what was done, and what went wrong
    state : what `state` held before
    """

    start_wanted = Signal(object)

    def __init__(
        self, viewer: ViewerModel, status: Status, state: dict[str, Any], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._status = status
        self.unfinished = UnfinishedRuns()
        self.start = StartForm(status.say_instead)
        self.data = DataForm(viewer, status)
        self.training = TrainingForm()
        self._ways_out = WaysOut(self.data.choose_psf, lambda: open_beads_form(viewer.window))
        self._plan: Plan | None = None
        self._copy_wanted = ""
        self._active = True
        self._planning = Latest(self)
        self._lay_out()
        self._due = Later(_CHECK_MS, self.check, self)
        self._restore(state)
        for part in (self.start, self.data, self.training):
            part.changed.connect(self._check_soon)
        self.data.judged.connect(self._look_at_psfs)
        self._planning.reported.connect(self._take)
        self._planning.failed.connect(self._refuse)
        self._go.clicked.connect(self._start)
        self.check()

    def set_active(self, active: bool) -> None:
        """While a run goes on nothing is planned."""
        self._active = active
        if active:
            self.unfinished.refresh()
            self.check()
        else:
            self._due.cancel()
            self._planning.cancel()
            self._copy_wanted = ""

    def _check_soon(self) -> None:
        """Something was entered: what was planned before must not be started any more."""
        if self._active:
            self._plan = None
            self._planning.cancel()
            self._allow(_LOOKING)
            self._due.ask()

    def _look_at_psfs(self) -> None:
        """More is known of the PSFs: what is planned stays, whether it may be started can change."""
        if self._active:
            before = self.data.looking
            self.data.refresh()
            if self._plan is not None:
                self._allow(_BLOCKED if self.data.blocked else "")
            elif before and not self.data.looking and not self._planning.running:
                self._due.ask()

    def check(self) -> None:
        """Look at what is entered, and plan the run in a thread."""
        if not self._active:
            return
        self._plan = None
        self.training.set_mode(self.data.mode)
        self.data.refresh()
        self.training.suggest(suggest_name(self.start.name(), self.data.sample))
        # What these have changed is looked at here.
        self._due.cancel()
        problem = self.data.nothing
        if not problem:
            try:
                form_values = self.form_values()
            except MVFusionError as error:
                problem = str(error)
        if problem:
            self._planning.cancel()
            self._show_problem(problem, shown=not self.data.nothing)
            return
        self._planning.start(plan_steps, form_values)
        self._allow(_LOOKING)

    def form_values(self) -> FormValues:
        """What is entered.

        Raises
        ------
        InputError
            If it cannot be understood.
        """
        return FormValues(
            self.start.name(),
            self.data.mode,
            self.training.minutes,
            self.data.region(),
            self.training.expert(),
            self.training.device,
            preferences().threads,
            self.data.data(),
            self.data.sharp(),
            self.training.name,
        )

    def _lay_out(self) -> None:
        inputs = QWidget()
        groups = (("Start", self.start), ("Views to learn from", self.data), ("Training", self.training))
        column(inputs, self.unfinished, *(group(title, part) for title, part in groups), None)
        self._takes = text_label("takes")
        self._hint = text_label("hint")
        self._go = push_button("Start", "start_training")
        self._copy = CopyAs(self._as_text, self._status.say_instead)
        buttons = row((self._go, 2), (self._copy, 1))
        column(self, (scrolled(inputs), 1), self._takes, self._hint, self._ways_out, buttons)

    def state(self) -> dict[str, Any]:
        """What is entered, as JSON types."""
        return {"data": self.data.state(), "training": self.training.state(), "start": self.start.name() or ""}

    def _restore(self, state: dict[str, Any]) -> None:
        self.data.restore(state.get("data", {}))
        if "training" in state:
            self.training.restore(state["training"])
        self.start.choose(state.get("start", "universal"))

    def _take(self, plan: Plan) -> None:
        self._plan = plan
        self._takes.setText(plan.words())
        self._takes.show()
        self._hint.setText(sentence(" ".join(plan.remarks)))
        self._hint.setVisible(bool(plan.remarks))
        self._ways_out.hide()
        self._allow(_BLOCKED if self.data.blocked else "")
        if self._copy_wanted:
            self._copy.copy(self._copy_wanted)

    def _refuse(self, failed: Failed) -> None:
        if self.data.looking:
            # What is being made ready could not be used yet: it is planned again in a moment.
            return
        self._show_problem(failed.message)
        if failed.details:
            self._status.fail(failed)

    def _show_problem(self, problem: str, *, shown: bool = True) -> None:
        self._plan = None
        self._takes.hide()
        problem = self._ways_out.offer(self.data.layers, problem)
        self._hint.setText(sentence(problem))
        self._hint.setVisible(shown)
        self._allow(problem)
        if self._copy_wanted:
            self._copy_wanted = ""
            self._status.say_instead("error", problem)

    def _allow(self, obstacle: str) -> None:
        self._go.setEnabled(not obstacle)
        self._go.setToolTip(wrapped(sentence(obstacle) or "Train in the background; napari stays free"))
        self._copy.setEnabled(self._plan is not None)
        self._copy.setToolTip(wrapped(sentence(obstacle) or self._copy.tip))

    def _start(self) -> None:
        if self._plan is not None:
            self.start_wanted.emit(self._plan)

    def _as_text(self, kind: str) -> str | None:
        """The plan as text; one that is being made, as after a late change, is copied when it is there."""
        self._copy_wanted = kind if self._plan is None else ""
        if self._plan is None:
            return None
        job = self._plan.job
        inputs = [each for each in job.data if isinstance(each, Inputs)]
        if len(inputs) < len(job.data):
            raise InputError(NOT_IN_FILES)
        if any(hasattr(each, "dtype") for each in job.sharp):
            raise InputError("a sharp volume is an opened layer: save it as a TIFF file, and add that instead")
        return (training_command if kind == "command" else training_python)(inputs, job)
