"""The commands of `mvfusion`: what each does in a line; its module, and torch with it, is loaded when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any, get_args

import typer
import typer.core

from napari_mvfusion.cli.show import begin_command

# The first line of the help of each: the module of that name in this package holds the rest.
COMMANDS = {
    "demo": "Simulate an embryo, measure its PSFs from beads, fuse it with every method, and compare the results.",
    "simulate": "Make specimens with a known truth: views, PSFs and ground truth, named as `mvfusion fuse` expects them.",
    "psf": "Measure PSFs from beads, and look at PSFs.",
    "fuse": "Fuse registered views into a volume, or a series of them. The recipe that repeats it lands beside the result.",
    "evaluate": "Measure a fused volume: against the truth, and by blurring it again and comparing it with its views.",
    "scene": "Write views in their places, and a fused volume of them, as one OME-Zarr 0.6 scene that other programs open.",
    "transmission": "Find how much light each view lost in the specimen, and write it as files that a run can be given.",
    "info": "Say which samples, views, PSFs and ground truths an input holds.",
    "train": "Train a generator. The best weights on what is never trained on are kept; Ctrl-C stops and keeps them.",
    "clean": "Remove what killed runs left: half-written files, old versions that were replaced, locks.",
    "methods": "List fusion methods with all their parameters, which --set NAME=VALUE of fuse takes.",
    "models": "Look at trained networks, import published ones, and keep your own.",
}

# What an option asks for where it does not say it itself, by the beginning of the name of its type.
_WORDS = {
    "bool": "",
    "int": "NUMBER",
    "float": "NUMBER",
    "path": "PATH",
    "posixpath": "PATH",
    "str": "TEXT",
    "text": "TEXT",
}


class LazyGroup(typer.core.TyperGroup):
    """Loads a command when it is called; for the list of commands their names and first lines are enough."""

    _listing = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help from what is known without loading anything."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, loaded unless it is only to be listed."""
        known = super().get_command(ctx, cmd_name)
        return known if known is None or self._listing else load_command(cmd_name)


def load_command(name: str) -> Any:
    """Import the module of a command and make the command of it; what its `EPILOG` says stands below its options."""
    module = importlib.import_module(f"napari_mvfusion.cli.{name}")
    if hasattr(module, "app"):
        return _in_plain_words(typer.main.get_command(module.app))
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name, epilog=getattr(module, "EPILOG", None))(getattr(module, name))
    return _in_plain_words(typer.main.get_command(alone))


def _in_plain_words(command: Any) -> Any:
    """The command, whose help says what values are in the words of a person, and not by types of the language."""
    for inner in getattr(command, "commands", {}).values():
        _in_plain_words(inner)
    for parameter in command.params:
        if parameter.metavar is not None:
            continue
        if parameter.param_type_name == "argument":
            parameter.metavar = str(parameter.name).upper()
        else:
            kind = _kind(parameter)
            parameter.metavar = next((word for start, word in _WORDS.items() if kind.startswith(start)), None)
    return command


def _kind(parameter: Any) -> str:
    """The name of the type of an option, in lower case: typer has said it in two ways."""
    described = getattr(parameter, "type_descriptor", None)
    if described is None:
        return str(parameter.type.name).lower()
    annotation = described.annotation
    return str(getattr((get_args(annotation) or (annotation,))[0], "__name__", "")).lower()


def _listed(line: str) -> Callable[[], None]:
    def command() -> None:
        """Only its name and its line are used."""

    command.__doc__ = line
    return command


app = typer.Typer(
    cls=LazyGroup,
    name="mvfusion",
    help="Fuse registered light-sheet views with measured PSFs into one volume that is sharp in every direction.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def options_of_all(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show an error with its traceback; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Hold the options of all commands, for the help: `cli.main` takes them from the line before it is parsed."""
    begin_command()


for _name, _line in COMMANDS.items():
    app.command(_name)(_listed(_line))
