"""What the pixels of a view are like: looked at plane by plane, in bounded time also for very large volumes."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_mvfusion.data.hot_pixels import NoiseLevel, find_hot, noise_level

# Up to this size all planes are read, beyond it as many as amount to it, evenly spread.
_MOST_BYTES = 2**30
_SLAB_BYTES = 2**24


@dataclass(frozen=True)
class PixelFacts:
    """What was found.

    Attributes
    ----------
    bad : voxels that are NaN or infinite
    nan : those of them that are NaN
    first_bad : (..., z, y, x) of the first of them, or None
    minimum, maximum : of the others; 0 where there are none
    whole : whether every plane was looked at
    hot : hot pixels, see `napari_mvfusion.data.hot_pixels`
    unreadable : why the pixels cannot be read, or ""
    """

    bad: int
    first_bad: tuple[int, ...] | None
    minimum: float
    maximum: float
    whole: bool
    unreadable: str = ""
    hot: int = 0
    nan: int = 0

    @property
    def empty(self) -> bool:
        """Whether all voxels have one value."""
        return self.minimum == self.maximum


def look_at(stack: Any) -> Generator[float, None, PixelFacts]:
    """Read a volume, or a series of them, and say what the pixels are like, or why they cannot be read.

    Parameters
    ----------
    stack : (..., z, y, x), numpy, dask or zarr

    Yields
    ------
    The share that is done, after each slab.
    """
    try:
        return (yield from _look_at(stack))
    except (OSError, RuntimeError, ValueError) as error:
        return PixelFacts(0, None, 0.0, 0.0, whole=False, unreadable=str(error))


def _look_at(stack: Any) -> Generator[float, None, PixelFacts]:
    *leading, planes, height, width = stack.shape
    plane_bytes = max(1, height * width * np.dtype(stack.dtype).itemsize)
    places = [(*index, z) for index in np.ndindex(*leading) for z in range(planes)]
    count = min(len(places), max(1, _MOST_BYTES // plane_bytes))
    if count < len(places):
        places = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, count).astype(int))]
        slabs = [(place, 1) for place in places]
    else:
        thick = max(1, _SLAB_BYTES // plane_bytes)
        slabs = [(place, min(thick, planes - place[-1])) for place in places if place[-1] % thick == 0]
    bad, nan, hot, first, low, high = 0, 0, 0, None, np.inf, -np.inf
    noise: dict[tuple[int, ...], NoiseLevel] = {}
    whole = count == planes * math.prod(leading)
    for done, ((*index, z), thickness) in enumerate(slabs, 1):
        # With its neighbours, where all planes are looked at.
        before = min(z, 1) if whole else 0
        around = np.asarray(stack[(*index, slice(z - before, z + thickness + int(whole)))])
        if tuple(index) not in noise:
            noise = {tuple(index): noise_level(stack[tuple(index)] if index else stack)}
        hot += _hot_in(around, slice(before, before + thickness), noise[tuple(index)])
        values = around[before : before + thickness]
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                if first is None:
                    inside = (int(n) for n in np.argwhere(~finite)[0])
                    first = (*index, z + next(inside), *inside)
                bad += int(values.size - finite.sum())
                nan += int(np.isnan(values).sum())
                values = values[finite]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        yield done / len(slabs)
    if low > high:
        low = high = 0.0
    return PixelFacts(bad, first, low, high, whole=whole, hot=hot, nan=nan)


def _hot_in(block: np.ndarray, planes: slice, noise: NoiseLevel) -> int:
    """How many hot pixels some planes of a block have."""
    with np.errstate(over="ignore"):  # too large for float32 is no number either
        pixels = block.astype(np.float32)
    pixels[~np.isfinite(pixels)] = 0
    found = find_hot(pixels, noise).places[:, 0]
    return int(((found >= planes.start) & (found < planes.stop)).sum())
