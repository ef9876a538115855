"""After a fine-tune: whether it helped, and what can be done with its model: fuse, compare with the start, keep house."""

from __future__ import annotations

from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_mvfusion.engine.series import check_memory
from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.fusions import Fusions, Target
from napari_mvfusion.gui.jobs.status import Status, box_of, in_window
from napari_mvfusion.gui.layers.opened import open_layers
from napari_mvfusion.gui.panels.finetune.comparing import Comparing
from napari_mvfusion.gui.panels.finetune.data_form import DataForm
from napari_mvfusion.gui.panels.finetune.model_actions import ModelActions, Prompt
from napari_mvfusion.gui.settings import preferences
from napari_mvfusion.gui.widgets.inputs import NumberField, describe, push_button, text_label
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.methods import LearnedFusion
from napari_mvfusion.training.job import TrainJob
from napari_mvfusion.training.runs import folder_of_run, model_file

GO_ON = "Continue"
_MORE_MINUTES = 5.0
_BUTTONS = (
    ("compare", "Compare with the start", "Fuses the views with both models, side by side, with their residuals"),
    ("use", "Fuse with it", "Fuses the ticked views with the new model, as a new layer"),
    ("export", "Export…", "Saves a copy of the model as a file, for another computer"),
    ("rename", "Rename…", "Gives the model another name"),
    ("delete", "Delete…", "Deletes the model; asks first"),
    ("another", "New fine-tune", "Back to the settings; the model stays in the lists"),
)
_CONTINUE_TIP = "Trains on from where it ended, with the same data"
_NO_MODEL = "There is no model: the run ended before anything was kept"
_NO_START = "It was trained from random weights: there is no start to compare with"
_FILES = "The views come from files: open them as layers first"
_NO_VIEWS = "No view is ticked: tick them in the settings"
_BUSY = "Something is being fused: cancel it, or wait"


class AfterRun(QWidget):
    """The words and the buttons of a run that is over; hidden without one.

    Signals: `back` asks for the settings, `renamed` gives the new name, `go_on` the minutes to train on.

    Attributes
    ----------
    below : what is going on, with buttons to end it; stands where the page puts it

    Parameters
    ----------
    viewer : gets the fused layers
    data : knows which layers are ticked
    prompt : where to ask
    messages : say how fusions go, and what was done
    """

    back = Signal()
    renamed = Signal(str)
    go_on = Signal(float)

    def __init__(
        self, viewer: ViewerModel, data: DataForm, prompt: Prompt, messages: Status, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._data, self._messages = data, messages
        self._job: TrainJob | None = None
        self._name = ""
        self._fusions = Fusions(viewer, messages, self)
        self._comparing = Comparing(viewer, messages, self)
        self._actions = ModelActions(prompt, messages.say, self)
        self._lay_out()
        self._fusions.finished.connect(self._finish)
        self._fusions.changed.connect(self._allow)
        self._comparing.changed.connect(self._allow)
        self._actions.renamed.connect(self._take_name)
        self._actions.deleted.connect(self._leave)
        data.changed.connect(self._allow)
        self._allow()

    def say(self, kind: str, text: str) -> None:
        """Show how it ended; `kind` is "done", "warning" or "error"."""
        self._words.setText(in_window(text, GO_ON))
        self._words.setStyleSheet(f"{box_of(kind)} padding: 5px;")

    def show_job(self, job: TrainJob) -> None:
        """A run is over."""
        self._job, self._name = job, job.out
        self._allow()
        self.show()

    def clear(self) -> None:
        """Another run begins, or the settings are shown: one picture again."""
        self._fusions.cancel()
        self._comparing.cancel()
        self._comparing.stop()
        self._job = None
        self.hide()

    def _lay_out(self) -> None:
        self._words = text_label("outcome")
        self._tips = {name: tip for name, _, tip in _BUTTONS} | {"continue": _CONTINUE_TIP}
        self._pressed: dict[str, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, (name, label, tip) in enumerate(_BUTTONS):
            self._pressed[name] = push_button(label, name, tip)
            self._pressed[name].clicked.connect(lambda _, name=name: self._act(name))
            grid.addWidget(self._pressed[name], number // 2, number % 2)
        self._minutes = NumberField(0.05, 10080, 2)
        describe(self._minutes, "more_minutes", "Minutes to continue for")
        self._minutes.setSuffix(" min")
        self._minutes.set_value(_MORE_MINUTES)
        self._pressed["continue"] = push_button("Continue for", "continue", _CONTINUE_TIP)
        self._pressed["continue"].clicked.connect(lambda: self.go_on.emit(float(self._minutes.value())))
        column(self, self._words, row((self._pressed["continue"], 1), (self._minutes, 1)), grid)
        self.hide()
        self._cancel = push_button("Cancel", "cancel_fusing", "Stops within a second; what is finished stays")
        self._cancel.clicked.connect(self._fusions.cancel)
        self._one = push_button("Leave the side by side view", "leave_grid")
        self._one.clicked.connect(self._comparing.stop)
        self.below = QWidget()
        column(self.below, self._comparing.bar, self._cancel, self._one)
        for part in (self._cancel, self._one):
            part.hide()

    def _allow(self) -> None:
        """Say which buttons can be pressed now, and why others cannot."""
        self._cancel.setVisible(self._fusions.running)
        self._one.setVisible(self._comparing.on)
        if self._job is None:
            return
        model = "" if model_file(self._name).is_file() else _NO_MODEL
        busy = _BUSY if self._fusions.running else ""
        views = _FILES if self._data.from_files else "" if self._data.layers else _NO_VIEWS
        start = "" if self._job.start_from else _NO_START
        obstacles = {
            "compare": model or start or views or busy,
            "use": model or views or busy,
            "export": model,
            "rename": model or busy,
            "delete": model or busy,
            "another": busy,
            "continue": (model if not folder_of_run(self._name).is_dir() else "") or busy,
        }
        for name, button in self._pressed.items():
            button.setEnabled(not obstacles[name])
            button.setToolTip(f"<qt>{obstacles[name] or self._tips[name]}</qt>")
        self._minutes.setEnabled(not obstacles["continue"])

    def _act(self, button: str) -> None:
        assert self._job is not None
        self._messages.clear()
        match button:
            case "compare":
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
        """Fuse the ticked layers with these models, one after the other."""
        assert self._job is not None
        self._comparing.cancel()
        self._comparing.stop()
        layers = self._data.layers
        methods = [LearnedFusion(model=name) for name in models]
        try:
            self._opened = opened = open_layers(layers)
            for method in methods:
                method.check(opened.views)
            check_memory(opened.views.grid, len(opened.indices) * len(models))
        except MVFusionError as error:
            self._messages.say("error", str(error))
            return
        prefer = preferences()
        target = Target(self._job.device, prefer.threads, prefer.memory_share)
        self._fusions.start(layers, opened, methods, target, [Path(name).stem for name in models])

    def _finish(self, layers: list[Image]) -> None:
        if len(layers) > 1:
            # How long it took says nothing here.
            self._messages.clear()
            self._comparing.start(layers, self._name, self._opened)
        del self._opened

    def _take_name(self, _: str, new: str) -> None:
        self._name = new
        self.renamed.emit(new)
        self._allow()

    def _leave(self) -> None:
        self._job = None
        self.back.emit()
