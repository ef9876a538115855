"""Smooth maps of a volume on a coarse grid: where their points lie, and how tiles interpolate them.

Content weights are smooth over tens of voxels, so they are computed once for the whole volume on a coarse grid, and a
tile needs no halo: it interpolates linearly at the absolute position of each voxel, whatever the tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple, triple


@dataclass(frozen=True)
class CoarseGrid:
    """Cells of `step` voxels along (z, y, x); the last cell of an axis may be cut off by the border.

    A map has one value a cell, at its middle.
    """

    volume: Triple
    step: Triple

    @property
    def shape(self) -> Triple:
        """Number of cells along (z, y, x)."""
        return triple(-(-n // s) for n, s in zip(self.volume, self.step, strict=True))

    def middles(self, axis: int) -> np.ndarray:
        """Position of each cell's middle along an axis, in voxels."""
        starts = np.arange(self.shape[axis]) * self.step[axis]
        ends = np.minimum(starts + self.step[axis], self.volume[axis])
        return np.asarray((starts + ends - 1) / 2)

    def interpolate(self, values: torch.Tensor, box: Box) -> torch.Tensor:
        """Interpolate a map linearly at the voxels of a box; beyond the outer middles it is constant.

        Parameters
        ----------
        values : (z, y, x), one value a cell
        box : voxels of the volume

        Returns
        -------
        (z, y, x) of the box, on the device of the map.
        """
        needed = self._needed(box)
        values = values[needed]
        # x first and z last: the arrays grow as late as possible, and only the last step is of the full size.
        for axis in (2, 1, 0):
            middles = self.middles(axis)[needed[axis]]
            positions = np.clip(np.arange(box.start[axis], box.stop[axis]), middles[0], middles[-1])
            below = np.clip(np.searchsorted(middles, positions, side="right") - 1, 0, max(len(middles) - 2, 0))
            above = np.minimum(below + 1, len(middles) - 1)
            gap = np.where(above > below, middles[above] - middles[below], 1.0)
            fraction = torch.from_numpy(((positions - middles[below]) / gap).astype(np.float32)).to(values.device)
            shape = [-1 if a == axis else 1 for a in range(3)]
            low = values.index_select(axis, torch.from_numpy(below).to(values.device))
            high = values.index_select(axis, torch.from_numpy(above).to(values.device))
            values = torch.lerp(low, high, fraction.reshape(shape))
        return values

    def _needed(self, box: Box) -> tuple[slice, slice, slice]:
        """The cells that the voxels of a box lie between, and one more on each side."""
        z, y, x = (
            slice(max(0, a // s - 1), min(n, (b - 1) // s + 2))
            for a, b, s, n in zip(box.start, box.stop, self.step, self.shape, strict=True)
        )
        return z, y, x
