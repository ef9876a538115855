"""The paper's network in the engine: tiles without seams, or joined as the paper did."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from itertools import product

import torch
from torch.nn import functional

from napari_mvfusion.data.events import Event, Preparing
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.methods.base import Stage, Step, Steps, TileInput
from napari_mvfusion.models.paper import PaperGenerator

# Structural radius of the receptive field of three levels, and what rounding to multiples of 4 adds.
_REACH = 28
# Blocks that statistics come from: as large as the tiles of the paper, at most so many along each axis.
_BLOCK = 64
_MOST_BLOCKS = 3
# Tiles of the paper: what the network sees, what is kept of it, and from one tile to the next.
_OUTER, _INNER, _STEP = 64, 32, 16
_MARGIN = (_OUTER - _INNER) // 2
_FLOAT_BYTES = 4
_LEAST_COVERED = 1e-6


def bind_paper(
    views: RegisteredViews,
    network: PaperGenerator,
    order: Sequence[int],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
    *,
    published: bool,
) -> Generator[Event, None, BoundPaper]:
    """Scan the views; without published tiles, fix the statistics of instance normalisation for the whole volume.

    They are the means over blocks of 64 voxels that are spread over the volume, each normalised by itself as in
    training, and so do not depend on the tiles.
    """
    statistics = yield from views.scan()
    scale = max(numbers.maximum for numbers in statistics)
    if network.norms() and not published:
        yield from _fix_statistics(views, network, order, scale, device)
    return BoundPaper(views, network, order, scale, device, autocast, published=published)


class BoundPaper:
    """The paper's network with its views and device; see `napari_mvfusion.methods.base.BoundMethod`.

    Parameters
    ----------
    views : the views
    network : in evaluation mode, on the device
    order : index of the view of each channel
    scale : common maximum of the views, by which they are divided
    device : where it computes
    autocast : makes the context in which the network runs
    published : join overlapping tiles as the paper did
    """

    def __init__(
        self,
        views: RegisteredViews,
        network: PaperGenerator,
        order: Sequence[int],
        scale: float,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
        *,
        published: bool,
    ) -> None:
        self._shape = views.grid.shape
        self._network = network
        self._order = list(order)
        self._scale = scale
        self._autocast = autocast
        self._published = published
        halo = _MARGIN + _INNER if published else _REACH + network.stride - 1
        self.stages: Sequence[Stage] = [Stage("network", tuple(range(len(views))), view_halo=(halo,) * 3)]
        self.extrapolation_floor: float | None = None
        self.taken: set[int] = set()

    def run(self, stage: Stage, tile: TileInput) -> Steps:
        """One tile: float32 (z, y, x) on the device."""
        views = _filled(tile.values, tile.coverage)[self._order] / self._scale
        fused = (yield from self._windows(tile, views)) if self._published else self._block(tile, views)
        return fused.mul_(self._scale)

    def outcome(self) -> str | None:
        """Nothing: all that there is to say is said before."""
        return None

    def converged(self, change: float) -> bool:
        """Never asked: there are no iterations."""
        return True

    def release(self) -> None:
        """Nothing is kept."""

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the memory of a tile: the widest moment is the last concatenation."""
        a = self._network.architecture
        voxels = 1
        for n, t in zip(self._shape, tile_shape, strict=True):
            stride = self._network.stride
            voxels *= _OUTER if self._published else min(-(-n // stride) * stride, t + 2 * (_REACH + stride))
        inputs = 2 * a.views * tile_shape[0] * tile_shape[1] * tile_shape[2]
        return _FLOAT_BYTES * int(voxels * (a.views + 8 * a.feature_maps) + inputs)

    def _forward(self, block: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), self._autocast():
            fused: torch.Tensor = self._network(block[None])[0, 0].float()
        return fused

    def _block(self, tile: TileInput, views: torch.Tensor) -> torch.Tensor:
        """The tile with all that it depends on, from a multiple of the stride on, in one go."""
        stride = self._network.stride
        box = Box(
            triple((a - _REACH) // stride * stride for a in tile.tile.start),
            triple(-(-(b + _REACH) // stride) * stride for b in tile.tile.stop),
        ).clip(self._shape)
        block = views[(slice(None), *box.inside(tile.view_box).slices)]
        after = [-n % stride for n in box.shape]
        block = functional.pad(block, [0, after[2], 0, after[1], 0, after[0]])
        return self._forward(block)[tile.tile.inside(box).slices].clone()

    def _windows(self, tile: TileInput, views: torch.Tensor) -> Steps:
        """Overlapping windows on one lattice over the whole volume; of each the middle counts, most in its centre."""
        device = views.device
        total = torch.zeros(tile.tile.shape, device=device)
        amount = torch.zeros(tile.tile.shape, device=device)
        weight = _window_weight().to(device)
        starts = [_starts(n, a, b) for n, a, b in zip(self._shape, tile.tile.start, tile.tile.stop, strict=True)]
        corners = list(product(*starts))
        for number, corner in enumerate(corners):
            yield Step("network", number / len(corners))
            block = views
            for axis, (start, n, first) in enumerate(zip(corner, self._shape, tile.view_box.start, strict=True)):
                block = block.index_select(axis + 1, _mirrored(start - _MARGIN, n, device) - first)
            middle = self._forward(block)[(slice(_MARGIN, _MARGIN + _INNER),) * 3]
            window = Box(triple(corner), triple(c + _INNER for c in corner))
            into = window.meet(tile.tile)
            inner, outer = into.inside(window).slices, into.inside(tile.tile).slices
            total[outer] += middle[inner] * weight[inner]
            amount[outer] += weight[inner]
        return total.div_(amount)


def _filled(values: torch.Tensor, coverage: torch.Tensor | None) -> torch.Tensor:
    """Views (view, z, y, x); where one has no data it gets the mean of those that have."""
    if coverage is None:
        return values
    mean = (values * coverage).sum(dim=0) / coverage.sum(dim=0).clamp(min=_LEAST_COVERED)
    return torch.lerp(mean.expand_as(values), values, coverage)


def _starts(length: int, first: int, last: int) -> list[int]:
    """Starts of the windows along an axis that meet [first, last); the last window ends with the volume."""
    farthest = max(0, length - _INNER)
    starts = sorted({*range(0, farthest, _STEP), farthest})
    return [start for start in starts if start < last and start + _INNER > first]


def _mirrored(start: int, length: int, device: torch.device) -> torch.Tensor:
    """Voxels that a window sees from `start` on: mirrored at the border of the volume."""
    places = torch.arange(start, start + _OUTER, device=device)
    if length == 1:
        return torch.zeros_like(places)
    turn = 2 * (length - 1)
    places = places.remainder(turn)
    return torch.where(places < length, places, turn - places)


def _window_weight() -> torch.Tensor:
    """Distance of each voxel of a window's middle from its border, in voxels, at least 1."""
    along = torch.arange(_INNER)
    distance = torch.minimum(along, _INNER - 1 - along) + 1.0
    return torch.minimum(torch.minimum(distance[:, None, None], distance[:, None]), distance)


def _fix_statistics(
    views: RegisteredViews, network: PaperGenerator, order: Sequence[int], scale: float, device: torch.device
) -> Generator[Preparing, None, None]:
    norms = network.norms()
    sums = [torch.zeros(2, norm.channels, device=device) for norm in norms]

    def record(number: int, mean: torch.Tensor, square: torch.Tensor) -> None:
        sums[number] += torch.stack([mean, square])

    for number, norm in enumerate(norms):
        norm.record = lambda mean, square, number=number: record(number, mean, square)
    boxes = _spread_blocks(views.grid.shape)
    for done, box in enumerate(boxes, 1):
        covered = views.coverage(box, order)
        values = _filled(
            torch.from_numpy(views.read(box, order)), None if covered is None else torch.from_numpy(covered)
        )
        block = values.to(device) / scale
        after = [-n % network.stride for n in box.shape]
        with torch.no_grad():
            network(functional.pad(block, [0, after[2], 0, after[1], 0, after[0]])[None])
        yield Preparing("statistics of the network", done / len(boxes))
    for norm, (mean, square) in zip(norms, (each / len(boxes) for each in sums), strict=True):
        norm.record = None
        norm.mean, norm.variance = mean, (square - mean.square()).clamp_(min=0)
    network.fold_norms()


def _spread_blocks(shape: Triple) -> list[Box]:
    """Blocks of 64 voxels spread evenly over the volume, up to three along each axis."""
    starts = []
    for n in shape:
        count = min(_MOST_BLOCKS, -(-n // _BLOCK))
        last = max(0, n - _BLOCK)
        starts.append(sorted({round(last * i / max(1, count - 1)) for i in range(count)}))
    return [
        Box(triple(corner), triple(min(c + _BLOCK, n) for c, n in zip(corner, shape, strict=True)))
        for corner in product(*starts)
    ]
