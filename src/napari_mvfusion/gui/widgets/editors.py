"""Editors of single values: a number, a word, a text, a switch. All have `value`, `set_value` and `changed`."""

from __future__ import annotations

import math

from qtpy.QtCore import QLocale, Qt, Signal
from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QLineEdit, QSpinBox

from napari_mvfusion.gui.widgets.inputs import DropList, NumberField, Unscrolled

MOST_LETTERS = 12
_LARGEST = 1_000_000


class Whole(Unscrolled, QSpinBox):
    """An editor of a whole number."""

    changed = Signal()

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setRange(math.ceil(max(low, -_LARGEST)), math.floor(min(high, _LARGEST)))
        self.valueChanged.connect(lambda _: self.changed.emit())

    def set_value(self, value: int) -> None:
        """Show a value."""
        self.setValue(value)


class Real(NumberField):
    """An editor of a number; with a word, the lowest position stands for that word.

    Parameters
    ----------
    low, high : the bounds
    resolution : decimals that can be entered
    word : for example "auto", or None
    """

    changed = Signal()

    def __init__(self, low: float, high: float, resolution: int, word: str | None = None) -> None:
        super().__init__()
        self._word = word
        plain = QLocale.c()
        plain.setNumberOptions(QLocale.NumberOption.OmitGroupSeparator)
        self.setLocale(plain)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        self.setDecimals(resolution)
        self.setRange(max(low, -_LARGEST), min(high, _LARGEST))
        if word is not None:
            self.setSpecialValueText(word)
        self.valueChanged.connect(lambda _: self.changed.emit())

    def textFromValue(self, value: float) -> str:
        """The number without zeros that say nothing."""
        return f"{value:.{self.decimals()}f}".rstrip("0").rstrip(".") if self.decimals() else f"{value:.0f}"

    def value(self) -> float | str:
        """The number, or the word."""
        number = super().value()
        return self._word if self._word is not None and number == self.minimum() else number

    def set_value(self, value: float | str) -> None:
        """Show a value."""
        self.setValue(self.minimum() if isinstance(value, str) else value)


class Text(QLineEdit):
    """An editor of some text."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.textChanged.connect(lambda _: self.changed.emit())

    def value(self) -> str:
        """What is entered."""
        text: str = self.text()
        return text

    def set_value(self, value: str) -> None:
        """Show a value."""
        self.setText(value)


class Choice(DropList):
    """An editor of one of some words."""

    changed = Signal()

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__()
        self.setMinimumContentsLength(min(max(map(len, words), default=1), MOST_LETTERS))
        for word in words:
            self.addItem(word.replace("_", " "), word)
        self.currentIndexChanged.connect(lambda _: self.changed.emit())

    def value(self) -> str:
        """The chosen word."""
        word: str = self.currentData()
        return word

    def set_value(self, value: str) -> None:
        """Show a value."""
        self.setCurrentIndex(self.findData(value))


class Switch(QCheckBox):
    """An editor of yes or no."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.toggled.connect(lambda _: self.changed.emit())

    def value(self) -> bool:
        """Whether it is ticked."""
        return self.isChecked()

    def set_value(self, value: bool) -> None:
        """Show a value."""
        self.setChecked(value)


def wrapped(text: str | None) -> str:
    """A tooltip that Qt breaks into lines."""
    return f"<qt>{text}</qt>" if text else ""
