"""Import, rename, export and delete a model of the user, with the run that it came from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_mvfusion.errors import MVFusionError
from napari_mvfusion.gui.panels.finetune.prompt import Prompt
from napari_mvfusion.gui.widgets.forms import NEWS
from napari_mvfusion.gui.widgets.inputs import ask_for_file
from napari_mvfusion.gui.widgets.waiting import while_busy
from napari_mvfusion.io.atomic import writing
from napari_mvfusion.models import delete_model, export_model, list_models, rename_model, user_folder
from napari_mvfusion.models.importing import free_name, import_model
from napari_mvfusion.models.model_file import SUFFIX
from napari_mvfusion.training.loop import run_folder
from napari_mvfusion.training.runs import discard_run

_MODELS = f"Models (*{SUFFIX} *.ckpt *.pt *.pth);;All files (*)"


class ModelActions(QObject):
    """What can be done with a model; asks in the panel first.

    Signals: `imported` (name), `renamed` (old name, new name), `deleted` (name), and `said` (kind, words).

    Parameters
    ----------
    prompt : where to ask
    parent : the widget in front of which dialogs stand
    """

    imported = Signal(str)
    renamed = Signal(str, str)
    deleted = Signal(str)
    said = Signal(str, str)

    def __init__(self, prompt: Prompt, parent: QWidget) -> None:
        super().__init__(parent)
        self._prompt = prompt
        self._parent = parent

    def ask_for_import(self) -> None:
        """Ask for the file of a model."""
        name, _ = QFileDialog.getOpenFileName(self._parent, "Import a model", "", _MODELS)
        if name:
            self.import_file(Path(name))

    def import_file(self, path: Path) -> None:
        """Add the model in a file under the name of the file; where that cannot be, ask for another."""
        name = free_name(path)
        if name == path.stem:
            self._import(path, name)
        else:
            words = f"'{path.stem}' cannot be the name of this model, or is taken. What to call it:"
            self._prompt.ask_text(words, name, "Import", lambda new: self._import(path, new))

    def _import(self, path: Path, name: str) -> None:
        # A checkpoint is read whole, and checked: seconds in which the window would stand still.
        importing = partial(while_busy, f"Importing '{name}'…", lambda: import_model(path, name))
        if self._try(importing, f"Imported '{name}'."):
            self.imported.emit(name)

    def rename(self, name: str) -> None:
        """Ask for another name."""
        self._prompt.ask_text(f"Another name for '{name}':", name, "Rename", lambda new: self._rename(name, new))

    def export(self, name: str) -> None:
        """Ask for a file, and write a copy there."""
        path = ask_for_file(self._parent, f"Export {name}", name, {SUFFIX.lstrip("."): "Model"})
        if path is not None:
            self._try(lambda: export_model(name, path, overwrite=True), f"Exported as {path}.")

    def delete(self, name: str) -> None:
        """Ask whether it shall go."""
        self._prompt.ask(
            f"Delete the model '{name}' from this computer? This cannot be undone.",
            "Delete",
            lambda: self._delete(name),
        )

    def _rename(self, old: str, new: str) -> None:
        if new == old:
            return

        def act() -> None:
            entry = rename_model(old, new)
            folder = run_folder(entry.path.with_name(f"{old}{SUFFIX}"))
            if folder.is_dir():
                with writing(folder):
                    folder.rename(run_folder(entry.path))

        if self._try(act, f"'{old}' is called '{new}' now."):
            self.renamed.emit(old, new)

    def _delete(self, name: str) -> None:
        def act() -> None:
            delete_model(name)
            if run_folder(file_of(name)).is_dir():
                discard_run(name)

        if self._try(act, f"Deleted '{name}'."):
            self.deleted.emit(name)

    def _try(self, act: Callable[[], object], words: str) -> bool:
        try:
            act()
        except MVFusionError as error:
            self.said.emit("error", str(error))
            return False
        NEWS.changed.emit()
        self.said.emit("done", words)
        return True


def is_own(name: str) -> bool:
    """Whether a model of the user has this name."""
    return any(entry.name == name and not entry.shipped for entry in list_models())


def file_of(name: str) -> Path:
    """Where a model of the user with this name lies, or would lie."""
    return user_folder() / f"{name}{SUFFIX}"
