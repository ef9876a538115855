"""Forms that magicgui makes: of the fields of a model, or of a list of fields; and the widgets that it lacks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from magicgui.backends._qtpy.widgets import QBaseValueWidget
from magicgui.types import Undefined
from magicgui.widgets import CheckBox, LineEdit, create_widget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget
from superqt.utils import signals_blocked

from napari_mvfusion.gui.widgets.inputs import NumberField, WordList, describe, text_label, wrapped
from napari_mvfusion.methods.parameters import Parameter
from napari_mvfusion.models import ModelCard, ModelEntry, list_models

# Enough to read what is entered; a label that leaves less stands above its field.
_NARROWEST, _WIDEST = 110, 320
# Of a model, and of a choice among the parameters, whose labels may be long.
_LETTERS = 12


class ModelNews(QObject):
    """Tells all choices of a model that this program has made, renamed or deleted one."""

    changed = Signal()


NEWS = ModelNews()


class ModelChoice(WordList):
    """A list of the models that are there.

    What is there is looked up again whenever the list opens or a key is pressed, and at `NEWS`, so that a model that was
    trained meanwhile can be chosen.

    Parameters
    ----------
    instead : what can be chosen instead of a model, as its words and what they say about it; its value is ""
    """

    described = Signal(str)

    def __init__(self, instead: tuple[str, str] | None = None) -> None:
        super().__init__(letters=_LETTERS)
        self.setMinimumContentsLength(_LETTERS)
        self._instead = instead
        self._about: dict[str, str] = {}
        self._fill()
        self.changed.connect(self._describe)
        NEWS.changed.connect(self._fill)

    def set_value(self, value: str) -> None:
        """Show a name, also of a model that is not there: the run then says so."""
        if self.findData(value) < 0:
            self.addItem(value, value)
        super().set_value(value)

    def about(self) -> str:
        """What the card of the chosen model says, as rich text; empty where there is no such model."""
        return self._about.get(self.currentData(), "")

    def showPopup(self) -> None:
        """Open the list with the models that are there now."""
        self._fill()
        super().showPopup()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys go through the models that are there now."""
        self._fill()
        super().keyPressEvent(event)

    def _fill(self) -> None:
        current = self.currentData()
        known = {entry.name: _about(entry, entry.card) for entry in list_models() if entry.card is not None}
        if self._instead is not None:
            known[""] = self._instead[1]
        if known == self._about and self.count() == len(known):
            return
        self._about = known
        with signals_blocked(self):
            self.clear()
            for name, about in known.items():
                words = name if name or self._instead is None else self._instead[0]
                self.addItem(words, name)
                self.setItemData(self.count() - 1, wrapped(about), Qt.ItemDataRole.ToolTipRole)
            if current is not None:
                self.set_value(current)
        self._describe()

    def _describe(self) -> None:
        self.described.emit(self.about())


def _card_of(choice: ModelChoice) -> QLabel:
    """What the card of the chosen model says."""
    label = text_label("about")
    label.setTextFormat(Qt.TextFormat.RichText)

    def show(text: str) -> None:
        label.setText(text)
        label.setVisible(bool(text))

    choice.described.connect(show)
    show(choice.about())
    return label


def _about(entry: ModelEntry, card: ModelCard) -> str:
    """What a user wants to know of a model before choosing it: title, summary, views, and whose it is; rich text."""
    sentences = [card.summary.rstrip(".")] if card.summary else []
    if card.views_taken not in card.summary:
        sentences.append(f"Takes {card.views_taken}")
    if not entry.shipped:
        parent = card.training.get("parent")
        begun = f", trained from {parent['name']}" if isinstance(parent, dict) and "name" in parent else ""
        sentences.append(f"Yours{begun}, {card.created[:10]}")
    return f"<b>{escape(card.title or entry.name)}</b><br>{escape('. '.join(sentences))}."


