"""Asking where to save a file. The dialog itself asks before a file is replaced."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget


def ask_for_file(parent: QWidget | None, title: str, name: str, kinds: dict[str, str]) -> Path | None:
    """Ask for the name of a file to write.

    Parameters
    ----------
    parent : the dialog stands in front of it
    title : of the dialog
    name : a name to start from, without ending
    kinds : ending to the words for it; the first is the default
    """
    dialog = QFileDialog(parent, title)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    filters = {f"{words} (*.{ending})": ending for ending, words in kinds.items()}
    dialog.setNameFilters(list(filters))
    dialog.setDefaultSuffix(next(iter(kinds)))
    dialog.filterSelected.connect(lambda chosen: dialog.setDefaultSuffix(filters[chosen]))
    dialog.selectFile(f"{name}.{next(iter(kinds))}")
    accepted = dialog.exec()
    files = dialog.selectedFiles()
    dialog.deleteLater()
    return Path(files[0]) if accepted and files else None
