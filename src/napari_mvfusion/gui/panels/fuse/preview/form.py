"""The part of the Fuse panel that turns the live preview on and says how it goes."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.gui.widgets.inputs import DropList, describe, text_label
from napari_mvfusion.system.words import sentence

_SIGHT, _BOX = "what I see", "a box I draw"


class PreviewForm(QWidget):
    """A switch, the choice of the region, and a line on what is shown."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._switch = QCheckBox("Live preview of")
        self._switch.setObjectName("live")
        self._switch.setToolTip(
            "<qt>Fuses a small region again whenever a parameter or the view changes, with the method that is selected "
            "above</qt>"
        )
        self._region = DropList()
        self._region.addItems([_SIGHT, _BOX])
        describe(
            self._region,
            "region",
            "Live preview of",
            "<qt>The middle of the canvas about the current slice, at most 128 × 128 × 32 voxels; or a rectangle that "
            "you draw and move</qt>",
        )
        self._words = text_label("preview")
        self._words.hide()
        row = QHBoxLayout()
        row.addWidget(self._switch)
        row.addWidget(self._region, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self._words)
        self._switch.toggled.connect(self._tell)
        self._region.currentIndexChanged.connect(self._tell)

    @property
    def on(self) -> bool:
        """Whether a preview is wanted."""
        return self._switch.isChecked()

    @property
    def with_box(self) -> bool:
        """Whether it is of a box that the user draws."""
        return self._region.currentText() == _BOX

    def turn_off(self) -> None:
        """Untick it without a signal: the preview has ended by itself."""
        with signals_blocked(self._switch):
            self._switch.setChecked(False)
        self._words.hide()

    def say(self, kind: str, text: str) -> None:
        """Say how it goes."""
        del kind
        self._words.setText(sentence(text))
        self._words.setVisible(bool(text))

    def _tell(self) -> None:
        if not self.on:
            self._words.hide()
        self.changed.emit()
