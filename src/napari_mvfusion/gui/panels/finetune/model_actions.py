"""Import, rename, export and delete a model of the user, after a question in the panel itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QFrame, QLineEdit, QWidget

from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.widgets.forms import NEWS
from napari_mvfusion.gui.widgets.inputs import ask_for_file, describe, push_button, text_label
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.gui.widgets.waiting import while_busy
from napari_mvfusion.models import export_model
from napari_mvfusion.models.importing import free_name, import_model
from napari_mvfusion.models.model_file import SUFFIX
from napari_mvfusion.training.runs import delete_with_run, rename_with_run

_MODELS = f"Models (*{SUFFIX} *.ckpt *.pt *.pth);;All files (*)"


class Prompt(QFrame):
    """A question that nothing else has to wait for; hidden until something is asked, and the last question counts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question")
        self.setStyleSheet(f"QFrame#question {{ {box_of('warning')} }}")
        self._text = text_label("question_text")
        self._entry = QLineEdit()
        describe(self._entry, "question_entry", "Answer")
        self._yes = push_button("Yes", "question_yes")
        no = push_button("Cancel", "question_no")
        self._answer: Callable[[str], None] = lambda text: None
        column(self, self._text, self._entry, row(None, self._yes, no), margins=(6, 4, 6, 4))
        self._yes.clicked.connect(self._say_yes)
        self._entry.returnPressed.connect(self._say_yes)
        no.clicked.connect(self.hide)
        self.hide()

    def ask(self, text: str, yes: str, answer: Callable[[], None]) -> None:
        """Ask whether something shall be done.

        Parameters
        ----------
        text : the question
        yes : words on the button that does it
        answer : called then
        """
        self._entry.hide()
        self._show(text, yes, lambda _: answer())

    def ask_text(self, text: str, proposal: str, yes: str, answer: Callable[[str], None]) -> None:
        """Ask for a line of text; see `ask`."""
        self._entry.setText(proposal)
        self._entry.show()
        self._show(text, yes, answer)
        self._entry.setFocus()
        self._entry.selectAll()

    def _show(self, text: str, yes: str, answer: Callable[[str], None]) -> None:
        self._text.setText(text)
        self._yes.setText(yes)
        self._answer = answer
        self.show()

    def _say_yes(self) -> None:
        self.hide()
        self._answer(self._entry.text().strip())


class ModelActions(QObject):
    """What can be done with a model; asks in the panel first.

    Signals: `imported` (name), `renamed` (old name, new name), `deleted` (name).

    Parameters
    ----------
    prompt : where to ask
    say : says what was done, or why it could not be
    parent : the widget in front of which dialogs stand
    """

    imported = Signal(str)
    renamed = Signal(str, str)
    deleted = Signal(str)

    def __init__(self, prompt: Prompt, say: Callable[[str, str], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._prompt, self._say, self._parent = prompt, say, parent

    def ask_for_import(self) -> None:
        """Ask for the file of a model; where its name cannot be that of the model, ask for another."""
        chosen, _ = QFileDialog.getOpenFileName(self._parent, "Import a model", "", _MODELS)
        if not chosen:
            return
        path = Path(chosen)
        name = free_name(path)
        if name == path.stem:
            self._import(path, name)
        else:
            words = f"'{path.stem}' cannot be the name of this model, or is taken. What to call it:"
            self._prompt.ask_text(words, name, "Import", partial(self._import, path))

    def rename(self, name: str) -> None:
        """Ask for another name; the run that the model came from gets it too."""
        self._prompt.ask_text(f"Another name for '{name}':", name, "Rename", partial(self._rename, name))

    def export(self, name: str) -> None:
        """Ask for a file, and write a copy there."""
        path = ask_for_file(self._parent, f"Export {name}", name, {SUFFIX.lstrip("."): "Model"})
        if path is not None:
            self._try(lambda: export_model(name, path, overwrite=True), f"Exported as {path}.")

    def delete(self, name: str) -> None:
        """Ask whether it shall go, with the run that it came from."""
        words = f"Delete the model '{name}' from this computer? This cannot be undone."
        self._prompt.ask(words, "Delete", partial(self._delete, name))

    def _import(self, path: Path, name: str) -> None:
        # A checkpoint is read whole, and checked: seconds in which the window would stand still.
        importing = partial(while_busy, f"Importing '{name}'…", lambda: import_model(path, name))
        if self._try(importing, f"Imported '{name}'."):
            self.imported.emit(name)

    def _rename(self, old: str, new: str) -> None:
        if new != old and self._try(lambda: rename_with_run(old, new), f"'{old}' is called '{new}' now."):
            self.renamed.emit(old, new)

    def _delete(self, name: str) -> None:
        if self._try(lambda: delete_with_run(name), f"Deleted '{name}'."):
            self.deleted.emit(name)

    def _try(self, act: Callable[[], object], words: str) -> bool:
        try:
            act()
        except MVFusionError as error:
            self._say("error", str(error))
            return False
        NEWS.changed.emit()
        self._say("done", words)
        return True
