"""One view of the bead form: which beads, where they are, and the PSF that came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari.layers import Image, Points
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QWidget
from superqt import QElidingLabel
from superqt.utils import signals_blocked

from napari_mvfusion.gui.jobs.status import box_of
from napari_mvfusion.gui.panels.views.picture import PSFPicture, numbers_of
from napari_mvfusion.gui.widgets.inputs import DropList, describe, text_label
from napari_mvfusion.io.bead_files import MeasuredPSF
from napari_mvfusion.system.words import sentence

_NONE, _FILE = "Choose beads…", "TIFF file…"
_FOUND = "find them"


class BeadRow(QWidget):
    """Two lists to choose from, and a result."""

    changed = Signal()
    file_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._measured: MeasuredPSF | None = None
        self._file: Path | None = None
        self._touched = False
        self._name = QElidingLabel()
        self._name.setElideMode(Qt.TextElideMode.ElideMiddle)
        self._name.setFixedWidth(120)
        self._beads = _list("beads", "<qt>The recording of beads that shows how this view blurs a point</qt>")
        self._points = _list("points", "<qt>Where the beads are: found by brightness, or the points of a layer</qt>")
        self._points_label = QLabel("Positions")
        self._picture = PSFPicture()
        self._numbers = QLabel()
        self._text = text_label("measured")
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.addWidget(self._name, 0, 0)
        grid.addWidget(self._beads, 0, 1)
        grid.addWidget(self._points_label, 1, 0)
        grid.addWidget(self._points, 1, 1)
        result = QHBoxLayout()
        result.addWidget(self._picture)
        result.addWidget(self._numbers)
        result.addStretch()
        grid.addLayout(result, 2, 0, 1, 2)
        grid.addWidget(self._text, 3, 0, 1, 2)
        grid.setColumnStretch(1, 1)
        self._beads.activated.connect(self._choose)
        self.show_measured(None)

    @property
    def source(self) -> Image | Path | None:
        """The chosen beads: a layer, a file, or None."""
        return self._beads.currentData()

    @property
    def points(self) -> Points | None:
        """The chosen positions, or None to find the beads."""
        return self._points.currentData()

    @property
    def measured(self) -> MeasuredPSF | None:
        """What was measured last."""
        return self._measured

    def offer(self, name: str, beads: Sequence[Image], points: Sequence[Points], guess: Image | None) -> None:
        """Offer layers to choose from; what was chosen stays, else the guess is taken."""
        self._name.setText(name)
        self._name.setToolTip(name)
        self._beads.setAccessibleName(f"Beads of {name}")
        self._points.setAccessibleName(f"Positions of the beads of {name}")
        chosen = self.source if self._touched else guess
        files: list[tuple[str, Path]] = [] if self._file is None else [(self._file.name, self._file)]
        _fill(self._beads, [(_NONE, None), *((b.name, b) for b in beads), *files, (_FILE, None)], chosen)
        _fill(self._points, [(_FOUND, None), *((p.name, p) for p in points)], self.points)
        for widget in (self._points, self._points_label):
            widget.setVisible(bool(points))

    def choose(self, file: Path | None) -> None:
        """Take a file; None goes back to the last file, or to none."""
        if file is not None:
            self._touched = True
            at = self._beads.count() - 1
            if self._file is None:
                self._beads.insertItem(at, "")
            else:
                at -= 1
            self._file = file
            self._beads.setItemText(at, file.name)
            self._beads.setItemData(at, file)
        self._beads.setCurrentIndex(0 if self._file is None else self._beads.count() - 2)
        self.changed.emit()

    def show_measured(self, measured: MeasuredPSF | None) -> None:
        """Show a result, or none."""
        self._measured = measured
        look = None if measured is None else measured.look
        self._picture.show_look(look)
        self._picture.setVisible(look is not None)
        self._numbers.setText("" if look is None else numbers_of(look))
        self._numbers.setVisible(look is not None)
        self._text.setVisible(measured is not None)
        if measured is None:
            return
        self._text.setText(sentence(f"{measured.text}."))
        self._text.setStyleSheet("" if look is not None else f"{box_of('error')} padding: 4px;")

    def _choose(self, index: int) -> None:
        self._touched = True
        if self._beads.itemText(index) == _FILE and index == self._beads.count() - 1:
            self.file_wanted.emit()
            return
        self.changed.emit()


def _list(name: str, tip: str) -> DropList:
    box = DropList()
    describe(box, name, name.capitalize(), tip)
    box.setMinimumContentsLength(8)
    return box


def _fill(box: DropList, choices: Sequence[tuple[str, object]], chosen: object) -> None:
    place = next((i for i, (_, meaning) in enumerate(choices) if meaning is not None and meaning is chosen), 0)
    before = [(box.itemText(i), box.itemData(i)) for i in range(box.count())]
    same = len(before) == len(choices) and all(
        text == old and meaning is what for (old, what), (text, meaning) in zip(before, choices, strict=True)
    )
    with signals_blocked(box):
        # A list that is open closes when it is filled.
        if not same:
            box.clear()
            for text, meaning in choices:
                box.addItem(text, meaning)
        if not same or box.currentIndex() != place:
            box.setCurrentIndex(place)
