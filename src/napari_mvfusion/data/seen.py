"""Which voxels of the fused volume at least one view saw, and counts at."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from napari_mvfusion.data.events import Preparing
from napari_mvfusion.data.geometry import Box, Grid, Triple
from napari_mvfusion.data.sampling import mark_covered, mark_trusted
from napari_mvfusion.data.scanning import slabs
from napari_mvfusion.data.view import View

_LEAST_SAID = 0.001


def counts_everywhere(view: View) -> bool:
    """Whether a view counts alike at every voxel of the fused volume."""
    return view.affine is None and view.mask is None and view.trust is None


def seen_by_any(views: Sequence[View], grid: Grid, box: Box) -> np.ndarray | None:
    """Where at least one view has data and is trusted above 0.

    Parameters
    ----------
    views : with masks that say all that is known of where they have data
    grid : of the fused volume
    box : voxels of it

    Returns
    -------
    bool (z, y, x) of the box; None where that is everywhere.

    Raises
    ------
    InputError
        If a weight is none from 0 to 1.
    """
    if any(map(counts_everywhere, views)):
        return None
    seen = np.zeros(box.shape, bool)
    for view in views:
        counts = np.ones(box.shape, np.float32)
        mark_covered(view, grid, box, counts)
        mark_trusted(view, grid, box, counts)
        seen |= counts > 0
        if seen.all():
            return None
    return seen


def find_unseen(
    views: Sequence[View], grid: Grid, window: Box, planes: int | None = None
) -> Generator[Preparing, None, float]:
    """The share of the voxels of a window that no view saw, slab by slab in bounded memory.

    Parameters
    ----------
    views, grid : see `seen_by_any`
    window : voxels of the grid
    planes : how many planes to look at, spread evenly over the window, or None for all

    Yields
    ------
    Preparing, after each slab; nothing where one view counts everywhere.

    Returns
    -------
    From 0 to 1.
    """
    if any(map(counts_everywhere, views)):
        return 0.0
    unseen = looked_at = 0
    parts = slabs(window.shape) if planes is None else _spread_planes(window.shape, planes)
    for done, slab in enumerate(parts, 1):
        seen = seen_by_any(views, grid, slab.within(window))
        unseen += 0 if seen is None else int(seen.size - np.count_nonzero(seen))
        looked_at += slab.size
        yield Preparing("looking for places that no view saw", done / len(parts))
    return unseen / looked_at


def about_unseen(share: float, *, sampled: bool = False, by_trust: bool = False) -> str:
    """What is said of voxels that no view saw, more than none.

    Parameters
    ----------
    share : of the voxels of the fused volume, above 0
    sampled : whether it was found on some planes
    by_trust : whether it would be less if views counted wherever they have data
    """
    said = f"{share:.1%}" if share >= _LEAST_SAID else "less than 0.1%"
    fix = "; let one that has data count there (trust, trust box or fade)" if by_trust else ""
    return f"no view has data, or is trusted, in {'about ' * sampled}{said} of the fused volume: it is 0 there{fix}"


def _spread_planes(shape: Triple, count: int) -> list[Box]:
    """Planes across z, evenly spread."""
    depth, height, width = shape
    return [
        Box((int(z), 0, 0), (int(z) + 1, height, width))
        for z in np.unique(np.linspace(0, depth - 1, min(depth, count)).astype(int))
    ]