class _Backend(QBaseValueWidget):
    """A widget of ours as magicgui sees it: it has `value` and `set_value`, and tells that it has `changed`."""

    def __init__(self, native: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(lambda parent: native, "value", "set_value", "changed", parent=parent)

    def _mgui_bind_change_callback(self, callback: Any) -> None:
        self._qwidget.changed.connect(lambda: callback(self._qwidget.value()))


class Field(ValueWidget):
    """A widget of ours as a field of a form."""

    def __init__(self, native: QWidget, value: Any = Undefined, **options: Any) -> None:
        super().__init__(value, **(options | {"widget_type": _Backend, "backend_kwargs": {"native": native}}))


class Number(Field):
    """A number, or a word that may stand for it; leaves the wheel to the panel, and knows bounds that are excluded.

    Parameters
    ----------
    low, high, decimals, bounds : see `NumberField`
    """

    def __init__(
        self, low: float = -math.inf, high: float = math.inf, decimals: int = 2, *, bounds: Any = None, **options: Any
    ) -> None:
        super().__init__(NumberField(low, high, decimals, **(bounds or {})), **options)


class Words(Field):
    """One of some words.

    Parameters
    ----------
    choices, letters : see `WordList`
    """

    def __init__(self, choices: Sequence[tuple[str, str]] = (), letters: int = 16, **options: Any) -> None:
        super().__init__(WordList(choices, letters), **options)


class Model(Field):
    """The name of a trained network.

    Parameters
    ----------
    instead : see `ModelChoice`
    """

    def __init__(self, instead: tuple[str, str] | None = None, **options: Any) -> None:
        super().__init__(ModelChoice(instead), **options)


class Form(QWidget):
    """Fields of magicgui with their labels, one below the other; a label that is too long stands above its field.

    `changed` tells that a value was entered.

    Parameters
    ----------
    fields : each with its name, label and tooltip
    """

    changed = Signal()

    def __init__(self, fields: Iterable[ValueWidget], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._fields: dict[str, ValueWidget] = {}
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for field in fields:
            self._add(field)

    def __getitem__(self, name: str) -> ValueWidget:
        """The field of this name."""
        return self._fields[name]

    def values(self) -> dict[str, Any]:
        """What is entered, by the names of the fields."""
        return {name: field.value for name, field in self._fields.items()}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Enter values by the names of their fields; others are left out."""
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].value = value

    def show_field(self, name: str, seen: bool) -> None:
        """Show or hide a field with its label, in every Qt that napari runs with."""
        native = self._fields[name].native
        if hasattr(self._rows, "setRowVisible"):
            self._rows.setRowVisible(native, seen)
            return
        # Qt before 6.4, which napari takes where PyQt5 is installed, has no such method.
        native.setVisible(seen)
        self._rows.labelForField(native).setVisible(seen)

    def _add(self, field: ValueWidget) -> None:
        native, tip = field.native, wrapped(field.tooltip)
        describe(native, field.name, field.label)
        native.setToolTip(tip)
        if isinstance(native, (NumberField, WordList)):
            native.setMaximumWidth(_WIDEST)
        if isinstance(native, NumberField):
            # A style of napari's would win over a minimum that is no style.
            native.setStyleSheet(f"min-width: {_NARROWEST}px;")
        label = QLabel(field.label)
        label.setToolTip(tip)
        label.setBuddy(native)
        self._rows.addRow(label, native)
        self._fields[field.name] = field
        field.changed.connect(self._tell)
        if isinstance(native, ModelChoice):
            self._rows.addRow(_card_of(native))

    def _tell(self, value: object) -> None:
        del value
        self.changed.emit()


class ParameterForm(Form):
    """One field a parameter: its title, a widget that knows its bounds, its help as tooltip.

    Parameters
    ----------
    parameters : of a method, or of anything else that is described so
    """

    def __init__(self, parameters: Iterable[Parameter], parent: QWidget | None = None) -> None:
        self._parameters = [parameter for parameter in parameters if not parameter.hidden]
        super().__init__(map(field_of, self._parameters), parent)

    def defaults(self) -> dict[str, Any]:
        """What the parameters are when nothing is entered, by name."""
        return {parameter.field: parameter.default for parameter in self._parameters}

    def tuning(self) -> dict[str, Any]:
        """What is entered, without what presets leave alone: the choice of a model."""
        return self._without_models(self.values())

    def standard_tuning(self) -> dict[str, Any]:
        """The defaults of `tuning`."""
        return self._without_models(self.defaults())

    def reset(self) -> None:
        """Back to the defaults."""
        self.set_values(self.defaults())

    def _without_models(self, values: dict[str, Any]) -> dict[str, Any]:
        models = {parameter.field for parameter in self._parameters if parameter.kind == "model"}
        return {name: value for name, value in values.items() if name not in models}


def field_of(parameter: Parameter) -> ValueWidget:
    """The field of a parameter, with its bounds and its default."""
    kind, options = _widget_of(parameter)
    made: ValueWidget = create_widget(
        parameter.default,
        name=parameter.field,
        label=parameter.title,
        widget_type=kind,
        options={"tooltip": parameter.help, **options},
    )
    if isinstance(made, CheckBox):
        # Its title stands before it, as that of every field.
        made.text = ""
    return made


def _widget_of(parameter: Parameter) -> tuple[type[ValueWidget], dict[str, Any]]:
    match parameter.kind:
        case "switch":
            return CheckBox, {}
        case "model":
            return Model, {}
        case "text":
            return LineEdit, {}
        case "choice":
            choices = [(word.replace("_", " "), word) for word in parameter.choices]
            return Words, {"choices": choices, "letters": _LETTERS}
    word = parameter.choices[0] if parameter.choices else ""
    bounds = {"word": word, "open_low": parameter.open_low, "open_high": parameter.open_high}
    low = parameter.low
    if word:
        # The lowest position is the word's: of whole numbers it lies below the least that may be entered.
        low = max(low, 1.0) - 1 if parameter.kind == "whole" else max(low, 0.0)
    return Number, {"low": low, "high": parameter.high, "decimals": _decimals(parameter), "bounds": bounds}


def _decimals(parameter: Parameter) -> int:
    """Enough for steps of the default, and of what lies between 0 and 1."""
    if parameter.kind == "whole":
        return 0
    default = abs(parameter.default) if isinstance(parameter.default, float) else 0.0
    if 0 < default < 0.01:
        return 2 - math.floor(math.log10(default))
    return 4 if parameter.high <= 1 or (math.isinf(parameter.high) and 0 < default < 1) else 2
