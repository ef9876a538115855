"""In which unit filters see the views, and what stands for pixels that a view does not have."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from napari_mvfusion.data.geometry import Box
from napari_mvfusion.data.views import ViewStatistics
from napari_mvfusion.methods.base import TileInput

# Light of all views together, relative to the trust in them, below which a voxel counts as seen by none.
_LEAST_LIGHT = 0.05
_TINY = 1e-6


def brightness_scale(statistics: Sequence[ViewStatistics]) -> float:
    """The brightness that counts as 1: the mean of the views, each voxel weighted with its own brightness.

    Empty space around a specimen does not change it. Views without any light have the scale 1.
    """
    squares = sum(numbers.mean_square * numbers.covered_voxels for numbers in statistics)
    total = sum(numbers.mean * numbers.covered_voxels for numbers in statistics)
    return squares / total if total > 0 else 1.0


def recorded(box: Box, tile: TileInput) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Views over a box of the volume, within the pixels of the tile, and how much of each voxel they have; None for all.

    Both float32 (view, z, y, x), not to be written to.
    """
    inner = (slice(None), *box.inside(tile.view_box).slices)
    return tile.values[inner], None if tile.coverage is None else tile.coverage[inner]


def filled(box: Box, tile: TileInput, transmission: torch.Tensor | None) -> torch.Tensor:
    """Views over a box; where one has no data it gets the mean of those that have, and loses light as it would.

    Parameters
    ----------
    box : of the volume, within the pixels of the tile
    tile : whose pixels they are
    transmission : float32 (view, z, y, x) over the box, share of the light that each view got; None for all

    Returns
    -------
    float32 (view, z, y, x); the pixels of the tile themselves where all have data.
    """
    values, covered = recorded(box, tile)
    if covered is None:
        return values
    light = covered if transmission is None else covered * transmission
    # A view that is trusted little still counts fully where there is no other.
    least = covered.amax(dim=0).mul_(_LEAST_LIGHT).clamp_(min=_TINY)
    mean = (values * covered).sum(dim=0).div_(torch.maximum(light.sum(dim=0), least))
    return torch.lerp(mean.expand_as(values) if transmission is None else mean * transmission, values, covered)
