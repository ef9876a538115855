"""Layers as volumes that can be compared: their pixels, where they lie, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from napari.layers import Image

from napari_mvfusion.data.geometry import Grid, Triple, float_triple, triple
from napari_mvfusion.data.views import VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.gui.layers.conversion import notes, to_world_um

ROLES = {"view": "view", "fused": "result", "truth": "ground truth", None: "image"}


@dataclass(frozen=True, eq=False)
class Volume:
    """What a layer shows at one time point.

    Attributes
    ----------
    name : of the layer
    data : (z, y, x) at full resolution
    matrix : 4 x 4, from voxels (z, y, x, 1) to world micrometres
    """

    name: str
    data: VolumeLike
    matrix: np.ndarray

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
        size = np.diag(self.matrix)[:3]
        if not np.allclose(self.matrix[:3, :3], np.diag(size)) or (size <= 0).any():
            raise InputError(
                f"layer '{self.name}' is turned, sheared or mirrored: a grid can only be scaled and shifted"
            )
        return Grid(self.shape, float_triple(size), float_triple(self.matrix[:3, 3]))

    def on_grid_of(self, other: Volume) -> bool:
        """Whether the voxels of both lie at the same places."""
        return self.shape == other.shape and np.allclose(self.matrix, other.matrix)

    def voxels(self, points_um: np.ndarray) -> np.ndarray:
        """World points (n, 3) in voxels of this volume."""
        inverse = np.linalg.inv(self.matrix)
        return np.asarray(points_um @ inverse[:3, :3].T + inverse[:3, 3])


def can_be_compared(layer: Any) -> bool:
    """Whether a layer is a volume: a view, a result, a ground truth, or one that nothing is known about."""
    if not isinstance(layer, Image) or layer.rgb or layer.ndim < 3:
        return False
    return notes(layer).get("role") in ROLES


def role_of(layer: Image) -> str:
    """What the layer is, in words."""
    return ROLES.get(notes(layer).get("role"), "image")


def volume_at(layer: Image, point: Sequence[float]) -> Volume:
    """The volume that a layer shows.

    Parameters
    ----------
    layer : with axes (..., z, y, x)
    point : where the sliders of the viewer stand, world coordinates; only what lies before z matters

    Raises
    ------
    InputError
        If the layer's units are no lengths.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    leading = layer.ndim - 3
    if leading:
        if not isinstance(data, (np.ndarray, da.Array)):
            data = da.from_array(data, name=False)
        data = data[leading_index(layer, point)]
    return Volume(layer.name, data, to_world_um(layer))


def leading_index(layer: Image, point: Sequence[float]) -> tuple[int, ...]:
    """Where a point, in world coordinates, lies along the layer's axes before z; () for a plain volume."""
    sizes = np.array(layer.level_shapes[0][: layer.ndim - 3], int)
    place = np.round(layer.world_to_data(point)[-layer.ndim :][: len(sizes)]).astype(int)
    return tuple(int(i) for i in np.clip(place, 0, sizes - 1))


def require_one_grid(volumes: Sequence[Volume]) -> None:
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
