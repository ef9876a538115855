"""Fusion methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from napari_mvfusion.errors import InputError
from napari_mvfusion.methods.average import Average
from napari_mvfusion.methods.base import FusionMethod
from napari_mvfusion.methods.cbif import CBIF
from napari_mvfusion.methods.ebmd import EBMD
from napari_mvfusion.methods.generator import LearnedFusion
from napari_mvfusion.methods.joint_wiener import JointWiener
from napari_mvfusion.methods.parameters import Parameter, parameters_of

# The order in which methods are listed.
METHODS: dict[str, type[FusionMethod]] = {kind.name: kind for kind in (Average, CBIF, JointWiener, EBMD, LearnedFusion)}

_SHOWN_LETTERS = 60

__all__ = [
    "CBIF",
    "EBMD",
    "METHODS",
    "Average",
    "JointWiener",
    "LearnedFusion",
    "make_method",
    "method_of_recipe",
]


def make_method(name: str, /, **parameters: Any) -> Any:
    """Make a method from its name and parameters.

    Parameters
    ----------
    name : a key of `METHODS`
    **parameters : as the method's fields are called; values may be text, as a command line has them

    Raises
    ------
    InputError
        If there is no such method or parameter, or a value is out of range; says what is allowed.
    """
    if name not in METHODS:
        raise InputError(f"there is no method '{name}': choose one of {', '.join(METHODS)}")
    kind = METHODS[name]
    try:
        return kind(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        given = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise InputError(_unknown(kind, given)) from error
        (parameter,) = (one for one in parameters_of(kind) if given in (one.name, one.field))
        raise InputError(
            f"parameter '{parameter.name}' of method '{name}' takes {parameter.wanted}, not {_shown(first['input'])}"
        ) from error


def method_of_recipe(name: str, parameters: Mapping[str, Any]) -> Any:
    """Make a method as a recipe says it; parameters that are younger than the recipe are as they were before.

    Raises
    ------
    InputError
        As `make_method`.
    """
    unsaid = METHODS[name].unsaid if name in METHODS else {}
    return make_method(name, **{**unsaid, **parameters})


def _unknown(kind: type[FusionMethod], given: str) -> str:
    """What to say of a parameter that a method has not, also where others have it."""
    known = ", ".join(one.name for one in parameters_of(kind) if not one.hidden) or "none"
    said = f"method '{kind.name}' has no parameter '{given}': its parameters are {known}"
    others: dict[str, Parameter] = {
        name: one for name, other in METHODS.items() for one in parameters_of(other) if one.name == given
    }
    if not others:
        return said
    title = next(iter(others.values())).title
    return f"{said}; '{given}' ({title}) belongs to {', '.join(others)}{kind.without.get(given, '')}"


def _shown(value: object) -> str:
    """A value as it was given, cut where it is longer than a message should be."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LETTERS else text[: _SHOWN_LETTERS - 1] + "…"
