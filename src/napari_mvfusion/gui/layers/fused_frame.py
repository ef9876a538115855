"""The voxels on which layers are fused: which grid the fused volume gets, and where it lies among the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from napari.layers import Image

from napari_mvfusion.data.fused_grid import Placed, Voxels, choose_grid
from napari_mvfusion.data.geometry import Grid, Known, is_upright, same_affine, triple
from napari_mvfusion.gui.layers.conversion import (
    NO_UNITS,
    common_leading,
    drift_of,
    frame_of,
    known_sizes,
    micrometres,
    pixels_of,
    pixels_to_world_um,
    same_place,
)
from napari_mvfusion.gui.layers.notes import KEY, notes, unsized

_SPATIAL = 3


@dataclass(frozen=True, eq=False)
class FusedFrame:
    """Where the voxels of a fused volume lie.

    Attributes
    ----------
    grid : of the fused volume
    to_frame : 4 x 4 matrix from world micrometres to those of the grid: the identity, unless the first layer is turned and
        its voxels are taken
    leading : sizes of the axes before z
    remark : what was chosen, in words; "" where all views lie on the grid
    first : the first layer of those that are fused
    on_first : whether the voxels are those of the first layer
    """

    grid: Grid
    to_frame: np.ndarray
    leading: tuple[int, ...]
    remark: str
    first: Image
    on_first: bool

    @cached_property
    def layer(self) -> Image:
        """A layer whose voxels are those of the fused volume: the first one, or one that is empty and never shown."""
        if self.on_first:
            return self.first
        empty = np.broadcast_to(np.float32(0), (*self.leading, *self.grid.shape))
        return Image(empty, contrast_limits=(0, 1), metadata={KEY: unsized(self.grid)}, **self._place())

    def _place(self) -> dict[str, Any]:
        """Where it lies, in the units of the first layer, as napari shows layers of several units in no common one."""
        first, grid = self.first, self.grid
        units = [str(unit) for unit in first.units[-_SPATIAL:]]
        if grid.size_known and set(units) <= set(NO_UNITS) and set(grid.voxel_size_um) == {1.0}:
            # A scale of 1 pixel says nothing.
            units = ["um"] * _SPATIAL
        one = [micrometres(unit, first.name) for unit in first.units[-_SPATIAL:]]
        count = len(self.leading)
        before = slice(None, -_SPATIAL)
        return {
            "scale": (*_last(first.scale[before], count), *np.divide(grid.voxel_size_um, one)),
            "translate": (*_last(first.translate[before], count), *np.divide(grid.origin_um, one)),
            "units": (*map(str, _last(first.units[before], count)), *units),
            "axis_labels": (*_last(first.axis_labels[before], count), *first.axis_labels[-_SPATIAL:]),
        }

    @property
    def place(self) -> dict[str, Any]:
        """Where it lies, as arguments of a layer."""
        return same_place(self.layer)


def _last(values: Any, count: int) -> Any:
    return values[len(values) - count :]


def chosen_frame(layers: Sequence[Image], voxels: Voxels | None = None) -> FusedFrame:
    """The voxels on which layers are fused; nothing is read.

    Layers on one grid keep it, also where it is turned, unless other voxels are asked for.

    Parameters
    ----------
    layers : at least one
    voxels : those of the fused volume, as `choose_grid` takes them; what the notes of the first layer say when None

    Raises
    ------
    InputError
        If they cannot lie in one volume, see `choose_grid`, or their axes before z differ.
    """
    first, leading = layers[0], common_leading(layers)
    wanted = grid_of(layers) if voxels is None else voxels
    if wanted == "first" or (wanted == "isotropic" and on_one_grid(layers)):
        grid, to_frame = frame_of(first)
        return FusedFrame(grid, to_frame, leading, "", first, on_first=True)
    placed = [place for layer in layers for place in places_of(layer)]
    chosen = choose_grid(placed, voxels=wanted, known=_all_known(layers))
    grid, to_frame = frame_of(first)
    on_first = grid == chosen.grid and np.array_equal(to_frame, np.eye(4)) and drift_of(first) is None
    return FusedFrame(chosen.grid, np.eye(4), leading, chosen.remark, first, on_first=on_first)


def places_of(layer: Image) -> list[Placed]:
    """Where the pixels that are fused of a layer lie; at each time point, where they move.

    Raises
    ------
    InputError
        If the layer's units are no lengths, or it is squeezed flat.
    """
    shape, matrix = triple(pixels_of(layer).shape[-_SPATIAL:]), pixels_to_world_um(layer)
    moved = drift_of(layer) or [np.eye(4)]
    return [Placed(shape, move @ matrix, f"layer '{layer.name}'") for move in moved]


def on_one_grid(layers: Sequence[Image]) -> bool:
    """Whether the pixels of all layers lie on those voxels that the first one shows."""
    grid, to_frame = frame_of(layers[0])
    if is_upright(np.linalg.inv(to_frame)):
        return all(place.lies_on(grid) for layer in layers for place in places_of(layer))
    return all(
        place.shape == grid.shape and same_affine(grid.affine, to_frame @ place.affine)
        for layer in layers
        for place in places_of(layer)
    )


def grid_of(layers: Sequence[Image]) -> Voxels:
    """The voxels that were chosen for the fused volume of these layers: cubes of the finest size where nobody chose."""
    return notes(layers[0]).get("grid") or "isotropic"


def _all_known(layers: Sequence[Image]) -> Known:
    """Along which axes the voxel size of all layers is known."""
    z, y, x = (all(known) for known in zip(*map(known_sizes, layers), strict=True))
    return z, y, x
