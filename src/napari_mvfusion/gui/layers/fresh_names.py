"""A name for a new result that nothing has yet, in a folder that can be written to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

from napari_mvfusion.engine.finishing import partial_folder, recipe_path
from napari_mvfusion.gui.layers.conversion import Opened
from napari_mvfusion.io.formats import place_of


def fresh_name(folders: Iterable[Path | None], stem: str, endings: Sequence[str]) -> Path | None:
    """Propose where a result goes.

    Parameters
    ----------
    folders : the first one that can be written to is taken
    stem : of the name; a number follows where it is taken
    endings : what follows the stem in the name of each of the files that are written together

    Returns
    -------
    The folder with the stem, without an ending, or None where no folder can be written to.
    """
    folder = next((f for f in folders if f is not None and f.is_dir() and os.access(f, os.W_OK)), None)
    if folder is None:
        return None
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(folder / name for name in names if not any(_taken(folder / f"{name}{end}") for end in endings))


def names_for(opened: Opened, sample: str | None) -> tuple[str, str]:
    """What the file of a result is called, and the folder in which the views lie, "" where they have no files."""
    source = opened.views.views[0].source
    place = place_of(source) if source else None
    beside = str(place.absolute().parent) if place is not None and place.exists() else ""
    return f"{sample}-fused" if sample else "fused", beside


def _taken(path: Path) -> bool:
    """Whether something is there, finished or not, or a recipe that was left of it."""
    return path.exists() or partial_folder(path).exists() or recipe_path(path).exists()
