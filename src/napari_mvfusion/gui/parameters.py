"""A form for the parameters of a method, made from the fields of its model: adding a method needs no code here."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from qtpy.QtCore import QLocale, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_mvfusion.networks import list_models

_MODELS, _RECIPE = "models", "recipe"
# Enough to read what is entered; a label that leaves less stands above its field.
_NARROWEST, _WIDEST = 110, 320
_MOST_LETTERS = 12
_LARGEST = 1_000_000


class ParameterForm(QWidget):
    """One row a field: its title, an editor that knows its bounds, its description as tooltip.

    Parameters
    ----------
    kind : class of the parameters; fields may be bool, int, float, str, a Literal, or `float | Literal[WORD]`. A str
        whose schema says `"choices": "models"` is chosen from the models, and one with `"recipe"` is not shown: only
        recipes fill it in.

    Raises
    ------
    TypeError
        If there is no editor for the type of a field.
    """

    changed = Signal()

    def __init__(self, kind: type[BaseModel], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind = kind
        self._editors: dict[str, Editor] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for name, field in kind.model_fields.items():
            if _chosen_from(field) == _RECIPE:
                continue
            editor = make_editor(field)
            editor.setObjectName(name)
            editor.setToolTip(_wrapped(field.description))
            if isinstance(editor, (Whole, Real)):
                # A style of napari's would win over a minimum that is no style.
                editor.setStyleSheet(f"min-width: {_NARROWEST}px;")
            editor.setMaximumWidth(_WIDEST)
            editor.changed.connect(self.changed)
            label = QLabel(field.title or name)
            label.setToolTip(_wrapped(field.description))
            label.setBuddy(editor)
            layout.addRow(label, editor)
            self._editors[name] = editor
        self.reset()

    def values(self) -> dict[str, Any]:
        """What is entered, by the names of the fields."""
        return {name: editor.value() for name, editor in self._editors.items()}

    def defaults(self) -> dict[str, Any]:
        """What the fields are when nothing is entered, by name."""
        fields = self._kind.model_fields
        return {name: fields[name].get_default(call_default_factory=True) for name in self._editors}

    def reset(self) -> None:
        """Back to the defaults."""
        self.set_values(self.defaults())

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Enter values by the names of their fields; others are left out."""
        for name, value in values.items():
            if name in self._editors:
                self._editors[name].set_value(value)


class _Unscrolled:
    """Leaves the wheel to the panel unless the editor has the focus, so that scrolling past changes nothing."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():  # type: ignore[attr-defined]
            super().wheelEvent(event)  # type: ignore[misc]
        else:
            event.ignore()


class Whole(_Unscrolled, QSpinBox):
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


class Real(_Unscrolled, QDoubleSpinBox):
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
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
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


class Choice(_Unscrolled, QComboBox):
    """An editor of one of some words."""

    changed = Signal()

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(min(max(map(len, words), default=1), _MOST_LETTERS))
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


class ModelChoice(Choice):
    """An editor of the name of a model; what is there is looked up again whenever the list opens."""

    def __init__(self) -> None:
        super().__init__(())
        self.setMinimumContentsLength(_MOST_LETTERS)
        self._fill()

    def set_value(self, value: str) -> None:
        """Show a name, also of a model that is not there: the run then says so."""
        if self.findData(value) < 0:
            self.addItem(value, value)
        self.setCurrentIndex(self.findData(value))

    def showPopup(self) -> None:
        """Open the list with the models that are there now."""
        self._fill()
        super().showPopup()

    def _fill(self) -> None:
        current = self.currentData()
        with QSignalBlocker(self):
            self.clear()
            for entry in list_models():
                if entry.card is not None:
                    self.addItem(entry.name, entry.name)
                    about = ". ".join(part for part in (entry.card.title, entry.card.summary) if part)
                    self.setItemData(self.count() - 1, _wrapped(about or entry.name), Qt.ItemDataRole.ToolTipRole)
            if current is not None:
                self.set_value(current)


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


Editor = Whole | Real | Choice | Switch | Text


def make_editor(field: FieldInfo) -> Editor:
    """The editor of a field, with the field's bounds.

    Raises
    ------
    TypeError
        If there is no editor for its type.
    """
    kinds = set(get_args(field.annotation)) if _is_union(field.annotation) else {field.annotation}
    if kinds == {bool}:
        return Switch()
    if kinds == {int}:
        return Whole(*_bounds(field, 1))
    if kinds == {str}:
        return ModelChoice() if _chosen_from(field) == _MODELS else Text()
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if len(kinds) == 1 and words:
        return Choice(tuple(words))
    if kinds - {float} == ({Literal[words[0]]} if len(words) == 1 else set()):
        low, high = _bounds(field, 0)
        default = field.default if isinstance(field.default, float) else 0.0
        fine = high <= 1 if math.isfinite(high) else 0 < abs(default) < 1
        resolution = 4 if fine else 2
        if any(hasattr(bound, "gt") for bound in field.metadata):
            low += 10.0**-resolution
        return Real(max(low, 0.0) if words else low, high, resolution, words[0] if words else None)
    raise TypeError(f"there is no editor for parameters of type {field.annotation}")


def _chosen_from(field: FieldInfo) -> str:
    """What a field's schema says about where its value comes from."""
    extra = field.json_schema_extra
    return str(extra.get("choices", "")) if isinstance(extra, dict) else ""


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _bounds(field: FieldInfo, step: int) -> tuple[float, float]:
    """Lowest and highest value; whole numbers that must be beyond a bound start a step further."""
    low, high = -math.inf, math.inf
    for bound in field.metadata:
        low = max(low, getattr(bound, "ge", -math.inf), getattr(bound, "gt", -math.inf) + step)
        high = min(high, getattr(bound, "le", math.inf), getattr(bound, "lt", math.inf) - step)
    return low, high


def _wrapped(text: str | None) -> str:
    """A tooltip that Qt breaks into lines."""
    return f"<qt>{text}</qt>" if text else ""
