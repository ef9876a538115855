"""A form for the parameters of a method, made from the fields of its model: adding a method needs no code here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_mvfusion.gui.widgets.editors import Choice, Real, Switch, Text, Whole, wrapped
from napari_mvfusion.gui.widgets.inputs import describe
from napari_mvfusion.gui.widgets.model_choice import ModelAbout, ModelChoice
from napari_mvfusion.methods.parameters import Parameter, parameters_of

# Enough to read what is entered; a label that leaves less stands above its field.
_NARROWEST, WIDEST = 110, 320


class ParameterForm(QWidget):
    """One row a field: its title, an editor that knows its bounds, its description as tooltip.

    Parameters
    ----------
    kind : class of the parameters; see `describe_field` for what its fields may be

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
        for parameter in parameters_of(kind):
            if parameter.hidden:
                continue
            editor = make_editor(parameter)
            describe(editor, parameter.field, parameter.title, wrapped(parameter.help))
            if isinstance(editor, (Whole, Real)):
                # A style of napari's would win over a minimum that is no style.
                editor.setStyleSheet(f"min-width: {_NARROWEST}px;")
            editor.setMaximumWidth(WIDEST)
            editor.changed.connect(self.changed)
            label = QLabel(parameter.title)
            label.setToolTip(wrapped(parameter.help))
            label.setBuddy(editor)
            layout.addRow(label, editor)
            self._editors[parameter.field] = editor
            if isinstance(editor, ModelChoice):
                layout.addRow(ModelAbout(editor))
        self.reset()

    def values(self) -> dict[str, Any]:
        """What is entered, by the names of the fields."""
        return {name: editor.value() for name, editor in self._editors.items()}

    def defaults(self) -> dict[str, Any]:
        """What the fields are when nothing is entered, by name."""
        fields = self._kind.model_fields
        return {name: fields[name].get_default(call_default_factory=True) for name in self._editors}

    def tuning(self) -> dict[str, Any]:
        """What is entered, without what presets leave alone: the choice of a model."""
        return self._without_models(self.values())

    def standard_tuning(self) -> dict[str, Any]:
        """The defaults of `tuning`."""
        return self._without_models(self.defaults())

    def reset(self) -> None:
        """Back to the defaults."""
        self.set_values(self.defaults())

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Enter values by the names of their fields; others are left out."""
        for name, value in values.items():
            if name in self._editors:
                self._editors[name].set_value(value)

    def _without_models(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if not isinstance(self._editors[name], ModelChoice)}


Editor = Whole | Real | Choice | Switch | Text


def make_editor(parameter: Parameter) -> Editor:
    """The editor of a parameter, with its bounds."""
    match parameter.kind:
        case "switch":
            return Switch()
        case "whole":
            return Whole(parameter.low + parameter.open_low, parameter.high)
        case "model":
            return ModelChoice()
        case "text":
            return Text()
        case "choice":
            return Choice(parameter.choices)
    default = parameter.default if isinstance(parameter.default, float) else 0.0
    fine = parameter.high <= 1 if math.isfinite(parameter.high) else 0 < abs(default) < 1
    resolution = 4 if fine else 2
    low = parameter.low + (10.0**-resolution if parameter.open_low else 0)
    word = parameter.choices[0] if parameter.choices else None
    return Real(max(low, 0.0) if word else low, parameter.high, resolution, word)
