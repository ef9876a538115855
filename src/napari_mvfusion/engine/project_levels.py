"""The views of a project on coarser grids, from its coarser resolution levels: for pictures that are drawn at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_mvfusion.data.geometry import Grid, float_triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.engine.recipe import Inputs
from napari_mvfusion.errors import InputError


def coarser_levels(inputs: Inputs, views: RegisteredViews, levels: int) -> list[RegisteredViews]:
    """The same views from each coarser level, on grids with voxels twice as large from one to the next.

    Parameters
    ----------
    inputs : that open the views of a project
    views : what they open
    levels : that all views of the project have

    Returns
    -------
    From fine to coarse, without the views themselves; as many as there are levels that hold the same views.
    """
    found: list[RegisteredViews] = []
    for level in range(inputs.level + 1, levels):
        grid = coarsened(views.grid, 2 ** (level - inputs.level))
        last = np.array(grid.origin_um) + (np.array(grid.shape) - 1) * grid.voxel_size_um
        there = inputs.model_copy(
            update={
                "level": level,
                "views": list(views.names),
                "box": None,
                "box_um": (grid.origin_um, float_triple(last)),
                "voxel_size_um": grid.voxel_size_um,
                # Pictures show views as they are, and weights have the voxels of the finest level.
                "trust": {},
                "trust_box_um": {},
                "fade_um": None,
                "fades_um": {},
                "transmissions": {},
            }
        )
        try:
            opened = there.open()
        except InputError:
            # What one level lacks is seen from the finer ones.
            break
        if opened.names != views.names:
            break
        placed = [
            replace(view, affine=opened.grid.affine if view.affine is None else view.affine) for view in opened.views
        ]
        found.append(RegisteredViews(placed, grid))
    return found


def coarsened(grid: Grid, factor: int) -> Grid:
    """A grid over the same part of the world with voxels that are so many times as large along each axis."""
    size = np.array(grid.voxel_size_um)
    origin = np.array(grid.origin_um) + (factor - 1) / 2 * size
    shape = triple(-(-n // factor) for n in grid.shape)
    return Grid(shape, float_triple(size * factor), float_triple(origin), grid.known)
