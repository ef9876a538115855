"""What is entered, pressed and read in all panels: it has names for screen readers, and leaves the wheel to what scrolls."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QEvent, QLocale, QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QPaintEvent, QValidator, QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QSlider,
    QStyle,
    QStyleOptionComboBox,
    QStyleOptionSpinBox,
    QStylePainter,
    QToolTip,
    QWidget,
)
from superqt import QDoubleRangeSlider
from superqt.utils import signals_blocked

from napari_mvfusion.gui.widgets.names import cut, with_name
from napari_mvfusion.system.short_names import telling_parts

# Of a choice; where a label leaves less room than that, it stands above.
_MOST_LETTERS = 16
_LARGEST = 1_000_000.0
# Pixels that a line of text keeps free on both sides of what stands in it.
_BESIDE_WORD = 6
# Pixels beside a choice in an open list, with a bar to scroll it.
_BESIDE_CHOICE = 24


# What may stand in a number while it is typed.
_TYPED = re.compile(r"[-+0-9.,eE]*")


def _parsed(text: str) -> float | None:
    """The number that a text stands for, with a point or a comma; None where it stands for none."""
    try:
        number = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class Unscrolled:
    """Leaves the wheel to the panel unless the widget has the focus, so that scrolling past changes nothing."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Take the wheel only with the focus, which the wheel itself does not give."""
        if self.hasFocus():  # type: ignore[attr-defined]
            super().wheelEvent(event)  # type: ignore[misc]
        else:
            event.ignore()


