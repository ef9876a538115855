"""Which volumes are compared: a row a layer with a tick, and which of them is the ground truth."""

from __future__ import annotations

from typing import Any

from napari.components import LayerList
from napari.layers import Image
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.panels.compare.compared_layers import can_be_compared, role_of
from napari_mvfusion.gui.widgets.inputs import DropList, describe

_NAME, _ROLE = range(2)
_LAYER = Qt.ItemDataRole.UserRole
_MOST_ROWS = 8
_ROW_SPACE = 5
_TICKED_VIEWS = 2
# napari styles the boxes of lists in no theme: these look like its check boxes, white on blue, in all of them.
_STYLE = """
QTreeWidget { background: rgba(128, 128, 128, 30); border-radius: 3px; padding: 2px; }
QTreeWidget::indicator { width: 12px; height: 12px; border-radius: 2px; background: rgba(128, 128, 128, 110); }
QTreeWidget::indicator:checked { background: #4660c4; image: url("theme_dark:/check.svg"); }
"""
_NO_TRUTH = "none"
_NOTHING = (
    "Nothing to compare yet. Open views (File > Open Sample > Multi-view fusion, or drop their folder on the window), "
    "fuse them with the Fuse panel by two methods or more, and come back."
)


class ComparedLayers(QWidget):
    """The volumes of the viewer, in the order of its layer list; follows layers that come, go, move or change.

    Results, ground truths and the first two views are ticked when they come. `changed` tells that there are other
    layers or ticks; `data_changed` names a layer whose pixels or place are not what they were.

    Parameters
    ----------
    layers : the layers of the viewer
    """

    changed = Signal()
    data_changed = Signal(object)

    def __init__(self, layers: LayerList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers = layers
        self._chosen: Image | None = None
        self._by_hand = False
        self._tree = QTreeWidget()
        self._truth = DropList()
        self._nothing = QLabel(_NOTHING)
        self._lay_out()
        self._tree.itemChanged.connect(self._tell)
        self._truth.activated.connect(self._choose_truth)
        follower = LayerFollower(layers, self)
        follower.listed.connect(self._rebuild)
        follower.changed.connect(self._notice)
        self._rebuild()

    def ticked(self) -> list[Image]:
        """The layers to compare, in the order of the layer list."""
        return [item.data(_NAME, _LAYER) for item in self._items() if item.checkState(_NAME) == Qt.CheckState.Checked]

    def listed(self) -> list[Image]:
        """All layers that could be compared."""
        return [item.data(_NAME, _LAYER) for item in self._items()]

    def truth(self) -> Image | None:
        """The ground truth, where there is one."""
        return self._chosen

    def _lay_out(self) -> None:
        tree, header = self._tree, self._tree.header()
        describe(tree, "compared", "Layers to compare")
        tree.setColumnCount(2)
        tree.setHeaderHidden(True)
        tree.setRootIsDecorated(False)
        tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        tree.setSelectionMode(QTreeWidget.SelectionMode.NoSelection)
        tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        tree.setStyleSheet(_STYLE)
        tree.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_ROLE, QHeaderView.ResizeMode.ResizeToContents)
        describe(
            self._truth,
            "truth",
            "Ground truth",
            "What the volumes should look like, where that is known: scores compare with it",
        )
        self._truth_row = QWidget()
        row = QHBoxLayout(self._truth_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Ground truth"))
        row.addWidget(self._truth, 1)
        self._nothing.setObjectName("nothing")
        self._nothing.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nothing)
        layout.addWidget(tree)
        layout.addWidget(self._truth_row)

    def _items(self) -> list[QTreeWidgetItem]:
        return [self._tree.topLevelItem(row) for row in range(self._tree.topLevelItemCount())]

    def _rebuild(self) -> None:
        before, ticked = self.listed(), self.ticked()
        was = (list(before), list(ticked))
        listed = [layer for layer in self._layers if can_be_compared(layer)]
        with signals_blocked(self._tree):
            self._tree.clear()
            for layer in listed:
                if layer not in before and _worth_a_tick(layer, ticked):
                    ticked.append(layer)
                item = QTreeWidgetItem(self._tree)
                item.setData(_NAME, _LAYER, layer)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(_NAME, Qt.CheckState.Checked if layer in ticked else Qt.CheckState.Unchecked)
                self._describe(item)
        self._fit()
        self._offer_truths(listed)
        if (self.listed(), self.ticked()) != was:
            self.changed.emit()

    def _describe(self, item: QTreeWidgetItem) -> None:
        layer = item.data(_NAME, _LAYER)
        item.setText(_NAME, layer.name)
        item.setSizeHint(_NAME, QSize(0, self.fontMetrics().height() + _ROW_SPACE))
        item.setText(_ROLE, role_of(layer))
        item.setToolTip(_NAME, f"{layer.name}: tick it to compare it with the others")
        item.setToolTip(_ROLE, "What the layer is")

    def _notice(self, event: Any) -> None:
        if can_be_compared(event.source) != (event.source in self.listed()):
            self._rebuild()
            return
        if not can_be_compared(event.source):
            return
        with signals_blocked(self._tree):
            for item in self._items():
                self._describe(item)
        self._offer_truths(self.listed())
        if event.type != "name":
            self.data_changed.emit(event.source)
        self.changed.emit()

    def _tell(self) -> None:
        self.changed.emit()

    def _offer_truths(self, listed: list[Image]) -> None:
        """List what could be the ground truth; a layer that says that it is one is taken unless the user chose."""
        if self._chosen not in listed and self._chosen is not None:
            self._chosen, self._by_hand = None, False
        if not self._by_hand:
            known = [layer for layer in listed if notes(layer).get("role") == "truth"]
            self._chosen = known[0] if known else None
        self._truth.clear()
        self._truth.addItem(_NO_TRUTH, None)
        for layer in listed:
            self._truth.addItem(layer.name, layer)
        self._truth.setCurrentIndex(0 if self._chosen is None else 1 + listed.index(self._chosen))

    def _choose_truth(self) -> None:
        self._chosen, self._by_hand = self._truth.currentData(), True
        self.changed.emit()

    def _fit(self) -> None:
        """As high as the rows, up to a limit beyond which the list scrolls."""
        count = self._tree.topLevelItemCount()
        self._nothing.setVisible(count == 0)
        self._tree.setVisible(count > 0)
        self._truth_row.setVisible(count > 0)
        if count:
            row = self._tree.sizeHintForRow(0)
            self._tree.setFixedHeight(min(max(count, 2), _MOST_ROWS) * row + 2 * self._tree.frameWidth() + 6)


def _worth_a_tick(layer: Image, ticked: list[Image]) -> bool:
    """Results and ground truths are compared from the start, and two views with them."""
    role = notes(layer).get("role")
    views = sum(notes(other).get("role") == "view" for other in ticked)
    return role in ("fused", "truth") or (role == "view" and views < _TICKED_VIEWS)
