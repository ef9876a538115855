"""Transmissions that are given with the views: checked, and brought to cells as those that are found."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from napari_mvfusion.data.field_of_view import VolumeLike
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.errors import InputError
from napari_mvfusion.measures.attenuation import MOST, Transmission

# About how many cells a view has: 128 a side.
_CELLS = 2**21


def given_transmission(views: RegisteredViews) -> Transmission:
    """The transmissions that came with the views, averaged over cells so small that few voxels share one.

    Parameters
    ----------
    views : each with its `View.transmission`; of a region only what lies in it is read, and 1 elsewhere

    Raises
    ------
    InputError
        If a view has none, or one with a value that is not above 0, or too large for a share of the mean as well.
    """
    found: list[np.ndarray] = []
    for view in views.views:
        if view.transmission is None:
            raise InputError(f"{view.label} has no transmission: give one for each view, or choose estimated or none")
        shape = triple(view.transmission.shape)
        cell = max(1, ceil((prod(shape) / _CELLS) ** (1 / 3)))
        try:
            found.append(_in_cells(view.transmission, cell, views.in_frame(views.grid.box)))
        except InputError as error:
            raise InputError(f"{view.transmission_label} {error}") from error
    return Transmission(cell, np.stack(found), ())


def check_transmission(volume: VolumeLike) -> None:
    """Refuse a volume (z, y, x) whose values are no shares of light; it is read plane by plane.

    Raises
    ------
    InputError
        If a value is not above 0, or too large for a share of the mean; names it and its voxel.
    """
    for z in range(volume.shape[0]):
        _check(np.asarray(volume[z : z + 1], np.float64), (z, 0, 0))


def _in_cells(volume: VolumeLike, cell: int, box: Box) -> np.ndarray:
    """Means over the cells that voxels of a box are interpolated between, float32 (z, y, x) of all cells; 1 for others."""
    shape = triple(volume.shape)
    values = np.ones([-(-n // cell) for n in shape], np.float32)
    cells = [
        range(max(0, start // cell - 1), min(count, (stop - 1) // cell + 2))
        for start, stop, count in zip(box.start, box.stop, values.shape, strict=True)
    ]
    across = tuple(slice(part.start * cell, min(part.stop * cell, n)) for part, n in zip(cells, shape, strict=True))[1:]
    sides = [np.minimum(cell, n - cell * np.array(part)) for part, n in zip(cells[1:], shape[1:], strict=True)]
    voxels = np.multiply.outer(*sides)
    for row in cells[0]:
        slab = np.asarray(volume[(slice(row * cell, (row + 1) * cell), *across)], np.float64)
        _check(slab, (row * cell, across[0].start, across[1].start))
        depth = len(slab)
        for axis in (1, 2):
            slab = np.add.reduceat(slab, np.arange(0, slab.shape[axis], cell), axis)
        values[row, cells[1].start : cells[1].stop, cells[2].start : cells[2].stop] = slab.sum(axis=0) / (
            voxels * depth
        )
    return values


def _check(part: np.ndarray, first: Triple) -> None:
    """Refuse a part of a transmission that begins at this voxel; what is raised says what is wrong after its name."""
    wrong = ~((part > 0) & (part <= MOST))
    if wrong.any():
        place = np.argwhere(wrong)[0]
        at, value = tuple((place + first).tolist()), part[tuple(place)]
        percent = "; divide all of it by 100 if it is in percent" if MOST < value <= 100 else ""
        raise InputError(
            f"is {value:g} at voxel {at}: a share of light is above 0 and at most 1, or at most {MOST:g} where it is "
            f"relative to the mean of the views{percent}"
        )
