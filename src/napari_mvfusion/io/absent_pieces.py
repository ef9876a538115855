"""Chunks and blocks that the files of views leave out, whose pixels have a fill value: counted by names, and said.

Writers leave chunks out that hold this value alone, so this is worth knowing, and no flaw.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import cache

from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.io.base import Absent, LazyVolume

_SHOWN = 4
# Of all views of a set. To look for the names of more would take longer than all else that is done before pixels are read.
MOST_PIECES = 2**14


def pieces_in(shape: Sequence[int], piece: Sequence[int]) -> list[range]:
    """The places of pieces of a size along each axis of a volume."""
    return [range(-(-int(n) // int(size))) for n, size in zip(shape, piece, strict=True)]


def absent_files(files: Iterable[str], most: int, places: Sequence[range], value: float) -> Absent | None:
    """How many pieces have no file, found by listing the folders.

    Parameters
    ----------
    files : path of each piece
    most : pieces that may be looked for
    places : of the pieces along each axis
    value : of pixels that are not there

    Returns
    -------
    None where there are more pieces.
    """
    count = math.prod(map(len, places))
    if count > most:
        return None

    @cache
    def names_in(folder: str) -> frozenset[str]:
        try:
            with os.scandir(folder) as entries:
                return frozenset(entry.name for entry in entries)
        except OSError:  # what is wrong with it is said where a piece is read
            return frozenset()

    return Absent(sum(name not in names_in(folder) for folder, name in map(os.path.split, files)), count, value)


def about_absent(volumes: Iterable[tuple[str, VolumeLike]]) -> list[str]:
    """What is to be said of chunks that the files of views leave out: a line, and one for each view that lacks most.

    Parameters
    ----------
    volumes : the name of each view, and its pixels

    Returns
    -------
    Nothing where none are left out. Of more than `MOST_PIECES` chunks nothing is said, nor of files at addresses, in zip
    files, or with chunks in shards.
    """
    left, some, most = MOST_PIECES, [], []
    values: list[float] = []
    for name, data in volumes:
        absent = data.absent(left) if isinstance(data, LazyVolume) else None
        if absent is None:
            continue
        left -= absent.of
        if 2 * absent.count > absent.of:
            there = absent.of - absent.count
            which = f"only {there:,} of the {absent.of:,} chunks" if there else f"none of the {absent.of:,} chunks"
            most.append(
                f"{which} of view '{name}' {'is' if there < 2 else 'are'} in its files, and the rest counts as "
                f"{absent.value:g}: if it should be there, copy it again"
            )
        elif absent.count:
            some.append(f"{absent.count:,} of {absent.of:,} of view '{name}'")
            values.append(absent.value)
    if some:
        more = f" and {len(some) - _SHOWN} more views" if len(some) > _SHOWN else ""
        value = " or ".join(f"{each:g}" for each in dict.fromkeys(values))
        most.insert(0, f"chunks that are not in the files count as {value}: {', '.join(some[:_SHOWN])}{more}")
    return most
