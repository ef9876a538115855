"""`mvfusion clean`: remove what killed runs left in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_mvfusion.cli import show
from napari_mvfusion.cli.stopping import ask
from napari_mvfusion.engine.leftovers import Leftover, find_leftovers, remove_leftover


def clean(
    folder: Annotated[Path, typer.Argument(help="The folder to look through, with all folders in it.")],
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also discard unfinished runs, which --resume could go on with.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON; nothing is removed.")] = False,
) -> None:
    """Remove what killed runs left: half-written files, old versions that were replaced, locks.

    What a living process writes is left alone. Unfinished runs are kept unless --unfinished is given.
    """
    found = find_leftovers(folder)
    if as_json:
        show.print_json([_as_json(leftover) for leftover in found])
        return
    if not found:
        show.say("nothing is left to clean")
        return
    wanted = []
    for leftover in found:
        for path in leftover.paths:
            show.say(f"{path}  {_fate(leftover, path, unfinished=unfinished)}")
        only_kept = leftover.unfinished and len(leftover.paths) == 1 and not unfinished
        if leftover.holder is None and not only_kept:
            wanted.append(leftover)
    if not wanted:
        show.say("nothing is removed")
        return
    if not yes:
        ask("Remove them?")
    for leftover in wanted:
        remove_leftover(leftover, unfinished=unfinished)
    show.say("removed")


def _fate(leftover: Leftover, path: Path, *, unfinished: bool) -> str:
    """What is done with a path, in words."""
    if leftover.holder is not None:
        return f"stays: in use by {leftover.holder}"
    if not path.name.endswith(".partial"):
        return "left by a run that was killed"
    if unfinished:
        return "an unfinished run, discarded"
    return "stays: an unfinished run, go on with --resume, or discard it with --unfinished"


def _as_json(leftover: Leftover) -> dict[str, object]:
    return {
        "output": str(leftover.output),
        "paths": [str(path) for path in leftover.paths],
        "bytes": leftover.size,
        "unfinished": leftover.unfinished,
        "in_use_by": leftover.holder,
    }
