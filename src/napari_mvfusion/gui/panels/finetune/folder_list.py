"""Files to learn from: a list that folders are added to."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.widgets.inputs import describe, push_button
from napari_mvfusion.training.folders import inputs_in

_INPUTS = Qt.ItemDataRole.UserRole
_ROWS = 4


class FolderList(QWidget):
    """One row a volume or time point."""

    changed = Signal()
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._list = QListWidget()
        describe(self._list, "volumes", "Volumes to learn from")
        self._list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._list.setFixedHeight(_ROWS * (self.fontMetrics().height() + 6) + 6)
        self._nothing = QLabel("Add a folder of views, or one with a folder or OME-Zarr for each volume or time point.")
        self._nothing.setWordWrap(True)
        add = push_button("Add folder…", "add_folder")
        add.clicked.connect(self._browse)
        self._remove = push_button("Remove", "remove_folder")
        self._remove.clicked.connect(self._remove_selected)
        self._list.itemSelectionChanged.connect(self._describe)
        row = QHBoxLayout()
        row.addWidget(add)
        row.addWidget(self._remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nothing)
        layout.addWidget(self._list)
        layout.addLayout(row)
        self._describe()

    def inputs(self) -> list[Inputs]:
        """How to open them."""
        return [self._list.item(row).data(_INPUTS) for row in range(self._list.count())]

    def add(self, folder: Path) -> None:
        """Add all that a folder holds."""
        try:
            found = inputs_in(folder)
        except (InputError, OSError) as error:
            self.failed.emit(str(error))
            return
        known = self.inputs()
        for inputs in found:
            if inputs not in known:
                item = QListWidgetItem(_words(inputs), self._list)
                item.setData(_INPUTS, inputs)
                item.setToolTip(str(inputs.source))
        self._describe()
        self.changed.emit()

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Views to learn from")
        if folder:
            self.add(Path(folder))

    def _remove_selected(self) -> None:
        for item in self._list.selectedItems():
            self._list.takeItem(self._list.row(item))
        self._describe()
        self.changed.emit()

    def _describe(self) -> None:
        some = self._list.count() > 0
        self._list.setVisible(some)
        self._nothing.setVisible(not some)
        chosen = bool(self._list.selectedItems())
        self._remove.setEnabled(chosen)
        self._remove.setToolTip("Take the selected ones off the list" if chosen else "Select rows of the list first")


def _words(inputs: Inputs) -> str:
    folder = Path(str(inputs.source))
    return f"{folder.name}: {inputs.tag}" if inputs.tag else folder.name
