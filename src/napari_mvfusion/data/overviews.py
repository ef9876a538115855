"""Overviews: views of the whole volume in large cells, small enough to compare views as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np

from napari_mvfusion.data.geometry import Box, Triple, triple

# About how many cells an overview has.
_OVERVIEW_CELLS = 2**16


@dataclass(frozen=True, eq=False)
class Overview:
    """A view of the whole volume, averaged over cubic cells; the last ones may be cut off.

    Attributes
    ----------
    cell : voxels along a side of a cell
    shape : voxels of the whole volume
    values : float32 (z, y, x), mean brightness of the voxels of each cell where the view has data, 0 where it has none
    covered : the same shape, share of each cell where the view has data
    """

    cell: int
    shape: Triple
    values: np.ndarray
    covered: np.ndarray


class OverviewSums:
    """Adds up slabs of a view in cells.

    Parameters
    ----------
    shape : voxels of the whole volume
    """

    def __init__(self, shape: Triple) -> None:
        self._shape = shape
        self._cell = max(1, ceil((prod(shape) / _OVERVIEW_CELLS) ** (1 / 3)))
        cells = triple(-(-n // self._cell) for n in shape)
        self._light, self._voxels = np.zeros(cells), np.zeros(cells)

    def add(self, slab: Box, values: np.ndarray, covered: np.ndarray | None) -> None:
        """Add a slab of whole planes; values are 0 where the view has no data, which is where `covered` is False."""
        rows = np.arange(slab.start[0], slab.stop[0]) // self._cell
        np.add.at(self._light, rows, self._in_cells(values))
        shares = np.ones((1, *values.shape[1:]), np.float32) if covered is None else covered.astype(np.float32)
        np.add.at(self._voxels, rows, np.broadcast_to(self._in_cells(shares), (len(rows), *self._voxels.shape[1:])))

    def overview(self, planes: np.ndarray | None = None) -> Overview:
        """What was added up.

        Parameters
        ----------
        planes : where only some planes were added, these, rising; cells between them are interpolated linearly
        """
        sizes = [np.minimum(self._cell, n - np.arange(0, n, self._cell)) for n in self._shape]
        if planes is not None:
            sizes[0] = np.bincount(planes // self._cell, minlength=len(sizes[0]))
        values = (self._light / np.maximum(self._voxels, 1)).astype(np.float32)
        covered = (self._voxels / np.einsum("i,j,k->ijk", np.maximum(sizes[0], 1), *sizes[1:])).astype(np.float32)
        known = np.flatnonzero(sizes[0])
        if len(known) < len(sizes[0]):
            places = np.interp(np.arange(len(sizes[0])), known, np.arange(len(known)))
            below = np.floor(places).astype(int)
            above = np.minimum(below + 1, len(known) - 1)
            share = (places - below).astype(np.float32)[:, None, None]
            values, covered = (
                full[known[below]] * (1 - share) + full[known[above]] * share for full in (values, covered)
            )
        return Overview(self._cell, self._shape, values, covered)

    def _in_cells(self, planes: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            planes = np.add.reduceat(planes, np.arange(0, planes.shape[axis], self._cell), axis=axis)
        return planes


def common_overviews(volumes: Sequence[Sequence[Overview]]) -> tuple[Overview, ...]:
    """What the overviews of several volumes have in common: one a view, of the median of the volumes in every cell.

    What one volume alone shows, as a cell that lights up, is so no part of it; and a volume that is darker, as it bleached,
    counts as much as others.

    Parameters
    ----------
    volumes : the overviews of each volume, one a view in the same order, all of the same cells

    Returns
    -------
    As bright as those of the first volume; covered where all are.
    """
    light = [float(np.mean([overview.values.mean(dtype=np.float64) for overview in one])) for one in volumes]
    factors = [light[0] / each if each > 0 else 1.0 for each in light]
    found = []
    for same in zip(*volumes, strict=True):
        bright = [overview.values * np.float32(factor) for overview, factor in zip(same, factors, strict=True)]
        covered = np.min([overview.covered for overview in same], axis=0)
        found.append(replace(same[0], values=np.median(bright, axis=0).astype(np.float32), covered=covered))
    return tuple(found)
