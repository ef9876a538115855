"""The transmission of a view, fitted so that a fused volume explains it: a smooth factor on cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, Triple, triple

CELL = 2
"""Voxels along a side of a cell."""

# Of the mean brightness: with less light it cannot be told how much was lost.
_DARK = 0.05
_LEAST, _MOST = 0.1, 8.0


def nearer(factor: np.ndarray | float, seen: np.ndarray, expected: np.ndarray, dark: np.ndarray | float) -> np.ndarray:
    """The next step towards the smooth factor with which what is expected becomes what is seen.

    Repeated on ever finer scales, it finds how much of a volume a view saw, here and where networks are trained.

    Parameters
    ----------
    factor : with which `expected` was made
    seen, expected : smoothed, (z, y, x)
    dark : light below which the factor stays what it is
    """
    ratio = np.divide(seen + dark, expected + dark, out=np.ones_like(seen), where=expected + dark > 0)
    return np.asarray(np.clip(factor * ratio, _LEAST, _MOST))


@dataclass(frozen=True, eq=False)
class FittedTransmission:
    """How much of a fused volume a view saw, as a smooth factor: light is attenuated to the specimen and back.

    Attributes
    ----------
    values : float32 (z, y, x), one value a cell of the whole volume, 1 on average where there is light
    depth : share of the light by which the darker tenth of what is lit falls short of the brighter tenth, 0 to 1
    """

    values: np.ndarray
    depth: float = 0.0

    def over(self, box: Box) -> np.ndarray:
        """Interpolate linearly between the centres of cells: float32 (z, y, x) over a box of the whole volume."""
        found = self.values
        for axis, (n, start, stop) in enumerate(zip(self.values.shape, box.start, box.stop, strict=True)):
            at = np.clip((np.arange(start, stop) + 0.5) / CELL - 0.5, 0, n - 1)
            below = np.minimum(at.astype(np.intp), max(n - 2, 0))
            above = np.minimum(below + 1, n - 1)
            share = (at - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
            found = np.take(found, below, axis) * (1 - share) + np.take(found, above, axis) * share
        return found


class TransmissionSums:
    """Sums of the cells of a view and of what should explain it, box by box; the boxes may cut through cells.

    Parameters
    ----------
    shape : (z, y, x) of the whole volume
    """

    def __init__(self, shape: Triple) -> None:
        cells = triple(-(-n // CELL) for n in shape)
        self._seen, self._expected, self._count = (np.zeros(cells) for _ in range(3))

    def add(self, box: Box, seen: np.ndarray, expected: np.ndarray, inside: np.ndarray) -> None:
        """Add the voxels of a box where the view has data; all float32 or bool (z, y, x)."""
        place = tuple(slice(a // CELL, (b - 1) // CELL + 1) for a, b in zip(box.start, box.stop, strict=True))
        starts = [
            np.maximum(np.arange(a // CELL, (b - 1) // CELL + 1) * CELL - a, 0)
            for a, b in zip(box.start, box.stop, strict=True)
        ]
        for sums, values in (
            (self._seen, np.where(inside, seen, 0)),
            (self._expected, np.where(inside, expected, 0)),
            (self._count, inside),
        ):
            part = values.astype(np.float64)
            for axis, at in enumerate(starts):
                part = np.add.reduceat(part, at, axis)
            sums[place] += part

    def transmission(
        self, before: FittedTransmission | None, scale: float, offset: float, sigma: float
    ) -> FittedTransmission:
        """The factor with which smoothed images agree.

        Parameters
        ----------
        before : the factor with which `expected` was made; None for none
        scale, offset : bring `expected` to the view
        sigma : of the smoothing, voxels
        """
        seen = self._smooth(self._seen - offset * self._count, sigma)
        expected = self._smooth(scale * self._expected, sigma)
        dark = max(_DARK * float(expected.sum()) / max(float(self._count.sum()), 1), 1e-30) * self._smooth(
            self._count, sigma
        )
        values = nearer(1.0 if before is None else before.values, seen, expected, dark)
        light = np.maximum(scale * self._expected, 0)
        if not light.any():
            return FittedTransmission(np.ones(values.shape, np.float32))
        values /= np.average(values, weights=light)
        lit = values[light > light.mean()]
        low, high = np.percentile(lit, [10, 90]) if lit.size else (1.0, 1.0)
        return FittedTransmission(values.astype(np.float32), float(1 - low / high))

    @staticmethod
    def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(values, sigma / CELL, mode="nearest"))
