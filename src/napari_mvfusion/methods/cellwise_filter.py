"""What the universal generator reads: the views, and what the Wiener filter of all of them makes, cell by cell.

A tile may not depend on how the volume was cut, but the filter has no end: each voxel depends on all others, ever less.
So the volume is filtered in cells that depend on its shape alone, each with a margin, which fade into each other. A
volume up to the size of a cell is filtered as a whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise, product
from math import ceil, log2, prod

import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics, drain
from napari_mvfusion.imaging import WienerBank
from napari_mvfusion.measures.attenuation import Transmission, find_transmission
from napari_mvfusion.methods.base import TileInput
from napari_mvfusion.methods.steps import map_steps
from napari_mvfusion.models.universal import UniversalArchitecture

_FLOAT_BYTES = 4
# Longest side of a cell, what is filtered around it, and over how many voxels on each side cells fade into each other.
_CELL_SIDE = 192
FILTER_MARGIN = 48
_FADE = 16
# How far a block is mirrored beyond its border before it wraps round.
_MIRRORED = 32
# Variance of the structure over that of the noise, with which no update would be made; four times as much allows one.
_NO_UPDATE = 1.5
# Share of an update that is not worth its time.
_LEAST_STEP = 0.02
# Light of all views together below which a voxel counts as seen by none.
_LEAST_LIGHT = 0.05


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What the network reads, brightness divided by `scale`; float32.

    Attributes
    ----------
    views, blurred : (view, z, y, x), see `UniversalGenerator.forward`
    sharp : (level, z, y, x), likewise
    transmission : (view, z, y, x), likewise, a share; None where all light is known to have passed, or nothing is known
    estimate : (z, y, x), the level that the network changes, not negative
    scale : brightness of the views that counts as 1
    """

    views: torch.Tensor
    blurred: torch.Tensor
    sharp: torch.Tensor
    transmission: torch.Tensor | None
    estimate: torch.Tensor
    scale: float


def brightness_scale(statistics: Sequence[ViewStatistics]) -> float:
    """The brightness that counts as 1: the mean of the views, each voxel weighted with its own brightness.

    Empty space around a specimen does not change it. Views without any light have the scale 1.
    """
    squares = sum(numbers.mean_square * numbers.covered_voxels for numbers in statistics)
    total = sum(numbers.mean * numbers.covered_voxels for numbers in statistics)
    return squares / total if total > 0 else 1.0


def updates_for(statistics: Sequence[ViewStatistics], architecture: UniversalArchitecture) -> float:
    """How often the filter goes on from what it made before; a fraction stands for a smaller last step.

    Every update undoes more of the blur, and lets more noise through: with an architecture that goes by noise, each takes
    twice the ratio of signal to noise. The noisiest view decides. Even light is no signal. One is always made.
    """
    if not architecture.by_noise or not architecture.updates:
        return architecture.updates
    structure = [numbers.mean_square - numbers.mean**2 - numbers.noise for numbers in statistics]
    ratio = min(s / n.noise if n.noise > 0 else float("inf") for s, n in zip(structure, statistics, strict=True))
    return float(min(max(log2(max(ratio, _NO_UPDATE) / _NO_UPDATE) / 2, 1.0), architecture.updates))


def transmission_for(views: RegisteredViews, architecture: UniversalArchitecture) -> Transmission | None:
    """The transmission of the views, where the architecture takes it into account; see `find_transmission`."""
    return find_transmission(views) if architecture.light else None


def network_input_of(
    views: RegisteredViews,
    architecture: UniversalArchitecture,
    device: torch.device,
    transmission: torch.Tensor | None = None,
) -> NetworkInput:
    """What the network reads of a whole volume that fits into memory; for training.

    Parameters
    ----------
    views : with PSFs
    architecture : says how the views are filtered
    device : where to compute
    transmission : float32 (view, z, y, x), share of the light that each view got; looked for when None
    """
    whole = views.grid.box
    pixels = torch.from_numpy(views.read(whole)).to(device)
    coverage = views.coverage(whole)
    covered = None if coverage is None else torch.from_numpy(coverage).to(device)
    scale = brightness_scale(views.statistics())
    known = transmission_for(views, architecture) if transmission is None else transmission
    filtering = CellwiseFilter(views, architecture, scale, device, known)
    return filtering.network_input(whole, TileInput(whole, whole, pixels, covered, None, None))


