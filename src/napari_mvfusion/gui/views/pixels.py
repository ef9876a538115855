"""What the pixels of a view are like: looked at plane by plane, in bounded time also for very large volumes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_mvfusion.geometry import Triple
from napari_mvfusion.views import VolumeLike

# Up to this size all planes are read, beyond it as many as amount to it, evenly spread.
_MOST_BYTES = 2**30
_SLAB_BYTES = 2**24


@dataclass(frozen=True)
class PixelFacts:
    """What was found.

    Attributes
    ----------
    bad : voxels that are NaN or infinite
    first_bad : (z, y, x) of the first of them, or None
    minimum, maximum : of the others; 0 where there are none
    whole : whether every plane was looked at
    """

    bad: int
    first_bad: Triple | None
    minimum: float
    maximum: float
    whole: bool

    @property
    def empty(self) -> bool:
        """Whether all voxels have one value."""
        return self.minimum == self.maximum


def look_at(volume: VolumeLike) -> Generator[float, None, PixelFacts]:
    """Read a volume and say what its pixels are like.

    Yields
    ------
    The share that is done, after each slab.
    """
    planes, height, width = volume.shape
    plane_bytes = max(1, height * width * np.dtype(volume.dtype).itemsize)
    count = min(planes, max(1, _MOST_BYTES // plane_bytes))
    if count == planes:
        step = max(1, _SLAB_BYTES // plane_bytes)
        slabs: list[Any] = [slice(z, min(z + step, planes)) for z in range(0, planes, step)]
    else:
        slabs = [slice(z, z + 1) for z in np.unique(np.linspace(0, planes - 1, count).astype(int)).tolist()]
    bad, first, low, high = 0, None, np.inf, -np.inf
    for done, slab in enumerate(slabs, 1):
        values = np.asarray(volume[slab])
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                if first is None:
                    z, y, x = (int(n) for n in np.argwhere(~finite)[0])
                    first = (z + slab.start, y, x)
                bad += int(values.size - finite.sum())
                values = values[finite]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        yield done / len(slabs)
    if low > high:
        low = high = 0.0
    return PixelFacts(bad, first, low, high, count == planes)
