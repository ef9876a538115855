"""Cells of a volume: what filters without an end work on, so that tiles do not show.

A tile may not depend on how the volume was cut, but such a filter has no end: each voxel depends on all others, ever
less. So the volume is filtered in cells that depend on its shape alone, each with a margin, which fade into each other.
A volume up to the size of a block is filtered as a whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import pairwise, product
from math import ceil, prod

import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.methods.steps import map_steps

# Longest side of a block, which is a cell with its margins, what is filtered around a cell, and over how many voxels on
# each side cells fade into each other. Few large blocks are much less work than many small ones, most of which is margin.
_BLOCK_SIDE = 320
FILTER_MARGIN = 48
_FADE = 16
_FLOAT_BYTES = 4

# Shares of the work on a block, then volumes over a part of it: float32 (channel, z, y, x).
FilterSteps = Generator[float, None, Sequence[torch.Tensor]]
# Filters a block of the volume, and gives back a part of it, which is a box of the block.
Filter = Callable[[Box, Box], FilterSteps]


class Cells:
    """The cells of one volume, and those filtered ones that are kept for the next tile.

    Parameters
    ----------
    shape : (z, y, x) of the volume
    channels : how many volumes a filter gives, all together
    keep_bytes : how much of filtered cells is kept for other targets, which then must be of the same pixels
    """

    def __init__(self, shape: Triple, channels: int, keep_bytes: int = 0) -> None:
        self._shape = shape
        self._channels = channels
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[Box, Sequence[torch.Tensor]] = OrderedDict()

    @property
    def halo(self) -> Triple:
        """Voxels that a target needs around it, at most."""
        return triple(min(n, ceil(n / _count(n)) + _FADE + FILTER_MARGIN) for n in self._shape)

    @property
    def largest_block(self) -> Triple:
        """Shape of the largest block that a filter is given."""
        return triple(_block(n, _count(n)) for n in self._shape)

    @property
    def kept_bytes(self) -> int:
        """The most that filtered cells may come to take."""
        cells = prod(n + 2 * _FADE * (_count(n) - 1) for n in self._shape)
        return min(_FLOAT_BYTES * cells * self._channels, self._keep_bytes)

    def assemble(
        self, target: Box, filtered: Filter, into: Sequence[torch.Tensor], *, keep: bool
    ) -> Generator[float, None, None]:
        """Filter all cells that meet a target, and add them up.

        Parameters
        ----------
        target : box of the volume
        filtered : the filter
        into : zeros over the target, (channel, z, y, x), as many as the filter gives
        keep : whether other targets will need the same cells

        Yields
        ------
        The share of the work that is done.
        """
        cells = list(self._meeting(target))
        for number, (cell, fades) in enumerate(cells):
            part = cell.meet(target)
            weight = _outer(fades, part, cell, into[0].device)
            filtering = self._part_of(cell, part, filtered, keep=keep)
            found = yield from map_steps(filtering, partial(_share_of_cells, number, len(cells)))
            for total, values in zip(into, found, strict=True):
                total[(slice(None), *part.inside(target).slices)].addcmul_(values, weight)

    def release(self) -> None:
        """Drop what is kept."""
        self._kept.clear()

    def _part_of(self, cell: Box, part: Box, filtered: Filter, *, keep: bool) -> FilterSteps:
        """A part of a filtered cell, from those that are kept or made now."""
        block = cell.grow((FILTER_MARGIN,) * 3).clip(self._shape)
        one = _FLOAT_BYTES * cell.size * self._channels
        if not keep or one > self._keep_bytes:
            return (yield from filtered(block, part.inside(block)))
        found = self._kept.pop(cell, None)
        if found is None:
            while (len(self._kept) + 1) * one > self._keep_bytes:
                self._kept.popitem(last=False)
            found = yield from filtered(block, cell.inside(block))
        self._kept[cell] = found  # the last one that was asked for is the last to go
        return [values[(slice(None), *part.inside(cell).slices)] for values in found]

    def _meeting(self, target: Box) -> Iterator[tuple[Box, list[tuple[bool, bool]]]]:
        """The cells that meet a target, with the axes and sides on which they fade."""
        axes = []
        for n, first, last in zip(self._shape, target.start, target.stop, strict=True):
            count = _count(n)
            edges = [round(n * i / count) for i in range(count + 1)]
            here = []
            for low, high in pairwise(edges):
                start, stop = low - _FADE * (low > 0), high + _FADE * (high < n)
                if start < last and stop > first:
                    here.append((start, stop, low > 0, high < n))
            axes.append(here)
        for sides in product(*axes):
            yield (
                Box(triple(side[0] for side in sides), triple(side[1] for side in sides)),
                [(side[2], side[3]) for side in sides],
            )


def _count(side: int) -> int:
    """The fewest cells along a side of the volume whose blocks are no longer than they may be."""
    return next(cells for cells in range(1, side + 1) if _block(side, cells) <= _BLOCK_SIDE)


def _block(side: int, cells: int) -> int:
    """The longest block when a side has so many cells: one in the middle has others on both sides, one of two on one."""
    return min(side, ceil(side / cells) + min(cells - 1, 2) * (_FADE + FILTER_MARGIN))


def _share_of_cells(done: int, cells: int, share: float) -> float:
    return (done + share) / cells


def _outer(fades: Sequence[tuple[bool, bool]], part: Box, cell: Box, device: torch.device) -> torch.Tensor:
    """Weight of a cell over a part of it: 1, and falling to 0 over the fade where another cell follows."""
    weight = torch.ones((1, 1, 1), device=device)
    for axis, (before, after) in enumerate(fades):
        places = torch.arange(part.start[axis], part.stop[axis], device=device, dtype=torch.float32) + 0.5
        along = torch.ones_like(places)
        if before:
            along = torch.minimum(along, (places - cell.start[axis]) / (2 * _FADE))
        if after:
            along = torch.minimum(along, (cell.stop[axis] - places) / (2 * _FADE))
        weight = weight * along.view([-1 if i == axis else 1 for i in range(3)])
    return weight
