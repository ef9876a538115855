"""How rough planes are: fourth differences, in which blurred structure nearly vanishes and white noise stays."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

FOURTH_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / 70**0.5
"""Of white noise these have its variance; blurred structure nearly vanishes in them."""
DIFFERENCE_REACH = 2


class NoiseSums:
    """Adds up how rough the planes of a view are.

    In fourth differences along y and x blurred structure nearly vanishes, white noise keeps its variance.
    """

    def __init__(self) -> None:
        self._power, self._count = 0.0, 0

    def add(self, planes: np.ndarray, covered: np.ndarray | None) -> None:
        """Add planes (z, y, x), and where they have data."""
        if not planes.size or min(planes.shape[1:]) <= 2 * DIFFERENCE_REACH:
            return
        rough, kept = planes, covered
        for axis in (1, 2):
            inner = tuple(slice(DIFFERENCE_REACH, -DIFFERENCE_REACH) if a == axis else slice(None) for a in range(3))
            rough = ndimage.correlate1d(rough, FOURTH_DIFFERENCE, axis)[inner]
            if kept is not None:
                kept = ndimage.minimum_filter1d(kept, 2 * DIFFERENCE_REACH + 1, axis)[inner]
        found = rough.ravel() if kept is None else rough[kept]
        self._power += float(np.einsum("i,i->", found, found, dtype=np.float64))
        self._count += found.size

    @property
    def variance(self) -> float:
        """Mean square of the differences, 0 where nothing could be compared."""
        return self._power / self._count if self._count else 0.0
