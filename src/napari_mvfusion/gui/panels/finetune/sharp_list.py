"""Sharp volumes of other specimens for semi-supervised training: opened layers that are ticked, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import LayerList
from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.gui.layers.conversion import stack_of
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.widgets.inputs import describe, push_button
from napari_mvfusion.io.formats import dialog_filter

_WHAT = Qt.ItemDataRole.UserRole
_ROWS = 4


class SharpList(QWidget):
    """A row a layer that is no view, and a row a file.

    Parameters
    ----------
    layers : of the viewer
    """

    changed = Signal()

    def __init__(self, layers: LayerList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers = layers
        self._list = QListWidget()
        describe(self._list, "sharp", "Sharp volumes")
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setFixedHeight(_ROWS * (self.fontMetrics().height() + 6) + 6)
        words = QLabel(
            "Sharp volumes of other specimens, with voxels of the same size. Add files, or open them as layers."
        )
        words.setWordWrap(True)
        add = push_button("Add files…", "add_sharp", "Files, one volume each")
        add.clicked.connect(self._browse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(words)
        layout.addWidget(self._list)
        layout.addWidget(add)
        self._list.itemChanged.connect(lambda _: self.changed.emit())
        LayerFollower(layers, self).listed.connect(self._rebuild)
        self._rebuild()

    def chosen(self) -> list[Any]:
        """Files as paths, and the pixels (z, y, x) of layers, which may be lazy."""
        found: list[Any] = []
        for item in self._items():
            if item.checkState() == Qt.CheckState.Checked:
                what = item.data(_WHAT)
                found.append(stack_of(what) if isinstance(what, Image) else what)
        return found

    def add_files(self, paths: list[Path]) -> None:
        """Add files, ticked."""
        for path in paths:
            self._add(path.name, path, ticked=True).setToolTip(str(path))
        self._list.show()
        self.changed.emit()

    def _items(self) -> list[QListWidgetItem]:
        return [self._list.item(row) for row in range(self._list.count())]

    def _rebuild(self) -> None:
        ticked = [item.data(_WHAT) for item in self._items() if item.checkState() == Qt.CheckState.Checked]
        files = [item.data(_WHAT) for item in self._items() if isinstance(item.data(_WHAT), Path)]
        with signals_blocked(self._list):
            self._list.clear()
            for layer in self._layers:
                if _may_be_sharp(layer):
                    self._add(layer.name, layer, ticked=layer in ticked)
            for path in files:
                self._add(path.name, path, ticked=path in ticked).setToolTip(str(path))
        self._list.setVisible(self._list.count() > 0)
        self.changed.emit()

    def _add(self, name: str, what: Any, *, ticked: bool) -> QListWidgetItem:
        item = QListWidgetItem(name, self._list)
        item.setData(_WHAT, what)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        return item

    def _browse(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Sharp volumes", "", dialog_filter())
        if names:
            self.add_files([Path(name) for name in names])


def _may_be_sharp(layer: Any) -> bool:
    """Whether a layer is one volume that is no view: a ground truth, a result, or one that nothing is known about."""
    if not isinstance(layer, Image) or layer.rgb or layer.ndim != 3:
        return False
    return notes(layer).get("role") in ("truth", "fused", None)
