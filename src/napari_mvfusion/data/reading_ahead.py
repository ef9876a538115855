"""A chunked volume that is read in thin slices, one after the other, without unpacking each chunk for every slice.

A chunk of 64 planes is unpacked as a whole also for one of them. So what is read is what is left of the chunks along the
thin side of the slice, and later slices come from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import Box, Triple, triple

# Of what is read ahead: a chunk's planes of 2048 x 2048 pixels of 16 bits are half of it.
_MOST_BYTES = 2**30
# Read at once, so that what is unpacked is not in memory twice.
_PART_BYTES = 2**26


def read_ahead(volume: VolumeLike, most_bytes: int = _MOST_BYTES) -> VolumeLike:
    """A volume to be read slice by slice, along any side and in either direction; itself where its chunks are not known.

    Parameters
    ----------
    volume : (z, y, x)
    most_bytes : of what is kept, unless a single slice has more
    """
    chunks = getattr(volume, "chunks", None)
    # Those of dask are all sizes along each axis.
    if chunks is None or not all(isinstance(n, (int, np.integer)) for n in chunks):
        return volume
    return _ReadAhead(volume, triple(int(n) for n in chunks), most_bytes)


class _ReadAhead:
    """See the module's first lines; what was read is kept until another part is asked for."""

    def __init__(self, volume: VolumeLike, chunks: Triple, most_bytes: int) -> None:
        self._volume, self._chunks, self._most_bytes = volume, chunks, most_bytes
        self.shape, self.dtype = volume.shape, volume.dtype
        self._kept: tuple[Box, np.ndarray] | None = None

    def __getitem__(self, index: Any, /) -> np.ndarray:
        box = _box_of(index, self.shape)
        axis = None if box is None else self._thin_side(box)
        if box is None or axis is None:
            return np.asarray(self._volume[index])
        if self._kept is None or not _lies_in(box, self._kept[0]):
            self._read(box, axis)
        assert self._kept is not None
        kept, pixels = self._kept
        # What was read stays as it is, whatever is done with the slice.
        return pixels[box.inside(kept).slices].copy()

    def _thin_side(self, box: Box) -> int | None:
        """The axis along which a box has the smallest part of a chunk; None where it has whole ones."""
        parts = [n / min(c, whole) for n, c, whole in zip(box.shape, self._chunks, self.shape, strict=True)]
        axis = parts.index(min(parts))
        return axis if 0 < parts[axis] < 1 else None

    def _read(self, box: Box, axis: int) -> None:
        """Keep a box and the rest of the chunks along its thin side; what of it is known already is not read again."""
        first, last = box.start[axis], box.stop[axis]
        chunk, size = self._chunks[axis], self.shape[axis]
        start, stop = first // chunk * chunk, min(size, -(-last // chunk) * chunk)
        known = self._known(box, axis)
        most = max(last - first, self._most_bytes // (box.size // (last - first) * np.dtype(self.dtype).itemsize))
        if known is not None and first < known.start[axis]:
            start, stop = max(start, last - most), last
        elif known is not None or stop - start > most:
            start, stop = first, min(stop, first + most)
        wide = _with_side(box, axis, start, stop)
        pixels = np.empty(wide.shape, self.dtype)
        missing = [wide]
        if known is not None and self._kept is not None:
            shared = _with_side(box, axis, max(start, known.start[axis]), min(stop, known.stop[axis]))
            pixels[shared.inside(wide).slices] = self._kept[1][shared.inside(known).slices]
            sides = ((start, shared.start[axis]), (shared.stop[axis], stop))
            missing = [_with_side(box, axis, a, b) for a, b in sides if a < b]
        self._kept = None
        for part in missing:
            self._fill(pixels, wide, part, axis)
        self._kept = wide, pixels

    def _known(self, box: Box, axis: int) -> Box | None:
        """What is kept, where it overlaps or touches a box along its thin side, and is as wide as it."""
        if self._kept is None:
            return None
        kept = self._kept[0]
        if _with_side(kept, axis, box.start[axis], box.stop[axis]) != box:
            return None
        return kept if kept.start[axis] <= box.stop[axis] and box.start[axis] <= kept.stop[axis] else None

    def _fill(self, pixels: np.ndarray, wide: Box, part: Box, axis: int) -> None:
        """Read a part of what will be kept, cut into whole chunks along another side."""
        other = next(i for i in (1, 0) if i != axis)
        row = part.size // part.shape[other] * np.dtype(self.dtype).itemsize
        step = max(1, _PART_BYTES // (row * self._chunks[other])) * self._chunks[other]
        begin = part.start[other]
        while begin < part.stop[other]:
            end = min(part.stop[other], (begin + step) // self._chunks[other] * self._chunks[other])
            piece = _with_side(part, other, begin, max(end, begin + 1))
            pixels[piece.inside(wide).slices] = self._volume[piece.slices]
            begin = piece.stop[other]


def _box_of(index: Any, shape: Sequence[int]) -> Box | None:
    """The box that an index asks for where it is three plain slices, else None."""
    if not isinstance(index, tuple) or len(index) != 3 or not all(isinstance(part, slice) for part in index):
        return None
    runs = [range(n)[part] for part, n in zip(index, shape, strict=True)]
    if any(run.step != 1 or not run for run in runs):
        return None
    return Box(triple(run.start for run in runs), triple(run.stop for run in runs))


def _with_side(box: Box, axis: int, start: int, stop: int) -> Box:
    """The same box with another extent along one axis."""
    starts, stops = list(box.start), list(box.stop)
    starts[axis], stops[axis] = start, stop
    return replace(box, start=triple(starts), stop=triple(stops))


def _lies_in(box: Box, other: Box) -> bool:
    within = zip(box.start, box.stop, other.start, other.stop, strict=True)
    return prod(box.shape) > 0 and all(c <= a and b <= d for a, b, c, d in within)
