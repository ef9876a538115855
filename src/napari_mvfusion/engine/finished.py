"""Whether a finished result is still what was written: its recipe has a digest of the voxels, tile by tile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.events import Preparing
from napari_mvfusion.data.geometry import triple
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.engine.finishing import recipe_path
from napari_mvfusion.errors import OutputError, is_out_of_memory
from napari_mvfusion.io.formats import place_of, writer_of
from napari_mvfusion.io.opening import open_volume
from napari_mvfusion.system.file_checks import cause_of, parsing
from napari_mvfusion.system.journal import digest

_KEY = "voxels_sha256"
# Read at once where a recipe does not say in which tiles it was made.
_PLANES = 16


def voxels_entry(digests: Iterable[str]) -> dict[str, str]:
    """What a recipe keeps of the voxels, beside its tiles.

    Parameters
    ----------
    digests : of all tiles in their order, as `napari_mvfusion.system.journal.digest` makes them
    """
    return {_KEY: hashlib.sha256("".join(digests).encode()).hexdigest()}


def check_finished(out: Path, recipe: Mapping[str, Any]) -> Generator[Preparing, None, None]:
    """Read a finished result once, tile by tile, and refuse it where it was damaged or changed after it was written.

    Parameters
    ----------
    out : the result, of one volume
    recipe : that of `out`. One of an older version has no digest: then all that is told is whether voxels can be read.

    Yields
    ------
    Preparing, after each tile.

    Raises
    ------
    OutputError
        If voxels cannot be read or are not those that were written, or a coarser level is not made of them.
    """
    flaw = yield from flaw_of_volume(lambda: open_volume(out)[0], recipe, lambda: writer_of(out).flaw(out), out)
    if flaw:
        raise OutputError(f"{out} is damaged: {flaw}; fuse again with --overwrite, or to another output")


def flaw_of_volume(
    look: Callable[[], VolumeLike], recipe: Mapping[str, Any], beside: Callable[[], str], out: Path
) -> Generator[Preparing, None, str]:
    """Read a finished volume once, tile by tile, and say what is wrong with it.

    Parameters
    ----------
    look : opens it, (z, y, x)
    recipe : of the volume, as for `check_finished`
    beside : says what is wrong with it beside its pixels; "" for nothing
    out : the result that it is in

    Yields
    ------
    Preparing, after each tile.

    Returns
    -------
    In words, "" for nothing.

    Raises
    ------
    InputError
        If the recipe is damaged.
    """
    with parsing(f"{recipe_path(place_of(out))} is damaged", "fuse again with --overwrite, or to another output"):
        shape = triple(recipe["grid"]["shape"])
        tile = triple(recipe["run"].get("tile", (_PLANES, *shape[1:])))
        wanted = recipe["run"].get(_KEY)
        plan = TilePlan(shape, tile)
    found = []
    try:
        volume = look()
        for number, box in enumerate(plan.boxes):
            found.append(digest(np.asarray(volume[box.slices], np.float32)))
            yield Preparing("checking the result", (number + 1) / len(plan.boxes))
        flaw = beside()
    except Exception as error:  # a damaged file raises whatever its codec does
        if is_out_of_memory(error):
            raise
        return f"its voxels cannot be read ({cause_of(error)})"
    if wanted is not None and voxels_entry(found)[_KEY] != wanted:
        return "its voxels are not those that were written"
    return flaw
