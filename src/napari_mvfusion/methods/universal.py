"""The universal generator in the engine: the Wiener filter of all views, then one pass of the network.

A tile may not depend on how the volume was cut, but the filter has no end: each voxel depends on all others, ever less.
So the volume is filtered in cells that depend on its shape alone, each with a margin, which fade into each other. A
volume up to the size of a cell is filtered as a whole. The network then sees its tile with all that a voxel can look at, in
blocks that begin at multiples of its stride.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise, product
from math import ceil, log2, prod

import torch
from torch.nn import functional

from napari_mvfusion.data.checks import check_light
from napari_mvfusion.data.events import Event, Warned
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics, drain
from napari_mvfusion.imaging import WienerBank
from napari_mvfusion.measures.absorption import Transmission, doubt_about_transmission, find_transmission
from napari_mvfusion.methods.base import Stage, Step, Steps, TileInput
from napari_mvfusion.methods.steps import mapped
from napari_mvfusion.models.universal import UniversalArchitecture, UniversalGenerator
from napari_mvfusion.system.devices import free_bytes

_FLOAT_BYTES = 4
_AXES = (-3, -2, -1)
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
# Filtered cells that neighbouring tiles share are kept: so many bytes, or this part of the free memory.
_KEPT_BYTES = 2**31
_KEPT_SHARE = 8
# Share of the filter in the time of a tile, and how many views the last part of the network is worth; for the progress.
_FILTER_SHARE = 0.55
_CORRECTION = 16
# Light of all views together below which a voxel counts as seen by none.
_LEAST_LIGHT = 0.05
# Working memory of a convolution beside its input and output, as a multiple of both.
_CONVOLUTION_COPIES = 3.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the network reads, brightness divided by `scale`; float32.

    Attributes
    ----------
    views, blurred : (view, z, y, x), see `UniversalGenerator.forward`
    sharp : (level, z, y, x), likewise
    passed : (view, z, y, x), likewise, a share; None where all light is known to have passed, or nothing is known
    estimate : (z, y, x), the level that the network changes, not negative
    scale : brightness of the views that counts as 1
    """

    views: torch.Tensor
    blurred: torch.Tensor
    sharp: torch.Tensor
    passed: torch.Tensor | None
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
    """The light that views lost, where the architecture wants to know it; see `find_transmission`."""
    return find_transmission(views) if architecture.light else None


def whole_evidence(
    views: RegisteredViews,
    architecture: UniversalArchitecture,
    device: torch.device,
    passed: torch.Tensor | None = None,
) -> Evidence:
    """What the network reads of a whole volume that fits into memory; for training.

    Parameters
    ----------
    views : with PSFs
    architecture : says how the views are filtered
    device : where to compute
    passed : float32 (view, z, y, x), share of the light that each view got; looked for when None
    """
    whole = views.grid.box
    pixels = torch.from_numpy(views.read(whole)).to(device)
    coverage = views.coverage(whole)
    covered = None if coverage is None else torch.from_numpy(coverage).to(device)
    scale = brightness_scale(views.statistics())
    light = transmission_for(views, architecture) if passed is None else passed
    filtering = Filtering(views, architecture, scale, device, light)
    return filtering.evidence(whole, TileInput(whole, whole, pixels, covered, None, None))


# Shares of the work on a block, then what the views should look like, and the levels.
Filtered = Generator[float, None, tuple[torch.Tensor, torch.Tensor]]


