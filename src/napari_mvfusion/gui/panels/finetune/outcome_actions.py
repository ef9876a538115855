"""After a run: fuse with the new model, compare it with the start, and keep house with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_mvfusion.engine.series import check_memory
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.fusions import Fusions, Target
from napari_mvfusion.gui.layers.conversion import open_layers
from napari_mvfusion.gui.panels.finetune.comparing import Comparing
from napari_mvfusion.gui.panels.finetune.data_form import DataForm
from napari_mvfusion.gui.panels.finetune.model_actions import ModelActions, file_of
from napari_mvfusion.gui.panels.finetune.run_page import RunPage
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.inputs import push_button
from napari_mvfusion.methods import LearnedFusion
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.process import TrainingOutcome

_NO_MODEL = "There is no model: the run ended before anything was kept"
_FILES = "The views come from files: open them as layers first"
_BUSY = "Something is being fused: cancel it, or wait"


class OutcomeActions(QObject):
    """Acts on the buttons of a run that is over; `back` asks for the settings, `renamed` gives the new name.

    Parameters
    ----------
    viewer : gets the fused layers
    page : has the buttons
    data : knows which layers are ticked
    """

    back = Signal()
    renamed = Signal(str)

    def __init__(self, viewer: ViewerModel, page: RunPage, data: DataForm, parent: QWidget) -> None:
        super().__init__(parent)
        self._page, self._data = page, data
        self._job: TrainJob | None = None
        self._name = ""
        self._fusions = Fusions(viewer, page.messages, parent)
        self._comparing = Comparing(viewer, self)
        self._actions = ModelActions(page.prompt, parent)
        self._cancel = push_button("Cancel", "cancel_fusing", "Stops within a second; what is finished stays")
        self._one = push_button("Leave the side by side view", "leave_grid")
        for part in (self._comparing.bar, self._cancel, self._one):
            page.layout().addWidget(part)
            part.hide()
        page.outcome.pressed.connect(self._act)
        self._cancel.clicked.connect(self._fusions.cancel)
        self._one.clicked.connect(self._comparing.stop)
        self._fusions.finished.connect(self._finish)
        self._fusions.changed.connect(self._allow)
        self._comparing.measured.connect(self._tell_residuals)
        self._comparing.failed.connect(page.messages.fail)
        self._comparing.changed.connect(self._allow)
        self._actions.said.connect(self._say)
        self._actions.renamed.connect(self._rename)
        self._actions.deleted.connect(self._delete)
        data.changed.connect(self._allow)

    def show_outcome(self, job: TrainJob, ended: TrainingOutcome) -> None:
        """A run is over."""
        self._job, self._name = job, job.out
        del ended
        self._allow()

    def clear(self) -> None:
        """Another run begins, or the settings are shown: one picture again."""
        self._fusions.cancel()
        self._comparing.cancel()
        self._comparing.stop()
        self._job = None
        self._allow()

    def _allow(self) -> None:
        """Say which buttons can be pressed now, and why others cannot."""
        self._cancel.setVisible(self._fusions.running)
        self._one.setVisible(self._comparing.on)
        if self._job is None:
            return
        model = "" if file_of(self._name).is_file() else _NO_MODEL
        busy = _BUSY if self._fusions.running else ""
        views = (
            _FILES
            if self._data.from_files
            else ""
            if self._data.layers
            else "No view is ticked: tick them in the settings"
        )
        start = "" if self._job.start_from else "It was trained from random weights: there is no start to compare with"
        gone = "" if model == "" or file_of(self._job.out).with_suffix(".training").is_dir() else _NO_MODEL
        self._page.outcome.allow(
            {
                "compare": model or start or views or busy,
                "use": model or views or busy,
                "export": model,
                "rename": model or busy,
                "delete": model or busy,
                "another": busy,
                "continue": gone or busy,
            }
        )

    def _act(self, button: str) -> None:
        self._page.messages.clear()
        match button:
            case "compare":
                assert self._job is not None
                self._fuse([str(self._job.start_from), self._name])
            case "use":
                self._fuse([self._name])
            case "export":
                self._actions.export(self._name)
            case "rename":
                self._actions.rename(self._name)
            case "delete":
                self._actions.delete(self._name)
            case "another":
                self.back.emit()

    def _fuse(self, models: list[str]) -> None:
        assert self._job is not None
        self._comparing.cancel()
        self._comparing.stop()
        self._views = self._data.layers
        methods = [LearnedFusion(model=name) for name in models]
        try:
            opened = open_layers(self._views)
            for method in methods:
                method.check(opened.views)
            check_memory(opened.views.grid, len(opened.indices) * len(models))
        except MVFusionError as error:
            self._page.messages.say("error", str(error))
            return
        titles = [Path(name).stem for name in models]
        prefer = preferences()
        target = Target(self._job.device, prefer.threads, prefer.memory_share)
        self._fusions.start(self._views, opened, methods, target, titles)

    def _finish(self, layers: list[Image]) -> None:
        if len(layers) > 1:
            # How long it took says nothing here.
            self._page.messages.clear()
            self._comparing.show_layers(layers)
            self._comparing.measure(layers, ["residual, start", f"residual, {self._name}"], self._views)

    def _tell_residuals(self, residuals: list[float]) -> None:
        before, after = residuals
        self._say(
            "done",
            f"Over the whole volume the residual is {before:.2f} with the start and {after:.2f} with the new model. 1 is "
            "the noise alone; the attenuation of the views is allowed for. The residual layers show where it is.",
        )

    def _say(self, kind: str, text: str) -> None:
        self._page.messages.say(kind, text)

    def _rename(self, old: str, new: str) -> None:
        del old
        self._name = new
        if self._job is not None:
            self._job = replace(self._job, out=new)
        self._page.rename(new)
        self.renamed.emit(new)
        self._allow()

    def _delete(self, name: str) -> None:
        del name
        self._job = None
        self.back.emit()