class DropList(Unscrolled, QComboBox):
    """A list to choose from; it is never wider than its place, but opens as wide as its longest choice."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

    def fill(self, choices: Sequence[tuple[str, object]], chosen: object) -> None:
        """List other choices, each with what it means, and choose one; nothing is told about it.

        Parameters
        ----------
        chosen : what the choice means; where none means that the first is chosen
        """
        choices = list(choices)
        with signals_blocked(self):
            # A list that is open closes when it is filled.
            if [(self.itemText(row), self.itemData(row)) for row in range(self.count())] != choices:
                self.clear()
                for text, meaning in choices:
                    self.addItem(text, meaning)
            self.setCurrentIndex(next((row for row, (_, meaning) in enumerate(choices) if meaning is chosen), 0))

    @property
    def shown(self) -> str:
        """What is seen of the choice: all of it, or what tells it from the others."""
        text, metrics, room = self.currentText(), self.fontMetrics(), self._place().width()
        if metrics.horizontalAdvance(text) <= room:
            return text
        parts = telling_parts([self.itemText(row) for row in range(self.count())])
        return cut(text, parts.get(text, ()), metrics, room)

    def showPopup(self) -> None:
        """Open the list, with all choices as long as they are."""
        self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + _BESIDE_CHOICE)
        super().showPopup()

    def event(self, event: QEvent) -> bool:
        """Where it is pointed at, tell the whole choice above what else there is to say."""
        if event.type() == QEvent.Type.ToolTip and self.shown != self.currentText():
            QToolTip.showText(event.globalPos(), with_name(self.currentText(), self.toolTip()), self)
            return True
        return bool(super().event(event))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw as Qt does, which cuts letters off where a choice is too long."""
        del event
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def _place(self) -> QRect:
        """Where the choice stands."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = QStyle.SubControl.SC_ComboBoxEditField
        return self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self)


class WordList(DropList):
    """A list of choices, each with what it means to the program.

    Parameters
    ----------
    choices : words, and what they mean
    letters : of a choice that have room at least
    """

    changed = Signal()

    def __init__(self, choices: Sequence[tuple[str, str]] = (), letters: int = _MOST_LETTERS) -> None:
        super().__init__()
        self._letters = letters
        self._choices: list[tuple[str, str]] = []
        self.offer(choices)
        self.currentIndexChanged.connect(lambda _: self.changed.emit())

    def offer(self, choices: Sequence[tuple[str, str]]) -> None:
        """Offer other choices; where they are the same, the answer stays."""
        if list(choices) == self._choices:
            return
        self._choices = list(choices)
        with signals_blocked(self):
            self.clear()
            for text, meaning in choices:
                self.addItem(text, meaning)
                self.setItemData(self.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
            longest = max((len(text) for text, _ in choices), default=0)
            self.setMinimumContentsLength(min(longest, self._letters))

    def value(self) -> str:
        """What the choice means; "" where there is none."""
        return str(self.currentData() or "")

    def set_value(self, value: str) -> None:
        """Choose what means this; where nothing does, the choice stays."""
        row = self.findData(value)
        if row >= 0:
            self.setCurrentIndex(row)


class NumberField(Unscrolled, QDoubleSpinBox):
    """A number to type, also as 0,02 or 1e-4; with a word, the lowest position stands for that word.

    What lies beyond the bounds becomes the nearest that does not when the field is left: no key is swallowed, which would
    make another number of what was typed.

    Parameters
    ----------
    low, high : the bounds; `open_low` and `open_high` exclude them
    decimals : that can be entered; with none the number is an int
    word : for example "auto", or ""
    """

    changed = Signal()

    def __init__(
        self,
        low: float = -_LARGEST,
        high: float = _LARGEST,
        decimals: int = 2,
        *,
        word: str = "",
        open_low: bool = False,
        open_high: bool = False,
    ) -> None:
        super().__init__()
        self._word = word
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        plain = QLocale.c()
        plain.setNumberOptions(QLocale.NumberOption.OmitGroupSeparator)
        self.setLocale(plain)
        least = 10.0**-decimals
        self.setDecimals(decimals)
        if decimals:
            self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        self.setRange(max(low, -_LARGEST) + least * open_low, min(high, _LARGEST) - least * open_high)
        self.setSpecialValueText(word)
        self.valueChanged.connect(lambda _: self.changed.emit())

    def minimumSizeHint(self) -> QSize:
        """The size below which its word would be cut; Qt counts neither style sheets with wide buttons nor bold letters."""
        hint = super().minimumSizeHint()
        option = QStyleOptionSpinBox()
        self.initStyleOption(option)
        option.rect = QRect(QPoint(0, 0), hint)
        style = self.style()
        shown = style.subControlRect(
            QStyle.ComplexControl.CC_SpinBox, option, QStyle.SubControl.SC_SpinBoxEditField, self
        )
        lacking = self.fontMetrics().horizontalAdvance(self._word) + _BESIDE_WORD - shown.width()
        return hint + QSize(max(lacking, 0), 0)

    def textFromValue(self, value: float) -> str:
        """The number without zeros that say nothing."""
        return f"{value:.{self.decimals()}f}".rstrip("0").rstrip(".") if self.decimals() else f"{value:.0f}"

    def validate(self, text: str | None, pos: int) -> tuple[QValidator.State, str, int]:
        """Whether a text is a number of this field, or may become one."""
        found: tuple[QValidator.State, str, int] = super().validate(text, pos)
        typed = self._typed(text)
        if found[0] == QValidator.State.Acceptable or not _TYPED.fullmatch(typed):
            return found
        number = _parsed(typed)
        fits = number is not None and self.minimum() <= number <= self.maximum()
        whole = self.decimals() > 0 or (number is not None and number.is_integer())
        return QValidator.State.Acceptable if fits and whole else QValidator.State.Intermediate, text or "", pos

    def _typed(self, text: str | None) -> str:
        """A text without the unit behind it."""
        return (text or "").removesuffix(self.suffix())

    def valueFromText(self, text: str | None) -> float:
        """The number that was typed."""
        number = _parsed(self._typed(text))
        return float(super().valueFromText(text)) if number is None else number

    def fixup(self, text: str | None) -> str:
        """The nearest number of this field; what is no number stays, and Qt goes back to the last one."""
        number = _parsed(self._typed(text))
        if number is None:
            return text or ""
        return self.textFromValue(min(max(number, self.minimum()), self.maximum())) + self.suffix()

    def value(self) -> float | int | str:
        """The number, or the word."""
        number = float(super().value())
        if self._word and number == self.minimum():
            return self._word
        return number if self.decimals() else round(number)

    def set_value(self, value: float | str) -> None:
        """Show a value."""
        self.setValue(self.minimum() if isinstance(value, str) else value)

    def number(self) -> float | None:
        """The number; None where it is the word."""
        value = self.value()
        return None if isinstance(value, str) else float(value)

    def set_number(self, value: float | None) -> None:
        """Show a number; the word for None."""
        self.set_value(self._word if value is None else value)


class AngleField(NumberField):
    """Degrees, or that the angle is not known."""

    def __init__(self) -> None:
        super().__init__(-360.001, 360.0, 3, word="unknown")

    def call_unknown(self, word: str) -> None:
        """Show another word where there is no angle, as for a view that looks where no angle says."""
        # Setting the same word again would wipe out what is being typed.
        if word != self._word:
            self._word = word
            self.setSpecialValueText(word)


class Slider(Unscrolled, QSlider):
    """A horizontal slider."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


