"""The lists of a fine-tune: files of views to learn from, and sharp volumes of other specimens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import LayerList
from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.layers.conversion import stack_of
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.widgets.inputs import describe, push_button, text_label
from napari_mvfusion.gui.widgets.layout import column, row
from napari_mvfusion.gui.widgets.names import NameDelegate
from napari_mvfusion.io.formats import dialog_filter
from napari_mvfusion.training.folders import inputs_in

_WHAT = Qt.ItemDataRole.UserRole
_ROWS = 4


class _Rows(QListWidget):
    """A list of four rows that are seen at once, each with what it stands for.

    Parameters
    ----------
    name, called : see `describe`
    """

    def __init__(self, name: str, called: str) -> None:
        super().__init__()
        describe(self, name, called)
        NameDelegate(self)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedHeight(_ROWS * (self.fontMetrics().height() + 6) + 6)

    def add(self, text: str, what: Any, tip: str = "") -> QListWidgetItem:
        """Add a row."""
        item = QListWidgetItem(text, self)
        item.setData(_WHAT, what)
        item.setToolTip(tip)
        return item

    def rows(self) -> list[QListWidgetItem]:
        """All rows."""
        return [self.item(row) for row in range(self.count())]


class FolderList(QWidget):
    """One row a volume or time point; folders are added.

    Parameters
    ----------
    status : says what is wrong with a folder
    """

    changed = Signal()

    def __init__(self, status: Status, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._status = status
        self._list = _Rows("volumes", "Volumes to learn from")
        self._list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        words = "Add a folder of views, or one with a folder or OME-Zarr for each volume or time point."
        self._nothing = text_label("no_volumes", words)
        add = push_button("Add folder…", "add_folder")
        add.clicked.connect(self._browse)
        self._remove = push_button("Remove", "remove_folder")
        self._remove.clicked.connect(self._remove_selected)
        self._list.itemSelectionChanged.connect(self._describe)
        column(self, self._nothing, self._list, row(add, self._remove))
        self._describe()

    def inputs(self) -> list[Inputs]:
        """How to open them."""
        return [item.data(_WHAT) for item in self._list.rows()]

    def add(self, folder: Path) -> None:
        """Add all that a folder holds."""
        try:
            found = inputs_in(folder)
        except (InputError, OSError) as error:
            self._status.say_instead("error", str(error))
            return
        known = self.inputs()
        for inputs in found:
            if inputs not in known:
                name = Path(str(inputs.source)).name
                self._list.add(f"{name}: {inputs.tag}" if inputs.tag else name, inputs, str(inputs.source))
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


class SharpList(QWidget):
    """A row a layer that is no view, and a row a file; those that are ticked are learned from.

    Parameters
    ----------
    layers : of the viewer
    """

    changed = Signal()

    def __init__(self, layers: LayerList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers = layers
        self._list = _Rows("sharp", "Sharp volumes")
        words = "Sharp volumes of other specimens, with voxels of the same size. Add files, or open them as layers."
        add = push_button("Add files…", "add_sharp", "Files, one volume each")
        add.clicked.connect(self._browse)
        column(self, text_label("sharp_words", words), self._list, add)
        self._list.itemChanged.connect(lambda _: self.changed.emit())
        LayerFollower(layers, self).listed.connect(self._rebuild)
        self._rebuild()

    def chosen(self) -> list[Any]:
        """Files as paths, and the pixels (z, y, x) of layers, which may be lazy."""
        return [stack_of(what) if isinstance(what, Image) else what for what in self._ticked()]

    def add_files(self, paths: list[Path]) -> None:
        """Add files, ticked."""
        for path in paths:
            self._add(path, ticked=True)
        self._list.show()
        self.changed.emit()

    def _ticked(self) -> list[Any]:
        return [item.data(_WHAT) for item in self._list.rows() if item.checkState() == Qt.CheckState.Checked]

    def _rebuild(self) -> None:
        ticked = self._ticked()
        files = [item.data(_WHAT) for item in self._list.rows() if isinstance(item.data(_WHAT), Path)]
        with signals_blocked(self._list):
            self._list.clear()
            for what in (*filter(_may_be_sharp, self._layers), *files):
                self._add(what, ticked=what in ticked)
        self._list.setVisible(self._list.count() > 0)
        self.changed.emit()

    def _add(self, what: Any, *, ticked: bool) -> None:
        item = self._list.add(what.name, what, str(what) if isinstance(what, Path) else "")
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)

    def _browse(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Sharp volumes", "", dialog_filter())
        if names:
            self.add_files([Path(name) for name in names])


def _may_be_sharp(layer: Any) -> bool:
    """Whether a layer is one volume that is no view: a ground truth, a result, or one that nothing is known about."""
    if not isinstance(layer, Image) or layer.rgb or layer.ndim != 3:
        return False
    return notes(layer).get("role") in ("truth", "fused", None)
