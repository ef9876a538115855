"""Volumes that are compared: pixels with the place where they lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_mvfusion.data.geometry import ALL_KNOWN, Grid, Known, Triple, float_triple, is_upright, same_affine, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError

Report = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1; raises when the work is to stop."""


@dataclass(frozen=True, eq=False)
class PlacedVolume:
    """One volume: what a layer shows at one time point, or a file holds.

    Attributes
    ----------
    name : of the layer or file
    data : (z, y, x) at full resolution
    matrix : 4 x 4, from voxels (z, y, x, 1) to world micrometres
    known : along which axes (z, y, x) the voxel size is known
    recipe : what made it, where that is known
    """

    name: str
    data: VolumeLike
    matrix: np.ndarray
    known: Known = ALL_KNOWN
    recipe: Mapping[str, Any] | None = None

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        return triple(self.data.shape)

    @property
    def grid(self) -> Grid:
        """Where the voxels lie.

        Raises
        ------
        InputError
            If the volume is turned, sheared or mirrored.
        """
        if not is_upright(self.matrix, max(self.shape)):
            raise InputError(
                f"layer '{self.name}' is turned, sheared or mirrored: a grid can only be scaled and shifted"
            )
        size = float_triple(np.diag(self.matrix)[:3])
        return Grid(self.shape, size, float_triple(self.matrix[:3, 3]), self.known)

    def on_grid_of(self, other: PlacedVolume) -> bool:
        """Whether the voxels of both lie at the same places."""
        return self.shape == other.shape and same_affine(self.matrix, other.matrix)

    def voxels(self, points_um: np.ndarray) -> np.ndarray:
        """World points (n, 3) in voxels of this volume."""
        inverse = np.linalg.inv(self.matrix)
        return np.asarray(points_um @ inverse[:3, :3].T + inverse[:3, 3])


def require_one_grid(volumes: Sequence[PlacedVolume]) -> None:
    """Refuse volumes whose voxels lie at different places.

    Raises
    ------
    InputError
        If one lies elsewhere than the first.
    """
    for volume in volumes[1:]:
        if not volume.on_grid_of(volumes[0]):
            raise InputError(
                f"'{volume.name}' and '{volumes[0].name}' lie on different grids, so their voxels cannot be compared one "
                "by one: take layers of one shape, scale and position"
            )
