"""A volume in units of its own brightness, so that float32 arithmetic neither overflows nor drowns in zeros."""

from __future__ import annotations

from collections.abc import Iterable
from math import frexp
from typing import Any

import numpy as np

# Brightness within this many powers of two of 1 is computed with as it is.
_POWERS = 40


def unit_for(brightest: Iterable[float]) -> float:
    """What to divide by: a power of two, which rounds nothing, near the brightest voxel; 1 for ordinary brightness.

    Parameters
    ----------
    brightest : brightest voxel of each view, hot pixels apart
    """
    power = frexp(max((abs(value) for value in brightest), default=0.0))[1]
    return 2.0**power if abs(power) > _POWERS else 1.0


class ScaledVolume:
    """A volume divided by a unit as it is read.

    Parameters
    ----------
    data : (z, y, x) of any real dtype; numpy, dask, zarr or a memory map
    unit : above 0
    """

    def __init__(self, data: Any, unit: float) -> None:
        self._data = data
        self._unit = unit
        self.dtype = np.dtype(np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along (z, y, x)."""
        return tuple(self._data.shape)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Pixels of a box, float64."""
        return np.asarray(np.asarray(self._data[index]).astype(np.float64) / self._unit)