class Filtering:
    """The Wiener filter over a volume, cell by cell.

    Parameters
    ----------
    views : the views; their order does not matter
    architecture : says at which levels
    scale : brightness that counts as 1
    device : where it computes
    light : how much of it each view got: a function of the whole volume, an array over all of these views, float32
        (view, z, y, x), or None for all
    keep_bytes : how much of filtered cells is kept for other targets, which then must be of the same pixels
    """

    def __init__(
        self,
        views: RegisteredViews,
        architecture: UniversalArchitecture,
        scale: float,
        device: torch.device,
        light: Transmission | torch.Tensor | None = None,
        keep_bytes: int = 0,
    ) -> None:
        self._views = views
        self._light = light
        self._architecture = architecture
        self._shape = views.grid.shape
        self._count = len(views)
        self._levels = len(architecture.levels)
        self._base = architecture.base
        self._scale = scale
        psfs = [view.psf / view.psf.sum(dtype=float) for view in views.views if view.psf is not None]
        weights = [view.weight for view in views.views]
        self._trust = torch.tensor(weights, device=device)[:, None, None, None] / sum(weights)
        self._bank = WienerBank(psfs, weights, architecture.levels, architecture.base, device)
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[Box, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    @property
    def halo(self) -> Triple:
        """Voxels of the views that a target needs around it, at most."""
        return triple(min(n, ceil(n / ceil(n / _CELL_SIDE)) + _FADE + FILTER_MARGIN) for n in self._shape)

    def evidence(self, target: Box, tile: TileInput) -> Evidence:
        """What the network reads of a target, from the pixels of a tile with at least `halo` around the target."""
        return drain(self.gather(target, tile))

    def gather(self, target: Box, tile: TileInput) -> Generator[float, None, Evidence]:
        """The same, with the share of the work that is done at every update of the filter."""
        device = tile.values.device
        blurred = torch.zeros((self._count, *target.shape), device=device)
        sharp = torch.zeros((self._levels, *target.shape), device=device)
        passed = self._passed(target)
        cells = list(self._cells(target))
        for number, (cell, fades) in enumerate(cells):
            part = Box(
                triple(max(a, b) for a, b in zip(cell.start, target.start, strict=True)),
                triple(min(a, b) for a, b in zip(cell.stop, target.stop, strict=True)),
            )
            inner = part.inside(target).slices
            weight = _outer(fades, part, cell, device)
            filtering = self._filtered(cell, part, tile, keep=tile.tile.shape != self._shape)
            found = yield from mapped(filtering, partial(_share_of_cells, number, len(cells)))
            for total, values in zip((blurred, sharp), found, strict=True):
                total[(slice(None), *inner)].addcmul_(values, weight)
        pixels, covered = self._pixels(target, tile, passed)
        if covered is not None:
            # Where a view has no data, it agrees with what is expected.
            pixels = torch.lerp(blurred if passed is None else passed * blurred, pixels, covered)
        sharp.div_(self._scale)
        return Evidence(
            pixels / self._scale, blurred.div_(self._scale), sharp, passed, sharp[self._base].clamp(min=0), self._scale
        )

    @cached_property
    def _updates(self) -> float:
        return updates_for(self._views.statistics(), self._architecture)

    def _filtered(self, cell: Box, part: Box, tile: TileInput, *, keep: bool) -> Filtered:
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

    def _filter(self, block: Box, part: Box, tile: TileInput) -> Filtered:
        """Filter a block of the views: what they should look like, and the levels, over a part of the block."""
        margin = triple(min(_MIRRORED, n - 1) for n in block.shape)
        passed = self._passed(block)
        pixels, covered = self._pixels(block, tile, passed)
        # Photon noise grows with the root of the light: divided by what passed on average, every view counts by its light.
        mean = None if passed is None else (passed * self._trust).sum(dim=0)
        values = pixels if mean is None else pixels / mean
        if not self._updates:
            return self._bank(values, part, margin)
        image = self._bank.one(values, margin).clamp_(min=0)
        # Whole steps, and a smaller one for what is left of a number that is not whole.
        left = self._updates - 1
        while True:
            seen = self._bank.blurred(image, margin)
            missing = pixels - (seen if passed is None else passed * seen)
            if covered is not None:
                missing.mul_(covered)
            if mean is not None:
                missing.div_(mean)
            if left < _LEAST_STEP:
                break
            yield 1 - left / self._updates
            image = self._bank.one(missing, margin).mul_(min(left, 1.0)).add_(image).clamp_(min=0)
            left -= 1
        more, sharp = self._bank(missing, part, margin)
        return more.add_(seen[(slice(None), *part.slices)]), sharp.add_(image[part.slices])

    def _passed(self, box: Box) -> torch.Tensor | None:
        """Share of the light that each view got over a box, (view, z, y, x)."""
        if isinstance(self._light, torch.Tensor):
            return self._light[(slice(None), *box.slices)]
        return None if self._light is None else self._light.over(self._views.in_frame(box), self._bank.device)

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
        self, box: Box, tile: TileInput, passed: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Views over a box; where one has no data it gets the mean of those that have, and loses light as it would."""
        inner = (slice(None), *box.inside(tile.view_box).slices)
        if tile.coverage is None:
            return tile.values[inner], None
        values, covered = tile.values[inner], tile.coverage[inner]
        light = covered if passed is None else covered * passed
        mean = (values * covered).sum(dim=0).div_(light.sum(dim=0).clamp_(min=_LEAST_LIGHT))
        return torch.lerp(mean.expand_as(values) if passed is None else mean * passed, values, covered), covered

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


class BoundUniversal:
    """The universal generator with its views and device; see `napari_mvfusion.methods.base.BoundMethod`.

    Parameters
    ----------
    views : the views, in the order in which they are added up
    order : where each of them stands among the views of the run
    network : in evaluation mode, on the device
    device : where it computes
    autocast : makes the context in which the network runs, for mixed precision
    mirrored : whether the result is the mean with that of the mirror image
    """

    def __init__(
        self,
        views: RegisteredViews,
        order: Sequence[int],
        network: UniversalGenerator,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
        *,
        mirrored: bool = False,
    ) -> None:
        self._mirrored = mirrored
        self._shape = views.grid.shape
        self._network = network
        self._scale = brightness_scale(views.statistics())
        light = transmission_for(views, network.architecture)
        keep_bytes = min(_KEPT_BYTES, free_bytes(device) // _KEPT_SHARE)
        self._filtering = Filtering(views, network.architecture, self._scale, device, light, keep_bytes)
        self._autocast = autocast
        halo = triple(network.reach + network.stride - 1 + n for n in self._filtering.halo)
        self.stages: Sequence[Stage] = [Stage("filter and network", tuple(order), view_halo=halo)]

    def run(self, stage: Stage, tile: TileInput) -> Steps:
        """One tile: float32 (z, y, x) on the device."""
        block = self._block(tile.tile)
        evidence = yield from mapped(
            self._filtering.gather(block, tile), lambda share: Step("filter", share * _FILTER_SHARE)
        )
        fused = yield from self._generate(evidence, (), "network", 0)
        if self._mirrored:
            mirrored = yield from self._generate(evidence, _AXES, "network, mirror image", 1)
            fused = fused.add_(mirrored).mul_(0.5)
        return fused[tile.tile.inside(block).slices] * self._scale

    def _generate(self, evidence: Evidence, axes: tuple[int, ...], label: str, turn: int) -> Steps:
        """What the network makes of the block turned round along some axes, turned back: (z, y, x) with padding."""

        def turned(values: torch.Tensor) -> torch.Tensor:
            return self._padded(values).flip(axes)[None]

        def step(number: int) -> Step:
            share = (turn + number / (count + _CORRECTION)) / (2 if self._mirrored else 1)
            return Step(label, _FILTER_SHARE + (1 - _FILTER_SHARE) * share)

        network, count = self._network, len(evidence.views)
        yield step(0)
        # Modes of torch belong to the thread, so that none may be on while the caller has its turn.
        with torch.no_grad(), self._autocast():
            known = network.know(turned(evidence.sharp))
        seen = None
        for v, (view, blurred) in enumerate(zip(evidence.views, evidence.blurred, strict=True)):
            passed = None if evidence.passed is None else turned(evidence.passed[v] - 1) + 1
            with torch.no_grad(), self._autocast():
                seen = network.see(seen, known, turned(view), turned(blurred), passed)
            yield step(v + 1)
        assert seen is not None
        with torch.no_grad(), self._autocast():
            return network.correct(seen, known)[0, 0].flip(axes)

    def converged(self, change: float) -> bool:
        """Never asked: there are no iterations."""
        return True

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._filtering.release()

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the memory that `run` takes and keeps for tiles up to this shape, without its inputs."""
        stride, reach = self._network.stride, self._network.reach
        block = triple(
            min(-(-n // stride) * stride, t + 2 * (reach + stride))
            for n, t in zip(self._shape, tile_shape, strict=True)
        )
        a = self._network.architecture
        # Full resolution: roots and cells of the levels, a view and what is expected of it. Then the widest moment at
        # half resolution, with the copies that convolutions make.
        full = 4.0 * len(a.levels) + 8
        half = (3 * a.view_maps + 3 * a.maps + a.deep_maps / 4) / 8 * _CONVOLUTION_COPIES
        voxels = block[0] * block[1] * block[2]
        filtering = self._filtering.working_bytes(block, alone=tile_shape == self._shape)
        return filtering + int(_FLOAT_BYTES * voxels * (full + half))

    def _block(self, tile: Box) -> Box:
        """The box that the network sees for a tile; it begins and ends at multiples of the stride or at the border."""
        stride, reach = self._network.stride, self._network.reach
        grown = Box(
            triple((a - reach) // stride * stride for a in tile.start),
            triple(-(-(b + reach) // stride) * stride for b in tile.stop),
        )
        return grown.clip(self._shape)

    def _padded(self, values: torch.Tensor) -> torch.Tensor:
        """Zeros after the far border, up to a multiple of the stride."""
        stride = self._network.stride
        after = [-n % stride for n in values.shape[-3:]]
        return functional.pad(values, [0, after[2], 0, after[1], 0, after[0]]) if any(after) else values


def bind_universal(
    views: RegisteredViews,
    network: UniversalGenerator,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
    *,
    mirrored: bool = False,
) -> Generator[Event, None, BoundUniversal]:
    """Scan the views, and bring network and filter together.

    Views are added up in the order of angles and names, so that the order in which they were given changes nothing.

    Raises
    ------
    InputError
        If a view is constant, or negative somewhere.
    """
    statistics = yield from views.scan()
    for view, numbers in zip(views.views, statistics, strict=True):
        check_light(view, numbers)
    order = sorted(range(len(views)), key=lambda v: (views.views[v].angle or 0.0, views.names[v]))
    ordered = views.select([views.names[v] for v in order])
    if network.architecture.light and (doubt := doubt_about_transmission(ordered)):
        yield Warned(doubt)
    return BoundUniversal(ordered, order, network, device, autocast, mirrored=mirrored)


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
