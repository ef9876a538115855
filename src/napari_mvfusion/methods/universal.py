"""The universal generator in the engine: a few updates of EBMD, then one pass of the network.

The updates are the stages of EBMD. The last stage reads every view and the estimate with the network's reach, blurs the
estimate and carries the ratios back as one more update would, and corrects the estimate. Nothing in it depends on the
extent of a tile: blocks begin at multiples of the network's stride, and go on as far as a voxel can look.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from napari_mvfusion.events import Event
from napari_mvfusion.geometry import Box, Triple, triple
from napari_mvfusion.methods.base import Stage, TileInput
from napari_mvfusion.methods.ebmd import EBMD
from napari_mvfusion.methods.ebmd_updates import BoundEBMD
from napari_mvfusion.networks.universal import UniversalArchitecture, UniversalGenerator
from napari_mvfusion.views import RegisteredViews, ViewStatistics, drain

_FLOAT_BYTES = 4
_NETWORK_COST = 4.0
# Working memory of a convolution beside its input and output, as a multiple of both.
_CONVOLUTION_COPIES = 3.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the network reads, brightness divided by `scale`; float32.

    Attributes
    ----------
    views, blurred, correction : (view, z, y, x), see `UniversalGenerator.forward`
    estimate : (z, y, x)
    scale : brightness of the views that counts as 1
    """

    views: torch.Tensor
    blurred: torch.Tensor
    correction: torch.Tensor
    estimate: torch.Tensor
    scale: float


def brightness_scale(statistics: Sequence[ViewStatistics]) -> float:
    """The brightness that counts as 1: the mean of the views, each voxel weighted with its own brightness.

    Empty space around a specimen does not change it.
    """
    squares = sum(numbers.mean_square * numbers.covered_voxels for numbers in statistics)
    total = sum(numbers.mean * numbers.covered_voxels for numbers in statistics)
    return squares / total


def deconvolution_of(architecture: UniversalArchitecture) -> EBMD:
    """The method that gives the estimate that a universal generator corrects."""
    return EBMD.model_validate(
        {"kernel": architecture.kernel, "iterations": architecture.iterations, "lambda": architecture.lambda_}
    )


def whole_evidence(views: RegisteredViews, architecture: UniversalArchitecture, device: torch.device) -> Evidence:
    """What the network reads of a whole volume that fits into memory; for training.

    Parameters
    ----------
    views : with PSFs, light not negative
    architecture : says which estimate the network corrects
    device : where to compute
    """
    bound = drain(deconvolution_of(architecture).prepare(views, device))
    whole = views.grid.box
    pixels = torch.from_numpy(views.read(whole)).to(device)
    coverage = views.coverage(whole)
    covered = None if coverage is None else torch.from_numpy(coverage).to(device)
    estimate: torch.Tensor | None = None
    for stage in bound.stages:
        which = list(stage.views)
        tile = TileInput(
            whole,
            whole,
            pixels[which] if len(which) < len(views) else pixels,
            None if covered is None else covered[which],
            whole if stage.estimate_halo is not None else None,
            estimate if stage.estimate_halo is not None else None,
        )
        estimate = bound.run(stage, tile)
    assert estimate is not None
    scale = brightness_scale(views.statistics())
    found = [
        bound.evidence(v, whole, pixels[v], None if covered is None else covered[v], estimate)
        for v in range(len(views))
    ]
    blurred = torch.stack([b for b, _ in found])
    if covered is not None:
        pixels = torch.lerp(blurred, pixels, covered)
    return Evidence(pixels / scale, blurred / scale, torch.stack([c for _, c in found]), estimate / scale, scale)


