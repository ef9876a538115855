"""The last steps of a run into a file: the complete result and its recipe take their places, and the folder leaves.

The steps, in this order; whatever ends the run, what is left after each can be told from what lies there:

1. `OUT.partial/` holds the complete result.
2. It holds the recipe too, and the journal says that both are to be placed, and whether they replace something.
3. An old recipe beside OUT moves into the folder: it never lies beside a volume that it did not make.
4. An old OUT moves into the folder.
5. The result becomes OUT, and the container in which it lies lists it, where that keeps a list.
6. The recipe becomes `OUT.recipe.json`.
7. The folder is renamed, in one step, and removed under its new name.

`place` does all that is left of 3 to 7. `undo` goes back from 3 and 4, where what was there before shall stay.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.atomic import recipe_path as recipe_path
from napari_mvfusion.io.atomic import removing_path
from napari_mvfusion.io.base import Format
from napari_mvfusion.io.formats import (
    format_of,
    growing_format,
    is_written,
    place_of,
    split_ending,
    writer_of,
    writers,
)

RECIPE = "recipe.json"
_TILES, _RESULT = "tiles", "fused"
_REPLACED = "replaced"
_REPLACED_RECIPE = "replaced.recipe.json"


def partial_folder(out: Path) -> Path:
    """The folder that holds the unfinished run of an output."""
    return out.with_name(out.name + ".partial")


def output_of(folder: Path) -> Path:
    """The output whose unfinished run a folder holds."""
    return folder.with_name(folder.name.removesuffix(".partial"))


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


def volume_suffix(numbers: Iterable[int]) -> str:
    """What follows the name in the file of a volume of a series, from its numbers along the axes before z."""
    return "".join(f"-{number:03}" for number in numbers)


def named_apart(named: Path, suffix: str, ending: str = "") -> Path:
    """What one of several results is called that are written together.

    Parameters
    ----------
    named : what all of them are called; it may name a place inside a file
    suffix : what follows the stem of its file
    ending : of the file, where the name has none
    """
    known, place = format_of(named), place_of(named)
    stem, own = split_ending(place.name)
    return known.elsewhere(named, place.with_name(stem + suffix + (own or ending)))


def _taken(path: Path) -> bool:
    """Whether something is there, finished or not, or a recipe that was left of it."""
    return path.exists() or partial_folder(path).exists() or recipe_path(path).exists()


def is_result(name: str) -> bool:
    """Whether a file or folder in the folder of a run is called like a result, or like one that is being written."""
    called = [f"{_TILES}{growing_format().suffixes[0]}", *(_called(known) for known in writers())]
    return name in called or name.startswith(tuple(f".{each}." for each in called))


def scratch_in(folder: Path) -> Path:
    """The tiles that are finished, in the folder of a run; see `Finishing.scratch`."""
    return folder / f"{_TILES}{growing_format().suffixes[0]}"


def _called(known: Format) -> str:
    """What the result of a run is called in its folder."""
    return f"{_RESULT}{known.suffixes[0]}"


@dataclass(frozen=True)
class Finishing:
    """The places of one run's last steps.

    Parameters
    ----------
    out : the output
    """

    out: Path

    @property
    def folder(self) -> Path:
        """The folder of the unfinished run."""
        return partial_folder(self.out)

    @property
    def scratch(self) -> Path:
        """The tiles that are finished, in a format that grows box by box."""
        return scratch_in(self.folder)

    @property
    def result(self) -> Path:
        """The complete result, until it takes its place."""
        # The folder of a run may have been renamed to what no format is called.
        return self.folder / _called(writer_of(self.out) if is_written(self.out) else growing_format())

    @property
    def recipe(self) -> Path:
        """The recipe that is written, whether it has its place already or not."""
        inside = self.folder / RECIPE
        return inside if inside.exists() else recipe_path(self.out)

    def placed(self, *, replaces: bool) -> bool:
        """Whether the result is OUT already, of a run whose journal says that it is to be placed.

        Parameters
        ----------
        replaces : whether there was an old OUT, as the journal says
        """
        moved = self.out.exists() and not self.result.exists()
        return moved and ((self.folder / _REPLACED).exists() or not replaces)

    def place(self, *, replaces: bool) -> None:
        """Do what is left of the steps.

        Parameters
        ----------
        replaces : whether an old OUT may be replaced

        Raises
        ------
        OutputError
            If there is an OUT that must not be replaced; the result stays where it is.
        OSError
            If a step fails; what was there before is put back, unless the result has its place already.
        """
        if self.result.exists():
            if self.out.exists() and (not replaces or (self.folder / _REPLACED).exists()):
                raise OutputError(
                    f"{self.out} was made by something else meanwhile: move it, and run again with --resume; "
                    f"the result is kept in {self.result}"
                )
            try:
                if recipe_path(self.out).exists():
                    os.replace(recipe_path(self.out), self.folder / _REPLACED_RECIPE)
                if self.out.exists():
                    self.out.rename(self.folder / _REPLACED)
                self.result.rename(self.out)
            except OSError:
                self.undo()
                raise
        if is_written(self.out):
            writer_of(self.out).enter(self.out)
        if (self.folder / RECIPE).exists():
            os.replace(self.folder / RECIPE, recipe_path(self.out))
        self.remove()

    def undo(self) -> None:
        """Put back what the result was to replace, unless it has taken its place."""
        old, old_recipe = self.folder / _REPLACED, self.folder / _REPLACED_RECIPE
        if self.out.exists():
            # Either nothing was moved, or the result is there.
            if self.result.exists() and not old.exists() and old_recipe.exists():
                os.replace(old_recipe, recipe_path(self.out))
            return
        if old.exists():
            old.rename(self.out)
            if old_recipe.exists():
                os.replace(old_recipe, recipe_path(self.out))

    def remove(self) -> None:
        """Remove the folder; it loses its name first, so that what is left by a kill is nobody's unfinished run."""
        leaving = removing_path(self.out)
        if leaving.exists():
            shutil.rmtree(leaving)
        self.folder.rename(leaving)
        shutil.rmtree(leaving)
