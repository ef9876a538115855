"""The opened views as a list: which ones to fuse, and the PSF of each."""

from __future__ import annotations

from typing import Any

from napari.components import LayerList
from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QSizePolicy,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.notes import annotate, can_be_view, decide, notes, why_unticked
from napari_mvfusion.gui.widgets.inputs import describe
from napari_mvfusion.gui.widgets.names import NameDelegate
from napari_mvfusion.system.words import times

_VIEW, _PSF = range(2)
_MOST_ROWS = 8
_LAYER = Qt.ItemDataRole.UserRole

NO_VIEWS = "No views yet. Drop their folder on the window, or use File > Open Sample > Multi-view fusion."


class ViewList(QTreeWidget):
    """A row a layer that can be a view, in the order of the layer list: a tick, its name, and a button for its PSF.

    It follows layers that are added, removed, moved or renamed. Views of the sample that was opened first are ticked
    from the start, other layers are not.

    Parameters
    ----------
    layers : the layers of the viewer
    """

    changed = Signal()
    psf_wanted = Signal(object)

    def __init__(self, layers: LayerList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers = layers
        describe(self, "views", "Views to fuse")
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        NameDelegate(self, _VIEW)
        self.setRootIsDecorated(False)
        self.setSelectionMode(QTreeWidget.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionsMovable(False)
        header.setSectionResizeMode(_VIEW, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_PSF, QHeaderView.ResizeMode.ResizeToContents)
        self.itemChanged.connect(self._note)
        follower = LayerFollower(layers, self)
        follower.listed.connect(self._rebuild)
        follower.changed.connect(self._redescribe)
        self._built = self._deciding = False
        self._rebuild()

    def chosen(self) -> list[Image]:
        """The ticked layers, from top to bottom of the list."""
        return [item.data(_VIEW, _LAYER) for item in self._items() if item.checkState(_VIEW) == Qt.CheckState.Checked]

    def _items(self) -> list[QTreeWidgetItem]:
        return [self.topLevelItem(row) for row in range(self.topLevelItemCount())]

    def _rebuild(self) -> None:
        views = [layer for layer in self._layers if can_be_view(layer)]
        if self._built and views == [item.data(_VIEW, _LAYER) for item in self._items()]:
            return  # some other layer came or went
        self._built = True
        self._deciding = True
        decide(views)
        self._deciding = False
        with signals_blocked(self):
            self.clear()
            for layer in views:
                self._add(layer)
        self._fit()
        self.changed.emit()

    def _add(self, layer: Image) -> None:
        item = QTreeWidgetItem(self)
        item.setData(_VIEW, _LAYER, layer)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        button = QPushButton()
        button.clicked.connect(lambda: self.psf_wanted.emit(layer))
        cell = QWidget()
        inner = QHBoxLayout(cell)
        inner.setContentsMargins(4, 2, 0, 2)
        inner.addWidget(button)
        self.setItemWidget(item, _PSF, cell)
        self._describe(item)

    def _describe(self, item: QTreeWidgetItem) -> None:
        layer = item.data(_VIEW, _LAYER)
        known = notes(layer)
        psf = known.get("psf")
        item.setText(_VIEW, layer.name)
        included = known.get("included") is True
        item.setCheckState(_VIEW, Qt.CheckState.Checked if included else Qt.CheckState.Unchecked)
        item.setToolTip(_VIEW, why_unticked(layer) or known.get("source") or layer.name)
        button = self.itemWidget(item, _PSF).findChild(QPushButton)
        button.setAccessibleName(f"PSF of {layer.name}")
        button.setText("PSF…" if psf is None else f"PSF {times(psf.shape)}")
        if psf is None:
            button.setToolTip("No PSF is known for this view. Load one from a TIFF file")
        else:
            button.setToolTip("Voxels of the PSF of this view. Load another one from a TIFF file")

    def _redescribe(self, event: Any) -> None:
        listed = event.source in [item.data(_VIEW, _LAYER) for item in self._items()]
        if self._deciding or not (listed or can_be_view(event.source)):
            return
        if listed != can_be_view(event.source):
            self._rebuild()
            return
        with signals_blocked(self):
            for item in self._items():
                self._describe(item)
        # The tree does not see that a button became wider.
        self.scheduleDelayedItemsLayout()
        self.changed.emit()

    def _note(self, item: QTreeWidgetItem) -> None:
        """A tick has changed: other panels read it from the layer."""
        included = item.checkState(_VIEW) == Qt.CheckState.Checked
        annotate(item.data(_VIEW, _LAYER), included=included, unticked="")
        self.changed.emit()

    def updateGeometries(self) -> None:
        """Rows have been laid out, perhaps in another style or with other buttons: the list is as high as they are."""
        super().updateGeometries()
        self._fit()

    def _fit(self) -> None:
        """As high as the rows, up to a limit beyond which the list scrolls."""
        count = self.topLevelItemCount()
        heights = [self.sizeHintForRow(row) for row in range(min(count, _MOST_ROWS))]
        least = 2 * (max(heights) if heights else self.fontMetrics().height())
        height = max(sum(heights), least) + 2 * self.frameWidth() + 2
        if height != self.height():
            self.setFixedHeight(height)
