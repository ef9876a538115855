"""What a fine-tune begins with: a model or random weights; own models can be renamed, exported and deleted here."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from napari_mvfusion.gui.panels.finetune.model_actions import ModelActions, file_of, is_own
from napari_mvfusion.gui.panels.finetune.prompt import Prompt
from napari_mvfusion.gui.widgets.forms import Form, Model
from napari_mvfusion.gui.widgets.inputs import push_button
from napari_mvfusion.training.loop import run_folder

_MORE_MINUTES = "5"
_SCRATCH = (
    "From scratch",
    "<b>Random weights</b><br>The universal network without anything learned. It takes hours rather than minutes.",
)


class StartForm(QWidget):
    """A list of models with what the chosen one is."""

    changed = Signal()
    said = Signal(str, str)
    go_on = Signal(str, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        tip = "The weights that the training begins with"
        form = Form([Model(_SCRATCH, name="start", label="Weights", tooltip=tip)])
        self._model = form["start"].native
        self._prompt = Prompt()
        self._actions = ModelActions(self._prompt, self)
        self._menu_button = push_button("Model…", "model_menu")
        menu = QMenu(self._menu_button)
        self._go_on = menu.addAction("Continue its training…", partial(self._act, self._ask_minutes))
        for words, act in (
            ("Rename…", self._actions.rename),
            ("Export…", self._actions.export),
            ("Delete…", self._actions.delete),
        ):
            menu.addAction(words, partial(self._act, act))
        self._menu_button.setMenu(menu)
        self._import = push_button("Import a model…", "import_model")
        self._import.setToolTip(
            "<qt>Adds a model that was exported, or a published checkpoint, to all lists of models</qt>"
        )
        self._import.clicked.connect(self._actions.ask_for_import)
        buttons = QHBoxLayout()
        buttons.addWidget(self._menu_button)
        buttons.addWidget(self._import, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(form)
        layout.addLayout(buttons)
        layout.addWidget(self._prompt)
        form.changed.connect(self._follow)
        self._actions.said.connect(self.said)
        self._actions.imported.connect(self.choose)
        self._actions.renamed.connect(self._renamed)
        self._actions.deleted.connect(self._deleted)
        self._follow()

    def name(self) -> str | None:
        """The chosen model, None for random weights."""
        return self._model.value() or None

    def choose(self, name: str) -> None:
        """Choose a model."""
        self._model.set_value(name)

    def _act(self, act: object) -> None:
        name = self.name()
        if name is not None and callable(act):
            act(name)

    def _ask_minutes(self, name: str) -> None:
        self._prompt.ask_text(
            f"Minutes to train '{name}' on, with the views that are chosen below:",
            _MORE_MINUTES,
            "Continue",
            partial(self._continue, name),
        )

    def _continue(self, name: str, text: str) -> None:
        try:
            minutes = float(text)
        except ValueError:
            minutes = 0.0
        if minutes > 0:
            self.go_on.emit(name, minutes)
        else:
            self.said.emit("error", f"'{text}' is no number of minutes: enter for example 5")

    def _follow(self) -> None:
        name = self.name()
        own = name is not None and is_own(name)
        self._menu_button.setEnabled(own)
        self._menu_button.setToolTip(
            "<qt>Continue, rename, export or delete this model</qt>"
            if own
            else "<qt>Only models of your own can be continued, renamed, exported or deleted</qt>"
        )
        self._go_on.setEnabled(own and run_folder(file_of(str(name))).is_dir())
        self._prompt.hide()
        self.changed.emit()

    def _renamed(self, old: str, new: str) -> None:
        self._forget(old)
        self._model.set_value(new)

    def _deleted(self, name: str) -> None:
        self._forget(name)

    def _forget(self, name: str) -> None:
        """The list keeps a chosen name that is gone, for the words about it; here it has gone on purpose."""
        row = self._model.findData(name)
        if row >= 0:
            self._model.removeItem(row)
