"""Refuses outputs that would take the place of what is read: the same file by any path, link or case, or one inside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from napari_mvfusion.errors import OutputError
from napari_mvfusion.io.base import LazyVolume
from napari_mvfusion.io.formats import is_volume_folder, place_of

# Of the arguments that open views, those that name files or folders.
_PLACES = ("source", "psfs", "psf_folder", "mask", "masks", "trust", "transmissions")


def refuse_overlap(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Raise unless outputs are apart from inputs.

    Parameters
    ----------
    outputs : files or folders that will be made, replaced or removed
    inputs : files that are read, volumes that are folders, and folders of files, in which an output may lie

    Raises
    ------
    OutputError
        If an output is an input, or holds one, or lies in a volume that is an input; also by another path, a link, or
        a hard link.
    """
    # Inputs mostly lie in the same folders: each is looked up once.
    identity = cache(_identity)
    read = list(dict.fromkeys(place_of(path) for path in dict.fromkeys(inputs)))
    for out in map(place_of, outputs):
        made, around = identity(out), {identity(above) for above in _above(out)}
        for path in read:
            if made in {identity(path), *(identity(above) for above in _above(path))}:
                raise OutputError(f"{out} is or holds the input {path}, which is never replaced: choose another output")
            if path.is_dir() and is_volume_folder(path) and identity(path) in around:
                raise OutputError(f"{out} would lie inside the input {path}: choose another output")


def places_in(opening: Mapping[str, Any] | None) -> list[Path]:
    """The files and folders that the arguments of `open_views` name."""
    values = [] if opening is None else [opening.get(key) for key in _PLACES]
    return [Path(text) for value in values for text in _texts(value)]


def files_of(data: Any) -> tuple[Path, ...]:
    """The files or folders behind what a format has opened, a memory map, or a zarr array, where there are any."""
    if isinstance(data, LazyVolume):
        return data.files
    name = getattr(data, "filename", None) or getattr(getattr(data, "store", None), "root", None)
    return (Path(name),) if isinstance(name, (str, Path)) else ()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, (str, Path)):
        yield str(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, Iterable):
        for each in value:
            yield from _texts(each)


def _identity(path: Path) -> tuple[int, int] | str:
    """What all paths to one file have in common: the system knows about links and upper case, unless it is not there."""
    try:
        found = path.stat()
    except OSError:
        return os.path.normcase(os.path.realpath(path))
    return found.st_dev, found.st_ino


def _above(path: Path) -> list[Path]:
    """The folders that a path lies in, by its own name and by where links lead."""
    return [*Path(os.path.abspath(path)).parents, *Path(os.path.realpath(path)).parents]  # noqa: PTH100