# Shares of the work on a block, then what the views should look like, and the levels.
FilterSteps = Generator[float, None, tuple[torch.Tensor, torch.Tensor]]


class CellwiseFilter:
    """The Wiener filter over a volume, cell by cell.

    Parameters
    ----------
    views : the views; their order does not matter
    architecture : says at which levels
    scale : brightness that counts as 1
    device : where it computes
    transmission : how much of the light each view got: a function of the whole volume, an array over all of these views,
        float32 (view, z, y, x), or None for all
    keep_bytes : how much of filtered cells is kept for other targets, which then must be of the same pixels
    """

    def __init__(
        self,
        views: RegisteredViews,
        architecture: UniversalArchitecture,
        scale: float,
        device: torch.device,
        transmission: Transmission | torch.Tensor | None = None,
        keep_bytes: int = 0,
    ) -> None:
        self._views = views
        self._transmission = transmission
        self._architecture = architecture
        self._shape = views.grid.shape
        self._count = len(views)
        self._levels = len(architecture.levels)
        self._base = architecture.base
        self._scale = scale
        psfs = [view.psf / view.psf.sum(dtype=float) for view in views.views if view.psf is not None]
        weights = [view.weight for view in views.views]
        self._shares = torch.tensor(weights, device=device)[:, None, None, None] / sum(weights)
        self._bank = WienerBank(psfs, weights, architecture.levels, architecture.base, device)
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[Box, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    @property
    def halo(self) -> Triple:
        """Voxels of the views that a target needs around it, at most."""
        return triple(min(n, ceil(n / ceil(n / _CELL_SIDE)) + _FADE + FILTER_MARGIN) for n in self._shape)

    def network_input(self, target: Box, tile: TileInput) -> NetworkInput:
        """What the network reads of a target, from the pixels of a tile with at least `halo` around the target."""
        return drain(self.network_input_steps(target, tile))

    def network_input_steps(self, target: Box, tile: TileInput) -> Generator[float, None, NetworkInput]:
        """The same, with the share of the work that is done at every update of the filter."""
        device = tile.values.device
        blurred = torch.zeros((self._count, *target.shape), device=device)
        sharp = torch.zeros((self._levels, *target.shape), device=device)
        transmission = self._transmission_over(target)
        cells = list(self._cells(target))
        for number, (cell, fades) in enumerate(cells):
            part = Box(
                triple(max(a, b) for a, b in zip(cell.start, target.start, strict=True)),
                triple(min(a, b) for a, b in zip(cell.stop, target.stop, strict=True)),
            )
            inner = part.inside(target).slices
            weight = _outer(fades, part, cell, device)
            filtering = self._filtered(cell, part, tile, keep=tile.tile.shape != self._shape)
            found = yield from map_steps(filtering, partial(_share_of_cells, number, len(cells)))
            for total, values in zip((blurred, sharp), found, strict=True):
                total[(slice(None), *inner)].addcmul_(values, weight)
        pixels, covered = self._pixels(target, tile, transmission)
        if covered is not None:
            # Where a view has no data, it agrees with what is expected.
            pixels = torch.lerp(blurred if transmission is None else transmission * blurred, pixels, covered)
        sharp.div_(self._scale)
        return NetworkInput(
            pixels / self._scale,
            blurred.div_(self._scale),
            sharp,
            transmission,
            sharp[self._base].clamp(min=0),
            self._scale,
        )

    @cached_property
    def _updates(self) -> float:
        return updates_for(self._views.statistics(), self._architecture)

    def _filtered(self, cell: Box, part: Box, tile: TileInput, *, keep: bool) -> FilterSteps:
        """A part of a filtered cell, from those that are kept or made now."""
        block = cell.grow((FILTER_MARGIN,) * 3).clip(self._shape)
        one = _FLOAT_BYTES * cell.size * (self._count + self._levels)
        if not keep or one > self._keep_bytes:
            return (yield from self._filter(block, part.inside(block), tile))
        found = self._kept.pop(cell, None)
        if found is None:
            while (len(self._kept) + 1) * one > self._keep_bytes:
                self._kept.popitem(last=False)
            found = yield from self._filter(block, cell.inside(block), tile)
        self._kept[cell] = found  # the last one that was asked for is the last to go
        blurred, sharp = found
        inner = (slice(None), *part.inside(cell).slices)
        return blurred[inner], sharp[inner]

    def _filter(self, block: Box, part: Box, tile: TileInput) -> FilterSteps:
        """Filter a block of the views: what they should look like, and the levels, over a part of the block."""
        margin = triple(min(_MIRRORED, n - 1) for n in block.shape)
        transmission = self._transmission_over(block)
        pixels, covered = self._pixels(block, tile, transmission)
        # Photon noise grows with the root of the light: divided by what passed on average, every view counts by its light.
        mean = None if transmission is None else (transmission * self._shares).sum(dim=0)
        values = pixels if mean is None else pixels / mean
        if not self._updates:
            return self._bank(values, part, margin)
        image = self._bank.at_base_level(values, margin).clamp_(min=0)
        # Whole steps, and a smaller one for what is left of a number that is not whole.
        left = self._updates - 1
        while True:
            reblurred = self._bank.blurred(image, margin)
            missing = pixels - (reblurred if transmission is None else transmission * reblurred)
            if covered is not None:
                missing.mul_(covered)
            if mean is not None:
                missing.div_(mean)
            if left < _LEAST_STEP:
                break
            yield 1 - left / self._updates
            image = self._bank.at_base_level(missing, margin).mul_(min(left, 1.0)).add_(image).clamp_(min=0)
            left -= 1
        more, sharp = self._bank(missing, part, margin)
        return more.add_(reblurred[(slice(None), *part.slices)]), sharp.add_(image[part.slices])

    def _transmission_over(self, box: Box) -> torch.Tensor | None:
        """Share of the light that each view got over a box, (view, z, y, x)."""
        if isinstance(self._transmission, torch.Tensor):
            return self._transmission[(slice(None), *box.slices)]
        return (
            None
            if self._transmission is None
            else self._transmission.over(self._views.in_frame(box), self._bank.device)
        )

    def working_bytes(self, target: Triple, *, alone: bool = True) -> int:
        """An upper bound of the memory in use, with evidence of a target of this shape; if not alone, others follow."""
        around = _FADE + FILTER_MARGIN
        counts = [ceil(n / _CELL_SIDE) for n in self._shape]
        # A cell in the middle has others on both sides, one of two on one.
        cell = triple(min(n, ceil(n / c) + min(c - 1, 2) * around) for n, c in zip(self._shape, counts, strict=True))
        voxels = cell[0] * cell[1] * cell[2]
        size = target[0] * target[1] * target[2]
        # Views, what they are expected to be, what passed and what is missing, of a cell; then the evidence.
        mine = voxels * (2 * self._count + self._levels) + size * (3 * self._count + self._levels)
        if self._architecture.light:
            mine += voxels * (self._count + 1) + size * self._count
        if self._architecture.updates:
            mine += voxels * (2 * self._count + self._levels)
        if not alone:
            cells = prod(n + 2 * _FADE * (c - 1) for n, c in zip(self._shape, counts, strict=True))
            mine += min(cells * (self._count + self._levels), self._keep_bytes // _FLOAT_BYTES)
        return _FLOAT_BYTES * mine + self._bank.working_bytes(cell, (_MIRRORED,) * 3)

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._bank.release()
        self._kept.clear()

    def _pixels(
        self, box: Box, tile: TileInput, transmission: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Views over a box; where one has no data it gets the mean of those that have, and loses light as it would."""
        inner = (slice(None), *box.inside(tile.view_box).slices)
        if tile.coverage is None:
            return tile.values[inner], None
        values, covered = tile.values[inner], tile.coverage[inner]
        light = covered if transmission is None else covered * transmission
        mean = (values * covered).sum(dim=0).div_(light.sum(dim=0).clamp_(min=_LEAST_LIGHT))
        return torch.lerp(
            mean.expand_as(values) if transmission is None else mean * transmission, values, covered
        ), covered

    def _cells(self, target: Box) -> Iterator[tuple[Box, list[tuple[bool, bool]]]]:
        """The cells that meet a target, with the axes and sides on which they fade."""
        axes = []
        for n, first, last in zip(self._shape, target.start, target.stop, strict=True):
            count = ceil(n / _CELL_SIDE)
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
