"""A form for the parameters of a method, made from the fields of its model: adding a method needs no code here."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_mvfusion.gui.editors import Choice, Real, Switch, Text, Whole, wrapped
from napari_mvfusion.gui.inputs import describe
from napari_mvfusion.gui.models import ModelAbout, ModelChoice

_MODELS, _RECIPE = "models", "recipe"
# Enough to read what is entered; a label that leaves less stands above its field.
_NARROWEST, WIDEST = 110, 320


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
            describe(editor, name, field.title or name, wrapped(field.description))
            if isinstance(editor, (Whole, Real)):
                # A style of napari's would win over a minimum that is no style.
                editor.setStyleSheet(f"min-width: {_NARROWEST}px;")
            editor.setMaximumWidth(WIDEST)
            editor.changed.connect(self.changed)
            label = QLabel(field.title or name)
            label.setToolTip(wrapped(field.description))
            label.setBuddy(editor)
            layout.addRow(label, editor)
            self._editors[name] = editor
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