class BoundUniversal:
    """The universal generator with its views and device; see `napari_mvfusion.methods.base.BoundMethod`.

    Parameters
    ----------
    views : the views, in the order in which they are deconvolved
    order : where each of them stands among the views of the run
    deconvolution : the bound method that gives the estimate
    network : in evaluation mode, on the device
    device : where it computes
    autocast : makes the context in which the network runs, for mixed precision
    """

    def __init__(
        self,
        views: RegisteredViews,
        order: Sequence[int],
        deconvolution: BoundEBMD,
        network: UniversalGenerator,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._views = views
        self._deconvolution = deconvolution
        self._network = network
        self._scale = brightness_scale(views.statistics())
        self._device = device
        self._autocast = autocast
        self._last = self._network_stage(tuple(order))
        self._steps: dict[str, Stage] = {}
        steps = []
        for stage in deconvolution.stages:
            own = replace(stage, label=f"estimate, {stage.label}", views=tuple(order[v] for v in stage.views))
            self._steps[own.label] = stage
            steps.append(own)
        self.stages: Sequence[Stage] = [*steps, self._last]

    def run(self, stage: Stage, tile: TileInput) -> torch.Tensor:
        """One tile of a stage: float32 (z, y, x) on the device."""
        if stage.label in self._steps:
            return self._deconvolution.run(self._steps[stage.label], tile)
        return self._correct(tile)

    def converged(self, change: float) -> bool:
        """Never: the network was trained on the estimate after all iterations."""
        return False

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._deconvolution.release()

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the memory that `run` takes and keeps for tiles up to this shape, without its inputs."""
        block = self._block_shape(tile_shape)
        voxels = block[0] * block[1] * block[2]
        a = self._network.architecture
        # Full resolution: estimate, a view, its blur and correction, and their cells. Then the widest moment at half
        # resolution, with the copies that convolutions make.
        full = 12.0
        half = (3 * a.view_maps + 3 * a.maps + 16 + a.deep_maps / 4) / 8 * _CONVOLUTION_COPIES
        return self._deconvolution.working_bytes(block) + int(_FLOAT_BYTES * voxels * (full + half))

    def _network_stage(self, order: tuple[int, ...]) -> Stage:
        halo = self._halo()
        back, blur = self._deconvolution.largest_radii
        return Stage(
            "network",
            order,
            view_halo=triple(h + b for h, b in zip(halo, back, strict=True)),
            estimate_halo=triple(h + b + r for h, b, r in zip(halo, back, blur, strict=True)),
            cost=_NETWORK_COST,
        )

    def _halo(self) -> Triple:
        """How far a block reaches beyond its tile: as far as a voxel looks, and on to the next multiple of the stride."""
        return (self._network.reach + self._network.stride - 1,) * 3

    def _block_shape(self, tile_shape: Triple) -> Triple:
        stride = self._network.stride
        return triple(
            min(-(-n // stride) * stride, t + 2 * h)
            for n, t, h in zip(self._views.grid.shape, tile_shape, self._halo(), strict=True)
        )

    def _block(self, tile: Box) -> Box:
        """The box that the network sees for a tile; it begins and ends at multiples of the stride or at the border."""
        stride, reach = self._network.stride, self._network.reach
        grown = Box(
            triple((a - reach) // stride * stride for a in tile.start),
            triple(-(-(b + reach) // stride) * stride for b in tile.stop),
        )
        return grown.clip(self._views.grid.shape)

    def _correct(self, tile: TileInput) -> torch.Tensor:
        assert tile.estimate is not None
        assert tile.estimate_box is not None
        block = self._block(tile.tile)
        network, scale = self._network, self._scale
        estimate = self._padded(tile.estimate[block.inside(tile.estimate_box).slices] / scale)[None, None]
        with torch.no_grad(), self._autocast():
            known = network.know(estimate)
            seen = None
            for v in range(len(self._views)):
                seen = network.see(
                    seen, known, estimate[0], *(self._padded(x)[None] for x in self._evidence(v, block, tile))
                )
            assert seen is not None
            fused = network.correct(seen, known, estimate)[0, 0]
        return fused[tile.tile.inside(block).slices] * scale

    def _evidence(self, v: int, block: Box, tile: TileInput) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """View, blurred estimate and correction over a block, brightness divided by the scale."""
        assert tile.estimate is not None
        assert tile.estimate_box is not None
        view_box, estimate_box = self._deconvolution.evidence_boxes(v, block)
        view = tile.values[v][view_box.inside(tile.view_box).slices]
        covered = None if tile.coverage is None else tile.coverage[v][view_box.inside(tile.view_box).slices]
        estimate = tile.estimate[estimate_box.inside(tile.estimate_box).slices]
        blurred, correction = self._deconvolution.evidence(v, block, view, covered, estimate)
        inner = block.inside(view_box).slices
        pixels = view[inner] if covered is None else torch.lerp(blurred, view[inner], covered[inner])
        return pixels / self._scale, blurred / self._scale, correction

    def _padded(self, values: torch.Tensor) -> torch.Tensor:
        """Zeros after the far border, up to a multiple of the stride."""
        stride = self._network.stride
        after = [-n % stride for n in values.shape]
        return functional.pad(values, [0, after[2], 0, after[1], 0, after[0]]) if any(after) else values


def bind_universal(
    views: RegisteredViews,
    network: UniversalGenerator,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> Generator[Event, None, BoundUniversal]:
    """Scan the views, and bring network and deconvolution together.

    Views are deconvolved in the order of angles and names, so that the order in which they were given does not matter.
    """
    yield from views.scan()
    order = sorted(range(len(views)), key=lambda v: (views.views[v].angle or 0.0, views.names[v]))
    ordered = views.select([views.names[v] for v in order])
    deconvolution = yield from deconvolution_of(network.architecture).prepare(ordered, device)
    return BoundUniversal(ordered, order, deconvolution, network, device, autocast)
