"""Parsers of option values, each with an error that says what is expected."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_mvfusion.addresses import absolute
from napari_mvfusion.io.formats import place_of
from napari_mvfusion.system.file_checks import is_there

if TYPE_CHECKING:
    from napari_mvfusion.data.field_of_view import NoData

WHICH_TIMEPOINT = "Which time point, counted from 0, where files have several."
WHICH_CHANNEL = "Which channel, counted from 0, where files have several."
TimepointOption = Annotated[
    int | None,
    typer.Option("--timepoint", min=0, metavar="NUMBER", help=WHICH_TIMEPOINT),
]
ChannelOption = Annotated[
    int | None,
    typer.Option("--channel", min=0, metavar="NUMBER", help=WHICH_CHANNEL),
]

_MEMORY = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


_MOST_BYTES = 2**60
_SHOWN_LETTERS = 60
_NUMBERS_ONLY = re.compile(r"[-+\d.eE\s]*,[-+\d.eE,\s]*")


def numbers(text: str, option: str) -> list[float]:
    """Parse "0,90,180" as a list of finite numbers, at least one."""
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values or not all(math.isfinite(value) for value in values):
        raise typer.BadParameter(f"'{_short(text)}' is no list of numbers such as 0,90,180", param_hint=option)
    return values


def names(text: str | None, option: str = "--views") -> list[str] | None:
    """Parse "0,90" as a list of names, at least one."""
    if text is None:
        return None
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise typer.BadParameter(f"'{_short(text)}' names nothing: give names such as 0,90", param_hint=option)
    return found


def triple_of(text: str | None, option: str) -> tuple[float, float, float] | None:
    """Parse "2,0.5,0.5" as (z, y, x); one number stands for all three."""
    if text is None:
        return None
    values = numbers(text, option)
    if len(values) == 1:
        values *= 3
    if len(values) != 3 or min(values) <= 0:
        raise typer.BadParameter(f"'{_short(text)}': give one positive number, or three as z,y,x", param_hint=option)
    return values[0], values[1], values[2]


def positive(value: float | None, option: str) -> float | None:
    """A finite number above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g}: give a positive number", param_hint=option)
    return value


def grid_of(text: str, option: str = "--grid") -> Literal["isotropic", "first", "same"] | tuple[float, float, float]:
    """Parse which voxels the fused volume gets: a word, or a size as (z, y, x) um."""
    words: tuple[Literal["isotropic", "first", "same"], ...] = ("isotropic", "first", "same")
    for word in words:
        if text == word:
            return word
    try:
        size = triple_of(text, option)
    except typer.BadParameter as error:
        raise typer.BadParameter(
            f"'{_short(text)}': give {', '.join(words)}, or the size of a voxel in um as z,y,x", param_hint=option
        ) from error
    assert size is not None
    return size


def box_of(
    text: str | None, option: str = "--box"
) -> tuple[str | None, tuple[tuple[float, float, float], tuple[float, float, float]] | None]:
    """Parse a box: the name that a project gives it, or "0,10,10,20,50,50", its first and last place (z, y, x) in um."""
    if text is None or not _NUMBERS_ONLY.fullmatch(text):
        return text, None
    return None, _corners(text, option)


def boxes_of(
    pairs: Sequence[str], option: str
) -> dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Parse ["90=0,10,10,20,50,50"] as the first and last place (z, y, x) of a box in um for each name."""
    return {name: _corners(text, option) for name, text in settings(pairs, option, "90=Z,Y,X,Z,Y,X").items()}


def _corners(text: str, option: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    values = numbers(text, option)
    if len(values) != 6:
        raise typer.BadParameter(
            f"'{_short(text)}': give six numbers in um, the first place z,y,x and the last one", param_hint=option
        )
    z0, y0, x0, z1, y1, x1 = values
    return (z0, y0, x0), (z1, y1, x1)


def fade_of(
    texts: Sequence[str] | None, option: str = "--fade"
) -> tuple[tuple[float, float] | None, dict[str, tuple[float, float]]]:
    """Parse ["100,200", "90=50,80"] as two depths in um for all views, and for some by name."""
    common, named = _common_and_named(texts or (), option)

    def depths(text: str) -> tuple[float, float]:
        values = numbers(text, option)
        if len(values) != 2 or values[0] == values[1]:
            raise typer.BadParameter(
                f"'{_short(text)}': give two depths in um, as 100,200: to which views count fully, and from which on not",
                param_hint=option,
            )
        return values[0], values[1]

    return None if common is None else depths(common), {name: depths(text) for name, text in named.items()}


def tile_of(text: str | None, option: str = "--tile") -> tuple[int, int, int] | None:
    """Parse "128" or "64,128,128" as the voxels of a tile."""
    values = triple_of(text, option)
    if values is None:
        return None
    if not all(value.is_integer() for value in values):
        raise typer.BadParameter(f"'{_short(text or '')}': give whole numbers of voxels", param_hint=option)
    return int(values[0]), int(values[1]), int(values[2])


# A number without a unit is bytes; fewer than this were meant as another unit.
_LEAST_MEMORY = 2**20


def memory_of(text: str | None, option: str = "--memory") -> int | None:
    """Parse "4G" or "800M" as bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([kmgt]?)i?b?", text.strip().lower(), re.ASCII)
    size = None if match is None else float(match[1]) * _MEMORY[match[2]]
    if size is None or not 1 <= size <= _MOST_BYTES:
        raise typer.BadParameter(f"'{_short(text)}' is no size such as 4G or 800M", param_hint=option)
    if size < _LEAST_MEMORY and match is not None and not match[2]:
        raise typer.BadParameter(f"'{_short(text)}' would be bytes: say 4G or 800M", param_hint=option)
    return int(size)