class RangeSlider(Unscrolled, QDoubleRangeSlider):
    """A horizontal slider with two handles."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)


def push_button(text: str, name: str, tip: str = "") -> QPushButton:
    """A button with words on it.

    Parameters
    ----------
    name : of the object
    tip : for those who point at it; may be empty
    """
    made = QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tip if tip.startswith("<qt>") else wrapped(tip))
    return made


def text_label(name: str, text: str = "") -> QLabel:
    """Words that wrap.

    Parameters
    ----------
    name : of the object
    """
    made = QLabel(text)
    made.setObjectName(name)
    made.setWordWrap(True)
    return made


def describe(widget: QWidget, name: str, called: str, tip: str = "") -> None:
    """Say what a widget is: to the program, to screen readers, and to those who point at it.

    Parameters
    ----------
    name : of the object
    called : in words, for those who do not see what stands beside it
    tip : may be empty
    """
    widget.setObjectName(name)
    widget.setAccessibleName(called)
    if tip:
        widget.setToolTip(tip)


def wrapped(text: str | None) -> str:
    """A tooltip that Qt breaks into lines."""
    return f"<qt>{text}</qt>" if text else ""


def ask_for_file(parent: QWidget | None, title: str, name: str, kinds: dict[str, str]) -> Path | None:
    """Ask for the name of a file to write. The dialog itself asks before a file is replaced.

    Parameters
    ----------
    parent : the dialog stands in front of it
    title : of the dialog
    name : a name to start from, without ending
    kinds : ending to the words for it; the first is the default
    """
    asked = ask_for_kind(parent, title, name, [(words, ending) for ending, words in kinds.items()])
    return None if asked is None else asked[0]


def ask_for_kind(
    parent: QWidget | None, title: str, name: str, kinds: Sequence[tuple[str, str]]
) -> tuple[Path, int] | None:
    """Ask as what something is written, and for its name; which of the kinds it is comes back with it.

    Parameters
    ----------
    parent, title, name : see `ask_for_file`
    kinds : words for each, and the ending of its names, "" where they have none; the first is the default
    """
    dialog = QFileDialog(parent, title)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    filters = {f"{words} (*{'.' if ending else ''}{ending})": ending for words, ending in kinds}
    dialog.setNameFilters(list(filters))
    dialog.setDefaultSuffix(kinds[0][1])
    dialog.filterSelected.connect(lambda chosen: dialog.setDefaultSuffix(filters[chosen]))
    dialog.selectFile(f"{name}.{kinds[0][1]}")
    accepted = dialog.exec()
    files, chosen = dialog.selectedFiles(), list(filters).index(dialog.selectedNameFilter())
    dialog.deleteLater()
    return (Path(files[0]), chosen) if accepted and files else None
