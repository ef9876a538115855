"""What the parameters of a method are: kinds, bounds, choices and words, from the fields of its model.

The form in napari, the command line and the documentation read these, so that none of them knows a method by name.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Kind = Literal["switch", "whole", "real", "choice", "text", "model"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method.

    Attributes
    ----------
    field : as the model calls it in Python
    name : as recipes and the command line call it
    title, help : what the user reads
    kind : what its values are; "model" is the name or file of a trained network
    default : its value when nothing is entered
    low, high : bounds of numbers, infinite where there are none
    open_low, open_high : whether `low` or `high` itself is not allowed
    choices : the words of a choice, or the one word that may stand for a number
    hidden : only recipes fill it in
    """

    field: str
    name: str
    title: str
    help: str
    kind: Kind
    default: Any
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    hidden: bool = False

    @property
    def allowed(self) -> str:
        """What may be entered, in words: "1 to 1000", "gaussian or entropy"."""
        words = " or ".join(self.choices)
        if self.kind == "switch":
            return "true or false"
        if self.kind == "model":
            return "name or file of a model"
        if self.kind in ("choice", "text"):
            return words or "text"
        bounds = self._range("") or "any number"
        return f"{bounds}, or {words}" if words else bounds

    @property
    def wanted(self) -> str:
        """What should have been entered, in words that follow "takes": "a whole number from 1 to 1000, or auto"."""
        if self.hidden and not self.choices:
            return "what recipes hold"
        if self.kind not in ("whole", "real"):
            return self.allowed
        number = "a whole number" if self.kind == "whole" else "a number"
        return ", or ".join((f"{number} {self._range('from ')}".strip(), *self.choices))

    def _range(self, begun: str) -> str:
        """The bounds of a number, "" without any; what has both begins with the words that are given."""
        low = f"above {self.low:g}" if self.open_low else f"from {self.low:g}"
        high = f"below {self.high:g}" if self.open_high else f"up to {self.high:g}"
        if math.isfinite(self.low) and math.isfinite(self.high):
            closed = not (self.open_low or self.open_high)
            return f"{begun}{self.low:g} to {self.high:g}" if closed else f"{low}, {high}"
        return high if math.isfinite(self.high) else low if math.isfinite(self.low) else ""


def parameters_of(kind: type[BaseModel]) -> tuple[Parameter, ...]:
    """The parameters of a method, in the order of its fields.

    Raises
    ------
    TypeError
        If a field has a type that no form could show.
    """
    return tuple(describe_field(name, field) for name, field in kind.model_fields.items())


def describe_field(name: str, field: FieldInfo) -> Parameter:
    """One field as a parameter.

    Parameters
    ----------
    name : as the model calls it
    field : bool, int, float, str, a Literal, or `float | Literal[WORD]`, the number also an int, or Annotated with its
        bounds. A str whose schema says `"choices": "models"` is
        chosen from the models, and one with `"recipe"` is hidden.

    Raises
    ------
    TypeError
        If it has another type.
    """
    extra = field.json_schema_extra
    source = str(extra.get("choices", "")) if isinstance(extra, dict) else ""
    found, words = _kind_of(field, source)
    low, high, open_low, open_high = _bounds(field)
    return Parameter(
        field=name,
        name=field.alias or name,
        title=field.title or name,
        help=field.description or "",
        kind=found,
        default=field.get_default(call_default_factory=True),
        low=low,
        high=high,
        open_low=open_low,
        open_high=open_high,
        choices=words,
        hidden=source == "recipe",
    )


def _kind_of(field: FieldInfo, source: str) -> tuple[Kind, tuple[str, ...]]:
    annotation = field.annotation
    kinds = {get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in _alternatives(annotation)}
    plain: Mapping[Any, Kind] = {
        bool: "switch",
        int: "whole",
        float: "real",
        str: "model" if source == "models" else "text",
    }
    words = tuple(word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))
    rest = {kind for kind in kinds if get_origin(kind) is not Literal}
    if not rest and words:
        return "choice", words
    kind = plain.get(next(iter(rest))) if len(rest) == 1 else None
    if kind is not None and (not words or (kind in ("whole", "real") and len(words) == 1)):
        return kind, words
    raise TypeError(f"there is no editor for parameters of type {annotation}")


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of which any may be meant."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _bounds(field: FieldInfo) -> tuple[float, float, bool, bool]:
    low, high, open_low, open_high = -math.inf, math.inf, False, False
    # Where a word may stand for the number, bounds are those of the number.
    inner = [said for kind in _alternatives(field.annotation) for said in get_args(kind) if isinstance(said, FieldInfo)]
    for bound in (bound for said in (field, *inner) for bound in said.metadata):
        for name in ("ge", "gt"):
            value = getattr(bound, name, None)
            if value is not None and value >= low:
                low, open_low = float(value), name == "gt"
        for name in ("le", "lt"):
            value = getattr(bound, name, None)
            if value is not None and value <= high:
                high, open_high = float(value), name == "lt"
    return low, high, open_low, open_high
