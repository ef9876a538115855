"""Which volumes are compared: a row a layer with a tick, the ground truth among them, and two of them as A and B."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.jobs.status import Status
from napari_mvfusion.gui.jobs.tasks import Failed
from napari_mvfusion.gui.layers.follower import LayerFollower
from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.panels.compare.compared_layers import can_be_compared, role_of, volume_at, with_role
from napari_mvfusion.gui.widgets.forms import Field, Form
from napari_mvfusion.gui.widgets.inputs import DropList, describe, text_label
from napari_mvfusion.gui.widgets.names import NameDelegate
from napari_mvfusion.measures.placed_volume import PlacedVolume

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
_TRUTH_TIP = "What the volumes should look like, where that is known: scores compare with it"
_NOTHING = (
    "Nothing to compare yet. Open views (File > Open Sample > Multi-view fusion, or drop their folder on the window), "
    "fuse them with the Fuse panel by two methods or more, and come back."
)


class LayerChoice(DropList):
    """A list to choose a layer from; `changed` tells that the user did.

    What the user chose stays chosen while it is there. Until then, and afterwards, what is proposed is.

    Parameters
    ----------
    none : what stands for no layer; "" where there is no such choice

    Attributes
    ----------
    by_hand : whether the user chose
    """

    changed = Signal()

    def __init__(self, none: str = "") -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._none = none
        self.by_hand = False
        self.activated.connect(self._choose)

    def value(self) -> Image | None:
        """The layer."""
        return self.currentData()

    def set_value(self, layer: Image | None) -> None:
        """Show a layer that is offered, or none."""
        known = [self.itemData(row) for row in range(self.count())]
        self.setCurrentIndex(known.index(layer) if layer in known else -1)

    def offer(self, layers: Sequence[Image], proposed: Image | None = None) -> None:
        """Offer these layers, and no others."""
        choices: list[tuple[str, Image | None]] = [(self._none, None)] if self._none else []
        choices += [(layer.name, layer) for layer in layers]
        self.by_hand = self.by_hand and self.value() in [layer for _, layer in choices]
        chosen = self.value() if self.by_hand else proposed
        self.clear()
        for words, layer in choices:
            self.addItem(words, layer)
        self.set_value(chosen)

    def _choose(self) -> None:
        self.by_hand = True
        self.changed.emit()


class ComparedLayers(QWidget):
    """The volumes of the viewer, in the order of its layer list; follows layers that come, go, move or change.

    Results, ground truths and the first two views are ticked when they come. `changed` tells that there are other
    layers or ticks; `data_changed` names a layer whose pixels or place are not what they were; `time_changed` tells that
    another time point of a ticked series is shown.

    Parameters
    ----------
    viewer : whose layers they are
    """

    changed = Signal()
    data_changed = Signal(object)
    time_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self._tree = QTreeWidget()
        self._truth = LayerChoice("none")
        self._truth_row = Form([Field(self._truth, name="truth", label="Ground truth", tooltip=_TRUTH_TIP)])
        self._nothing = text_label("nothing", _NOTHING)
        self._dress()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self._nothing, self._tree, self._truth_row):
            layout.addWidget(part)
        self._tree.itemChanged.connect(self.changed)
        self._truth.changed.connect(self.changed)
        follower = LayerFollower(viewer.layers, self)
        follower.listed.connect(self._rebuild)
        follower.changed.connect(self._notice)
        viewer.dims.events.point.connect(self._notice_time)
        self._rebuild()

    def close_down(self) -> None:
        """The panel is closed."""
        self._viewer.dims.events.point.disconnect(self._notice_time)

    def ticked(self) -> list[Image]:
        """The layers to compare, in the order of the layer list."""
        return [item.data(_NAME, _LAYER) for item in self._items() if item.checkState(_NAME) == Qt.CheckState.Checked]

    def listed(self) -> list[Image]:
        """All layers that could be compared."""
        return [item.data(_NAME, _LAYER) for item in self._items()]

    def truth(self) -> Image | None:
        """The ground truth, where there is one."""
        return self._truth.value()

    def _dress(self) -> None:
        tree, header = self._tree, self._tree.header()
        describe(tree, "compared", "Layers to compare")
        tree.setColumnCount(2)
        tree.setHeaderHidden(True)
        tree.setRootIsDecorated(False)
        NameDelegate(tree, _NAME)
        tree.setSelectionMode(QTreeWidget.SelectionMode.NoSelection)
        tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        tree.setStyleSheet(_STYLE)
        tree.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_ROLE, QHeaderView.ResizeMode.ResizeToContents)

    def _items(self) -> list[QTreeWidgetItem]:
        return [self._tree.topLevelItem(row) for row in range(self._tree.topLevelItemCount())]

    def _rebuild(self) -> None:
        before, ticked = self.listed(), self.ticked()
        was = (list(before), list(ticked))
        listed = [layer for layer in self._viewer.layers if can_be_compared(layer)]
        with signals_blocked(self._tree):
            self._tree.clear()
            for layer in listed:
                if layer not in before and _worth_a_tick(layer, ticked):
                    ticked.append(layer)
                item = QTreeWidgetItem(self._tree)
                item.setData(_NAME, _LAYER, layer)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(_NAME, Qt.CheckState.Checked if layer in ticked else Qt.CheckState.Unchecked)
        self._describe()
        if (self.listed(), self.ticked()) != was:
            self.changed.emit()

    def _describe(self) -> None:
        """Say what the layers are now, and which is the ground truth: one that says so, unless the user chose."""
        listed = self.listed()
        with signals_blocked(self._tree):
            for item, layer in zip(self._items(), listed, strict=True):
                item.setText(_NAME, layer.name)
                item.setSizeHint(_NAME, QSize(0, self.fontMetrics().height() + _ROW_SPACE))
                item.setText(_ROLE, role_of(layer))
                item.setToolTip(_NAME, f"{layer.name}: tick it to compare it with the others")
                item.setToolTip(_ROLE, "What the layer is")
        self._truth.offer(listed, next(iter(with_role(listed, "truth")), None))
        self._nothing.setVisible(not listed)
        self._tree.setVisible(bool(listed))
        self._truth_row.setVisible(bool(listed))
        if listed:
            # As high as the rows, up to a limit beyond which the list scrolls.
            row = self._tree.sizeHintForRow(0)
            self._tree.setFixedHeight(min(max(len(listed), 2), _MOST_ROWS) * row + 2 * self._tree.frameWidth() + 6)

    def _notice(self, event: Any) -> None:
        comparable = can_be_compared(event.source)
        if comparable != (event.source in self.listed()):
            self._rebuild()
        elif comparable:
            self._describe()
            if event.type != "name":
                self.data_changed.emit(event.source)
            self.changed.emit()

    def _notice_time(self, event: Any) -> None:
        del event
        if any(layer.ndim > 3 for layer in self.ticked()):
            self.time_changed.emit()


class PairChoice(QWidget):
    """Two lists to choose A and B from, and a button to swap them. The last two results are proposed.

    Parameters
    ----------
    compared : the layers
    """

    changed = Signal()

    def __init__(self, compared: ComparedLayers) -> None:
        super().__init__()
        self._compared = compared
        self._boxes = (LayerChoice(), LayerChoice())
        swap = QPushButton("⇅")
        describe(swap, "swap", "Swap A and B", "Swap A and B")
        swap.setFixedWidth(30)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for row, (letter, order, box) in enumerate(zip("AB", ("first", "second"), self._boxes, strict=True)):
            describe(box, letter.lower(), f"{letter}: the {order} layer", f"The {order} layer")
            layout.addWidget(QLabel(letter), row, 0)
            layout.addWidget(box, row, 1)
            box.changed.connect(self._choose)
        layout.addWidget(swap, 0, 2, 2, 1)
        layout.setColumnStretch(1, 1)
        swap.clicked.connect(self._swap)
        compared.changed.connect(self._offer)
        self._offer()

    @property
    def both(self) -> tuple[Image, Image] | None:
        """A and B, where they are two layers."""
        a, b = (box.value() for box in self._boxes)
        return None if a is None or b is None or a is b else (a, b)

    def _offer(self) -> None:
        """List the layers; what is chosen stays chosen while both are there."""
        listed = self._compared.listed()
        results = with_role(listed, "fused")
        # The last two results; where there are fewer, what else is there.
        proposed = [None, None, *(layer for layer in listed if layer not in results), *results][-2:]
        kept = all(box.by_hand and box.value() in listed for box in self._boxes)
        for box, layer in zip(self._boxes, proposed, strict=True):
            box.by_hand = kept
            box.offer(listed, layer)

    def _choose(self) -> None:
        for box in self._boxes:
            box.by_hand = True
        self.changed.emit()

    def _swap(self) -> None:
        a, b = self._boxes
        first, second = a.value(), b.value()
        a.set_value(second)
        b.set_value(first)
        self._choose()


class ComparePart(QWidget):
    """A part of the panel: it knows the viewer, what is compared, and where things are said.

    Parameters
    ----------
    viewer : of the panel
    compared : the layers
    status : of the panel
    """

    def __init__(self, viewer: ViewerModel, compared: ComparedLayers, status: Status) -> None:
        super().__init__()
        self._viewer = viewer
        self._compared = compared
        self._status = status

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        """Begin something: what was said before goes, and an error of the user's is said."""
        self._status.clear()
        try:
            yield
        except (InputError, OSError) as error:
            self._status.fail(Failed(str(error)))

    def _volume(self, layer: Image) -> PlacedVolume:
        """What a layer shows now."""
        return volume_at(layer, self._viewer.dims.point)


def _worth_a_tick(layer: Image, ticked: Sequence[Image]) -> bool:
    """Results and ground truths are compared from the start, and two views with them."""
    role = notes(layer).get("role")
    return role in ("fused", "truth") or (role == "view" and len(with_role(ticked, "view")) < _TICKED_VIEWS)
