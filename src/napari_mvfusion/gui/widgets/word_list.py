"""A list of choices in words, and that of the devices of this machine."""

from __future__ import annotations

import torch
from qtpy.QtCore import Qt
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QStyle, QStyleOptionComboBox, QStylePainter

from napari_mvfusion.gui.widgets.inputs import DropList
from napari_mvfusion.system.devices import describe_device, pick_device

# Of a choice; where a label leaves less room than that, it stands above.
_MOST_LETTERS = 16


class WordList(DropList):
    """A list of choices, each with what it means to the program; one that is too long for its place ends in dots."""

    def __init__(self, name: str, choices: list[tuple[str, str]]) -> None:
        super().__init__()
        self.setObjectName(name)
        self._choices: list[tuple[str, str]] = []
        self.offer(choices)

    def offer(self, choices: list[tuple[str, str]]) -> None:
        """Offer other choices; where they are the same, the answer stays."""
        if choices == self._choices:
            return
        self._choices = choices
        self.blockSignals(True)
        self.clear()
        for text, meaning in choices:
            self.addItem(text, meaning)
            self.setItemData(self.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
        longest = max((len(text) for text, _ in choices), default=0)
        self.setMinimumContentsLength(min(longest, _MOST_LETTERS))
        self.blockSignals(False)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw as Qt does, which cuts letters off where a choice is too long."""
        del event
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        place = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        option.currentText = self.fontMetrics().elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, place.width()
        )
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


def devices(threads: int = 0) -> list[tuple[str, str]]:
    """The devices of this machine, in words, and as the engine calls them.

    Parameters
    ----------
    threads : of a CPU, where it is not what torch takes
    """
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    automatic = describe_device(pick_device("auto"), threads)
    return [
        (f"Automatic: {automatic}", "auto"),
        *((describe_device(pick_device(name), threads), name) for name in names),
    ]