def numbers_of(pairs: Sequence[str], option: str) -> dict[str, float]:
    """Parse ["0=1", "90=0.5"] as a number for each name."""
    found = {}
    for name, text in settings(pairs, option, "90=0.5").items():
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise typer.BadParameter(
                f"'{_short(text)}' is no number: one must follow the =, as in 90=0.5", param_hint=option
            )
    return found


def no_data_of(texts: Sequence[str] | None) -> tuple[NoData, dict[str, NoData]]:
    """Parse ["none", "90=auto"] as what holds for all views, "auto" where nothing is said, and for some by name."""
    from napari_mvfusion.data.field_of_view import NO_DATA  # loads scipy, which parsing other options does not need

    common, named = _common_and_named(texts or (), "--no-data")

    def choice(text: str) -> NoData:
        for known in NO_DATA:
            if text.strip().lower() == known:
                return known
        raise typer.BadParameter(f"'{_short(text)}' is none of {', '.join(NO_DATA)}", param_hint="--no-data")

    return choice("auto" if common is None else common), {name: choice(value) for name, value in named.items()}


def offset_of(texts: Sequence[str] | None) -> tuple[float, dict[str, float]]:
    """Parse ["100", "90=103"] as the camera offset of all views, 0 where nothing is said, and of some by name."""
    common, named = _common_and_named(texts or (), "--offset")

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise typer.BadParameter(f"'{_short(text)}' is no number such as 100", param_hint="--offset")
        return value

    return 0.0 if common is None else number(common), {name: number(value) for name, value in named.items()}


def _common_and_named(texts: Sequence[str], option: str) -> tuple[str | None, dict[str, str]]:
    """The value that is given for all, and those for some by name."""
    plain = [text for text in texts if "=" not in text]
    if len(plain) > 1:
        given = " and ".join(f"'{_short(text)}'" for text in plain)
        raise typer.BadParameter(f"{given} are both given for all views: give one, or VIEW=VALUE", param_hint=option)
    return plain[0] if plain else None, settings([text for text in texts if "=" in text], option, "VIEW=VALUE")


def files_of(pairs: Sequence[str], option: str) -> dict[str, str]:
    """Parse ["90=mask.tif"] as an existing file for each name, with its whole path."""
    files = {name: Path(value) for name, value in settings(pairs, option, "90=FILE").items()}
    for path in files.values():
        if not is_there(place_of(path)):
            raise typer.BadParameter(f"{path} does not exist", param_hint=option)
    return {name: absolute(path) for name, path in files.items()}


def settings(pairs: Sequence[str], option: str = "--set", form: str = "name=value") -> dict[str, str]:
    """Parse ["sigma1=10", "weights=entropy"] as parameters of a method, or what else is written in this form."""
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and name.strip() and value.strip()):
            lacking = "" if not equals else f", nothing stands {'after' if name.strip() else 'before'} the ="
            raise typer.BadParameter(f"'{_short(pair)}' is not of the form {form}{lacking}", param_hint=option)
        if name.strip() in values:
            raise typer.BadParameter(f"'{_short(name.strip())}' is given twice", param_hint=option)
        values[name.strip()] = value.strip()
    return values


def _short(text: str) -> str:
    """What was typed, cut where it is longer than a message should be."""
    return text if len(text) <= _SHOWN_LETTERS else text[: _SHOWN_LETTERS - 1] + "…"
