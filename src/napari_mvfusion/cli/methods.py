"""`mvfusion methods`: the fusion methods, what they do, and all their parameters."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_mvfusion.cli import show
from napari_mvfusion.errors import InputError
from napari_mvfusion.methods import METHODS
from napari_mvfusion.methods.parameters import Parameter, parameters_of


def methods(
    name: Annotated[str | None, typer.Argument(help="One method; all of them by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List fusion methods with all their parameters, which --set NAME=VALUE of fuse takes."""
    if name is not None and name not in METHODS:
        raise InputError(f"there is no method '{name}': choose one of {', '.join(METHODS)}")
    chosen = list(METHODS) if name is None else [name]
    if as_json:
        show.print_json({method: [_as_json(one) for one in _shown(method)] for method in chosen})
        return
    show.say("\n\n".join(about(method) for method in chosen))


def about(method: str) -> str:
    """A method and its parameters as text."""
    kind = METHODS[method]
    lines = [f"{method}: {kind.summary}"]
    for one in _shown(method):
        lines += [f"  {one.name}={_text(one.default)}   {one.allowed}", f"      {one.help}"]
    names = {one.field: one.name for one in parameters_of(kind)}
    for preset, values in kind.presets.items():
        if values:
            words = ", ".join(f"{names[key]}={_text(value)}" for key, value in values.items())
            lines.append(f"  preset {preset} of the panel: {words}")
    return "\n".join(lines)


def in_short() -> str:
    """Every parameter of every method in a paragraph a method, as it stands below the options of a command."""
    paragraphs = ["Parameters of methods, for --set NAME=VALUE:"]
    for method in METHODS:
        words = [f"{one.name}={_text(one.default)} ({one.allowed})" for one in _shown(method)]
        paragraphs.append(f"{method}: {', '.join(words) or 'none'}")
    return "\n\n".join(paragraphs)


def help_of(method: str, parameter: str) -> str:
    """What a parameter is, as the help of an option that stands for it."""
    (found,) = (one for one in parameters_of(METHODS[method]) if one.name == parameter)
    return f"{method}: {found.help} ({found.allowed}; {_text(found.default)} by default)"


def _shown(method: str) -> list[Parameter]:
    return [one for one in parameters_of(METHODS[method]) if not one.hidden]


def _as_json(one: Parameter) -> dict[str, object]:
    return {"name": one.name, "default": one.default, "allowed": one.allowed, "help": one.help}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
