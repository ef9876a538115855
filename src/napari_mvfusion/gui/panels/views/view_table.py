"""The table of views: a row a layer."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QMenu, QVBoxLayout, QWidget

from napari_mvfusion.gui.panels.views.row import ViewRow

# Between dark and light, so that it is seen in both themes.
_LINE = "background: rgba(128, 128, 128, 110);"


class ViewTable(QWidget):
    """Keeps a row for each layer, in the order of the layers."""

    added = Signal(object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("views")
        self._rows: dict[Image, ViewRow] = {}
        self._lines: list[QFrame] = []
        self._wide = False
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)

    @property
    def rows(self) -> dict[Image, ViewRow]:
        """The row of each layer, from top to bottom."""
        return self._rows

    def show_layers(self, layers: Sequence[Image]) -> None:
        """Have rows for these layers; a new row is told, so that it can be connected."""
        if list(self._rows) == list(layers):
            return
        for layer in set(self._rows) - set(layers):
            row = self._rows.pop(layer)
            row.hide()
            row.setParent(None)
            row.deleteLater()
        # Not by `takeAt`: an item that Python still holds keeps its widget's new item from ever measuring it again.
        for row in self._rows.values():
            self._column.removeWidget(row)
        while self._lines:
            line = self._lines.pop()
            self._column.removeWidget(line)
            line.setParent(None)
            line.deleteLater()
        before, self._rows = self._rows, {}
        for number, layer in enumerate(layers):
            if number:
                line = QFrame()
                line.setFixedHeight(1)
                line.setStyleSheet(_LINE)
                self._lines.append(line)
                self._column.addWidget(line)
            row = before.get(layer) or self._new(layer)
            self._rows[layer] = row
            self._column.addWidget(row)

    def _new(self, layer: Image) -> ViewRow:
        menus = QMenu(self), QMenu(self)
        row = ViewRow(*menus, self)
        for menu in menus:
            row.destroyed.connect(menu.deleteLater)
        row.arrange(wide=self._wide)
        self.added.emit(layer, row)
        return row

    def arrange(self, *, wide: bool) -> None:
        """One line a view where there is room."""
        self._wide = wide
        for row in self._rows.values():
            row.arrange(wide=wide)
