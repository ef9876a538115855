"""A volume that tells how much of it was read, so that writing it can be followed and stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_mvfusion.data.views import VolumeLike


class Watched:
    """A volume, or a series of them, whose reader is told each time how many pixels were read.

    Parameters
    ----------
    data : what is read
    note : called with the number of pixels of each piece; may raise, which ends the writing
    """

    def __init__(self, data: VolumeLike, note: Callable[[int], None]) -> None:
        self._data = data
        self._note = note
        self.shape: tuple[int, ...] = tuple(data.shape)
        self.dtype = data.dtype
        self.chunks = getattr(data, "chunks", None)

    def __getitem__(self, key: Any) -> Any:
        piece = np.asarray(self._data[key])
        self._note(piece.size)
        return piece


def share_of(pixels: int, report: Callable[[float], None]) -> Callable[[int], None]:
    """A `note` of `Watched` that reports the share of so many pixels that was read, 0 to 1."""
    done = 0

    def note(count: int) -> None:
        nonlocal done
        done += count
        report(min(1.0, done / pixels))

    return note
