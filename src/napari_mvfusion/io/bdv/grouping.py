"""Illuminations and tiles of one angle as one view: their mean on the fused grid, each fading towards its border."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mvfusion.data.fading import fading
from napari_mvfusion.data.fused_grid import Placed
from napari_mvfusion.data.geometry import Box, Grid, box_of, float_triple, triple
from napari_mvfusion.data.sampling import mark_covered, positions, read_view, to_view
from napari_mvfusion.data.view import View
from napari_mvfusion.io.base import Absent, LazyVolume, bytes_of, parts_of

# Pixels over which a tile fades, and the share of its side that this is at most.
_RANGE = 40.0
_MOST_OF_A_SIDE = 0.25
# The outermost pixel still counts, where nothing else does.
_BORDER = -1.0


def grouped(members: Sequence[View], name: str, grid: Grid) -> View:
    """Views of one direction as one view on a grid.

    Its PSF is the mean of those of its members, and its pixels lie on the voxels of the grid that they cover.

    Parameters
    ----------
    members : at least one; all meet the grid
    name : of the view
    grid : of the fused volume
    """
    box = _covered(members, grid)
    blend = _Blend(members, grid, box)
    affine = grid.affine
    affine[:3, 3] = grid.affine[:3, :3] @ box.start + grid.origin_um
    first = members[0]
    psf, lacking = _mean_psf([view.psf for view in members]), [view for view in members if view.psf is None]
    flaws = [view.psf_flaw for view in lacking if view.psf_flaw]
    notes = list(dict.fromkeys(note for view in members for note in view.psf_notes))
    if psf is not None:
        notes.append(f"mean of the PSFs of {len(members) - len(lacking)} of {len(members)} illuminations and tiles")
    return View(
        BlendedTiles(blend),
        name,
        psf=psf,
        angle=first.angle,
        affine=None if box == grid.box else affine,
        mask=BlendedField(blend),
        source=first.source,
        psf_notes=tuple(notes) if psf is not None else (),
        psf_flaw=flaws[0] if psf is None and flaws else "",
    )


def meets(view: Placed, grid: Grid) -> bool:
    """Whether a view may have pixels on a grid; those of a turned one are looked for in the box round it."""
    low, high = view.bounds_um
    far = np.asarray(grid.origin_um) + (np.array(grid.shape) - 1) * grid.voxel_size_um
    return bool((low <= far).all() and (high >= grid.origin_um).all())


class _Blend:
    """The weighted mean of views over boxes of a part of a grid."""

    def __init__(self, members: Sequence[View], grid: Grid, box: Box) -> None:
        self.members, self.grid, self.box = tuple(members), grid, box

    def weights(self, box: Box, view: View) -> np.ndarray | None:
        """How much a view counts over a box of the grid, 0 where it has no data; None where that is everywhere."""
        covered = np.ones(box.shape, np.float32)
        mark_covered(view, self.grid, box, covered)
        if not covered.any():
            return None
        ranges = float_triple(max(1.0, min(_RANGE, _MOST_OF_A_SIDE * n)) for n in view.shape)
        covered *= fading(positions(to_view(view, self.grid), box), view.shape, ranges, _BORDER)
        return covered

    def amount(self, box: Box) -> np.ndarray:
        """The sum of all weights over a box of the grid."""
        total = np.zeros(box.shape, np.float32)
        for view in self.members:
            weight = self.weights(box, view)
            if weight is not None:
                total += weight
        return total

    def mean(self, box: Box) -> np.ndarray:
        """The pixels over a box of the grid, 0 where no view has data."""
        total, amount = np.zeros(box.shape, np.float32), np.zeros(box.shape, np.float32)
        pixels = np.empty(box.shape, np.float32)
        for view in self.members:
            weight = self.weights(box, view)
            if weight is None:
                continue
            read_view(view, self.grid, box, pixels)
            total += weight * pixels
            amount += weight
        return np.divide(total, amount, out=total, where=amount > 0)


class _OnGrid(LazyVolume):
    """What is computed of boxes of a grid, as an array."""

    def __init__(self, blend: _Blend) -> None:
        self._blend = blend
        self.shape: tuple[int, ...] = blend.box.shape

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of all members."""
        found = (file for view in self._blend.members if isinstance(view.data, LazyVolume) for file in view.data.files)
        return tuple(dict.fromkeys(found))

    @property
    def stored_bytes(self) -> int:
        """That of all members."""
        return sum(bytes_of(view.data) for view in self._blend.members)

    def absent(self, most: int) -> Absent | None:
        """That of all members; see `LazyVolume.absent`."""
        found: list[Absent] = []
        for view in self._blend.members:
            here = (
                view.data.absent(most - sum(each.of for each in found)) if isinstance(view.data, LazyVolume) else None
            )
            if here is None:
                return None
            found.append(here)
        return Absent(sum(each.count for each in found), sum(each.of for each in found), found[0].value)

    def _of(self, box: Box) -> np.ndarray:
        raise NotImplementedError

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Values of a box."""
        box, picked = box_of(parts_of(index), self.shape)
        values = self._of(box.within(self._blend.box))
        return np.ascontiguousarray(values[picked])


class BlendedTiles(_OnGrid):
    """Pixels of the illuminations and tiles of one angle, blended."""

    dtype = np.dtype(np.float32)

    def _of(self, box: Box) -> np.ndarray:
        return self._blend.mean(box)


class BlendedField(_OnGrid):
    """Where any of the illuminations and tiles of one angle has data: 1, and 0 elsewhere."""

    dtype = np.dtype(np.uint8)

    def _of(self, box: Box) -> np.ndarray:
        return (self._blend.amount(box) > 0).astype(np.uint8)


def _covered(members: Sequence[View], grid: Grid) -> Box:
    """The voxels of a grid that members may have pixels on."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for view in members:
        affine = grid.affine if view.affine is None else view.affine
        start, stop = Placed(view.shape, affine, view.label).bounds_um
        low, high = np.minimum(low, start), np.maximum(high, stop)
    size, origin = np.asarray(grid.voxel_size_um), np.asarray(grid.origin_um)
    first = np.floor((low - origin) / size + 1e-6).astype(int)
    last = np.ceil((high - origin) / size - 1e-6).astype(int)
    return Box(triple(first), triple(np.maximum(last + 1, first))).clip(grid.shape)


def _mean_psf(psfs: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The mean of PSFs with odd sides, middle on middle; None where there is none."""
    known = [psf for psf in psfs if psf is not None]
    if len(known) < 2:
        return known[0] if known else None
    shape = np.max([psf.shape for psf in known], axis=0)
    total = np.zeros(shape)
    for psf in known:
        start = (shape - psf.shape) // 2
        total[tuple(slice(a, a + n) for a, n in zip(start, psf.shape, strict=True))] += psf
    return np.asarray(total / total.sum(), np.float32)
