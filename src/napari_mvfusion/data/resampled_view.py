"""One of several views on the voxels that all have in common, as an array whose pixels are computed where it is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from operator import index as whole_number
from threading import Lock
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import Box, box_of, triple
from napari_mvfusion.data.views import RegisteredViews, drain

_CHUNK = 64
_SPATIAL = 3
_MOST_THREADS = 8
_SETTLING = Lock()


class ResampledView:
    """A view on the grid of the views, as it is fused: without its offset, gain and hot pixels; or where it has pixels.

    The other views tell which of its zeros are outside its field. That is found out once, whoever reads first. Large boxes
    are computed tile by tile, as a turned plane crosses the whole of a view, and a tile of it only a little.

    Parameters
    ----------
    views : of which it is one
    number : which one
    covered : how much of a pixel there is, 0 to 1, and not its value
    """

    dtype = np.dtype(np.float32)

    def __init__(self, views: RegisteredViews, number: int, *, covered: bool = False) -> None:
        self._views = views
        self._number = number
        self._covered = covered
        self.shape = views.grid.shape
        self.ndim = _SPATIAL
        self.chunks = tuple(min(_CHUNK, n) for n in self.shape)

    def __getitem__(self, index: tuple[slice | int, ...]) -> np.ndarray:
        """Pixels of a box; a number in the place of a slice leaves its axis out, as with any array."""
        box, picked = box_of(index, self.shape)
        return (self._box(box) if box.size else np.zeros(box.shape, self.dtype))[picked]

    def _box(self, box: Box) -> np.ndarray:
        with _SETTLING:
            drain(self._views.detect_no_data())
        tiles = _tiles(box)
        if len(tiles) == 1:
            return self._tile(box)
        out = np.empty(box.shape, self.dtype)

        def fill(tile: Box) -> None:
            out[tile.inside(box).slices] = self._tile(tile)

        with ThreadPoolExecutor(min(len(tiles), os.cpu_count() or 1, _MOST_THREADS), "mvfusion-resample") as pool:
            list(pool.map(fill, tiles))
        return out

    def _tile(self, box: Box) -> np.ndarray:
        if not self._covered:
            return np.asarray(self._views.read(box, [self._number])[0])
        covered = self._views.coverage(box, [self._number])
        return np.ones(box.shape, np.float32) if covered is None else np.asarray(covered[0])


def _tiles(box: Box) -> list[Box]:
    """The parts of a box in each of the chunks that it meets."""
    spans = [
        [(max(start, a), min(stop, a + _CHUNK)) for a in range(start // _CHUNK * _CHUNK, stop, _CHUNK)]
        for start, stop in zip(box.start, box.stop, strict=True)
    ]
    return [Box(triple(a for a, _ in place), triple(b for _, b in place)) for place in product(*spans)]


class ResampledStack:
    """Resampled volumes along axes before z as one array, computed where it is read.

    Parameters
    ----------
    volumes : one for each place along the leading axes, the last of them the fastest
    leading : lengths of these axes; () for one volume
    """

    dtype = ResampledView.dtype

    def __init__(self, volumes: Sequence[ResampledView], leading: Sequence[int] = ()) -> None:
        self._volumes = list(volumes)
        self._leading = tuple(leading)
        self.shape = (*self._leading, *self._volumes[0].shape)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self.nbytes = self.size * self.dtype.itemsize
        self.chunks = (*(1 for _ in self._leading), *self._volumes[0].chunks)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels at numbers and slices, which may be fewer than the axes, as with any array."""
        parts = self._parts(index)
        before, inside = parts[: len(self._leading)], parts[len(self._leading) :]
        numbers = np.arange(len(self._volumes)).reshape(self._leading)[before]
        if numbers.ndim == 0:
            return self._volumes[int(numbers)][inside]
        found = [self._volumes[number][inside] for number in numbers.ravel()]
        if not found:
            return np.zeros(numbers.shape + np.broadcast_to(0, self.shape[-_SPATIAL:])[inside].shape, self.dtype)
        return np.stack(found).reshape(numbers.shape + found[0].shape)

    def _parts(self, index: Any) -> tuple[slice | int, ...]:
        parts = index if isinstance(index, tuple) else (index,)
        if any(part is Ellipsis for part in parts):
            place = next(i for i, part in enumerate(parts) if part is Ellipsis)
            parts = (*parts[:place], *[slice(None)] * (self.ndim + 1 - len(parts)), *parts[place + 1 :])
        parts = (*parts, *[slice(None)] * (self.ndim - len(parts)))
        return tuple(part if isinstance(part, slice) else whole_number(part) for part in parts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All pixels, in memory.

        Raises
        ------
        ValueError
            If numpy asks for no copy, which is not possible.
        """
        if copy is False:
            raise ValueError("pixels that are computed cannot become an array without a copy")
        return np.asarray(self[...], dtype)
