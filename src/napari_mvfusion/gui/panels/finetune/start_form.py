"""What a fine-tune begins with: a model, random weights, or a run that did not come to its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QMenu, QVBoxLayout, QWidget

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.panels.finetune.model_actions import ModelActions, Prompt
from napari_mvfusion.gui.widgets.forms import Form, Model
from napari_mvfusion.gui.widgets.inputs import push_button, text_label
from napari_mvfusion.gui.widgets.layout import column, discard, row
from napari_mvfusion.models import list_models
from napari_mvfusion.training.runs import UnfinishedRun, folder_of_run, unfinished_runs

_MORE_MINUTES = "5"
_SCRATCH = (
    "From scratch",
    "<b>Random weights</b><br>The universal network without anything learned. It takes hours rather than minutes.",
)
_MOST_RUNS = 3


class StartForm(QWidget):
    """A list of models with what the chosen one is; own models can be continued, renamed, exported and deleted here.

    Parameters
    ----------
    say : says what was done, or why it could not be
    """

    changed = Signal()
    go_on = Signal(str, float)

    def __init__(self, say: Callable[[str, str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._say = say
        tip = "The weights that the training begins with"
        form = Form([Model(_SCRATCH, name="start", label="Weights", tooltip=tip)])
        self._model = form["start"].native
        self._prompt = Prompt()
        actions = ModelActions(self._prompt, say, self)
        self._menu_button = push_button("Model…", "model_menu")
        menu = QMenu(self._menu_button)
        self._go_on = menu.addAction("Continue its training…", self._ask_minutes)
        menu.addAction("Rename…", lambda: actions.rename(self._model.value()))
        menu.addAction("Export…", lambda: actions.export(self._model.value()))
        menu.addAction("Delete…", lambda: actions.delete(self._model.value()))
        self._menu_button.setMenu(menu)
        tip = "<qt>Adds a model that was exported, or a published checkpoint, to all lists of models</qt>"
        chosen_file = push_button("Import a model…", "import_model", tip)
        chosen_file.clicked.connect(actions.ask_for_import)
        column(self, form, row(self._menu_button, (chosen_file, 1)), self._prompt)
        form.changed.connect(self._follow)
        actions.imported.connect(self.choose)
        actions.renamed.connect(self._take_name)
        actions.deleted.connect(self._forget)
        self._follow()

    def name(self) -> str | None:
        """The chosen model, None for random weights."""
        return self._model.value() or None

    def choose(self, name: str) -> None:
        """Choose a model."""
        self._model.set_value(name)

    def _ask_minutes(self) -> None:
        name = self._model.value()
        words = f"Minutes to train '{name}' on, with the views that are chosen below:"
        self._prompt.ask_text(words, _MORE_MINUTES, "Continue", partial(self._continue, name))

    def _continue(self, name: str, text: str) -> None:
        try:
            minutes = float(text)
        except ValueError:
            minutes = 0.0
        if minutes > 0:
            self.go_on.emit(name, minutes)
        else:
            self._say("error", f"'{text}' is no number of minutes: enter for example 5")

    def _follow(self) -> None:
        """Allow what can be done with the chosen model."""
        name = self._model.value()
        own = any(entry.name == name and not entry.shipped for entry in list_models())
        self._menu_button.setEnabled(own)
        self._menu_button.setToolTip(
            "<qt>Continue, rename, export or delete this model</qt>"
            if own
            else "<qt>Only models of your own can be continued, renamed, exported or deleted</qt>"
        )
        self._go_on.setEnabled(own and folder_of_run(name).is_dir())
        self._prompt.hide()
        self.changed.emit()

    def _take_name(self, old: str, new: str) -> None:
        self._forget(old)
        self._model.set_value(new)

    def _forget(self, name: str) -> None:
        """The list keeps a chosen name that is gone, for the words about it; here it has gone on purpose."""
        row = self._model.findData(name)
        if row >= 0:
            self._model.removeItem(row)


class UnfinishedRuns(QWidget):
    """Runs that were begun and did not come to their end, as after a crash, a power cut or a stop; hidden without any.

    `go_on` and `discarded` give the run whose button was pressed.
    """

    go_on = Signal(object)
    discarded = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: list[tuple[str, int]] | None = None
        self._rows = QVBoxLayout()
        self._rows.setSpacing(3)
        self._prompt = Prompt()
        column(self, self._rows, self._prompt)
        self.refresh()

    def refresh(self) -> None:
        """Look again at what is there."""
        runs = [run for run in unfinished_runs() if not run.kept_since][:_MOST_RUNS]
        now = [(run.name, run.step) for run in runs]
        self.setVisible(bool(runs))
        if now == self._shown:
            return
        self._shown = now
        self._prompt.hide()
        while (item := self._rows.takeAt(0)) is not None:
            discard(item.widget())
        for run in runs:
            self._rows.addWidget(self._box(run))

    def _box(self, run: UnfinishedRun) -> QFrame:
        box = QFrame()
        box.setObjectName("unfinished")
        box.setStyleSheet(f"QFrame#unfinished {{ {box_of('warning')} }}")
        text = text_label("unfinished_text", run.words(datetime.now(UTC)))
        tip = "<qt>Goes on from its last checkpoint, its own settings and the views chosen below</qt>"
        go_on = push_button("Continue", "continue_unfinished", tip)
        go_on.clicked.connect(partial(self.go_on.emit, run))
        forget = push_button("Discard", "discard_unfinished", "Forget what was learned; asks first")
        question = f"Discard all that was learned for '{run.name}'? This cannot be undone."
        answer = partial(self.discarded.emit, run)
        forget.clicked.connect(lambda: self._prompt.ask(question, "Discard", answer))
        column(box, text, row(None, go_on, forget), margins=(6, 4, 6, 4))
        return box
