"""Two of the compared layers, A and B."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from napari_mvfusion.gui.layers.notes import notes
from napari_mvfusion.gui.panels.compare.layer_list import ComparedLayers
from napari_mvfusion.gui.widgets.inputs import DropList, describe


class PairChoice(QWidget):
    """Two lists to choose A and B from, and a button to swap them. The last two results are proposed.

    Parameters
    ----------
    compared : the layers
    """

    changed = Signal()

    def __init__(self, compared: ComparedLayers, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._compared = compared
        self._by_hand = False
        self._boxes = (_box("a", "The first layer"), _box("b", "The second layer"))
        swap = QPushButton("⇅")
        describe(swap, "swap", "Swap A and B", "Swap A and B")
        swap.setFixedWidth(30)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for row, (letter, box) in enumerate(zip("AB", self._boxes, strict=True)):
            layout.addWidget(QLabel(letter), row, 0)
            layout.addWidget(box, row, 1)
            box.activated.connect(self._choose)
        layout.addWidget(swap, 0, 2, 2, 1)
        layout.setColumnStretch(1, 1)
        swap.clicked.connect(self._swap)
        compared.changed.connect(self._offer)
        self._offer()

    @property
    def both(self) -> tuple[Image, Image] | None:
        """A and B, where they are two layers."""
        a, b = (box.currentData() for box in self._boxes)
        return None if a is None or b is None or a is b else (a, b)

    def _offer(self) -> None:
        """List the layers; what is chosen stays chosen while it is there."""
        listed = self._compared.listed()
        before = [box.currentData() for box in self._boxes]
        self._by_hand = self._by_hand and all(layer in listed for layer in before)
        proposed = before if self._by_hand else _proposal(listed)
        for box, layer in zip(self._boxes, proposed, strict=True):
            box.clear()
            for other in listed:
                box.addItem(other.name, other)
            box.setCurrentIndex(-1 if layer is None else listed.index(layer))

    def _choose(self) -> None:
        self._by_hand = True
        self.changed.emit()

    def _swap(self) -> None:
        indices = [box.currentIndex() for box in self._boxes]
        for box, index in zip(self._boxes, reversed(indices), strict=True):
            box.setCurrentIndex(index)
        self._choose()


def _box(name: str, words: str) -> DropList:
    box = DropList()
    describe(box, name, f"{name.upper()}: {words[0].lower()}{words[1:]}", words)
    return box


def _proposal(listed: list[Image]) -> list[Image | None]:
    """The last two results; where there are fewer, what else is there."""
    results = [layer for layer in listed if notes(layer).get("role") == "fused"]
    others = [layer for layer in listed if layer not in results]
    both = (others + results)[-2:]
    return [None] * (2 - len(both)) + both
