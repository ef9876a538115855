"""Lines along the edges of boxes in the world: of a view, of a grid, or of a part of the world."""

from __future__ import annotations

import numpy as np

from napari_mvfusion.data.geometry import Triple

# Corners of a box, as they follow each other on one line along all twelve edges, three of them twice. It never turns back
# on itself, where tubes that are drawn round it would have no direction.
_ALONG_EDGES = np.array(
    [
        (0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1),
        (1, 1, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 1, 0), (0, 1, 0),
    ],
    float,
)  # fmt: skip


def outline_of(shape: Triple, affine: np.ndarray) -> np.ndarray:
    """One line along all edges of a volume, at the outer faces of its voxels.

    Parameters
    ----------
    shape : voxels (z, y, x)
    affine : 4 x 4, from voxel index (z, y, x, 1) to the world

    Returns
    -------
    (16, 3), places in the world (z, y, x).
    """
    corners = _ALONG_EDGES * shape - 0.5
    places: np.ndarray = corners @ affine[:3, :3].T + affine[:3, 3]
    return places


def outline_between(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The same of a box that is upright in the world, by two opposite corners (z, y, x)."""
    places: np.ndarray = first + _ALONG_EDGES * (np.asarray(last, float) - first)
    return places
