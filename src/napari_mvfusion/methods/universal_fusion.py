"""The universal generator in the engine: the Wiener filter of all views, one pass of the network, updates from the views.

The network sees its tile with all that a voxel can look at, in blocks that begin at multiples of its stride; how tiles
share the filter says `cellwise_filter`. Then the updates of the joint Wiener deconvolution go on from the image of the
network: where the views saw a pattern well, they say what it is, and what none of them saw stays as the network made it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager

import torch
from torch.nn import functional

from napari_mvfusion.data.events import Event, Noted, Warned
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.measures.attenuation import (
    doubt_about_transmission,
    faint_transmission,
    lacking_for_transmission,
)
from napari_mvfusion.methods.base import Stage, Step, Steps, TileInput
from napari_mvfusion.methods.cellwise_filter import CellwiseFilter, NetworkInput, transmission_for
from napari_mvfusion.methods.deblurring import scan_light
from napari_mvfusion.methods.filter_input import brightness_scale
from napari_mvfusion.methods.joint_updates import JointUpdates
from napari_mvfusion.methods.steps import map_steps
from napari_mvfusion.models.universal import UniversalGenerator
from napari_mvfusion.system.devices import free_bytes

_FLOAT_BYTES = 4
_AXES = (-3, -2, -1)
# Filtered cells that neighbouring tiles share are kept: so many bytes, or this part of the free memory.
_KEPT_BYTES = 2**31
_KEPT_SHARE = 8
# Share of the filter in the time of a tile, and how many views the decoder is worth; for the progress.
_FILTER_SHARE = 0.55
_DECODER_VIEWS = 16
# Time of the updates over that of filter and network.
_COST_OF_UPDATES = 1.0
# How many updates follow the network. Where PSFs, registration and planes are as they are told, more would gain a little;
# where they are not quite, more take back what the network mended.
_UPDATES = 4
# Allocators hold back small pieces that they are given: as much as the network takes, but no more than this.
_HELD_BACK_BYTES = 2**29


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
    uncertainty : whether the result is how far the image may be off
    refined : whether updates from the views follow the network
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
        uncertainty: bool = False,
        refined: bool = False,
    ) -> None:
        self._mirrored = mirrored
        self._uncertainty = uncertainty
        self._shape = views.grid.shape
        self._network = network
        self._scale = brightness_scale(views.statistics())
        transmission = transmission_for(views, network.architecture)
        keep_bytes = min(_KEPT_BYTES, free_bytes(device) // _KEPT_SHARE)
        self._cellwise = CellwiseFilter(views, network.architecture, self._scale, device, transmission, keep_bytes)
        self._autocast = autocast
        halo = triple(network.reach + network.stride - 1 + n for n in self._cellwise.halo)
        self.stages: Sequence[Stage] = [Stage("filter and network", tuple(order), view_halo=halo)]
        self._joint: JointUpdates | None = None
        if refined:
            self._joint = JointUpdates(views, transmission, device, iterations=_UPDATES)
            halo = self._joint.cells.halo
            updates = Stage("updates", tuple(order), view_halo=halo, estimate_halo=halo, cost=_COST_OF_UPDATES)
            self.stages = [*self.stages, updates]
        self.extrapolation_floor: float | None = None
        self.taken: set[int] = set()

    def run(self, stage: Stage, tile: TileInput) -> Steps:
        """One tile: float32 (z, y, x) on the device."""
        if tile.estimate is not None:
            assert self._joint is not None
            self._cellwise.release()
            return (yield from self._joint.fuse(tile))
        block = self._block(tile.tile)
        network_input = yield from map_steps(
            self._cellwise.network_input_steps(block, tile), lambda share: Step("filter", share * _FILTER_SHARE)
        )
        fused = yield from self._generate(network_input, (), "network", 0)
        if self._mirrored:
            mirrored = yield from self._generate(network_input, _AXES, "network, mirror image", 1)
            fused = fused.add_(mirrored).mul_(0.5)
        return fused[tile.tile.inside(block).slices] * self._scale

    def _generate(self, network_input: NetworkInput, axes: tuple[int, ...], label: str, turn: int) -> Steps:
        """What the network makes of the block turned round along some axes, turned back: (z, y, x) with padding."""

        def turned(values: torch.Tensor) -> torch.Tensor:
            return self._padded(values).flip(axes)[None]

        def step(number: int) -> Step:
            share = (turn + number / (count + _DECODER_VIEWS)) / (2 if self._mirrored else 1)
            return Step(label, _FILTER_SHARE + (1 - _FILTER_SHARE) * share)

        network, count = self._network, len(network_input.views)
        yield step(0)
        # Modes of torch belong to the thread, so that none may be on while the caller has its turn.
        with torch.no_grad(), self._autocast():
            encoded = network.encode(turned(network_input.sharp))
        pooled = None
        for v, (view, blurred) in enumerate(zip(network_input.views, network_input.blurred, strict=True)):
            transmission = None if network_input.transmission is None else turned(network_input.transmission[v] - 1) + 1
            noise = None if network_input.noise is None else network_input.noise[v][None]
            with torch.no_grad(), self._autocast():
                pooled = network.accumulate(pooled, encoded, turned(view), turned(blurred), transmission, noise)
            yield step(v + 1)
        assert pooled is not None
        with torch.no_grad(), self._autocast():
            half, roots = network.joined(pooled, encoded), encoded.roots
            del pooled, encoded  # the widest moments are still to come
            image, error = network.decode(half, roots)
            shown = image if error is None or not self._uncertainty else error
            return shown[0, 0].flip(axes)

    def outcome(self) -> str | None:
        """Nothing: all that there is to say is said before."""
        return None

    def converged(self, change: float) -> bool:
        """Never asked: there are no iterations."""
        return True

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._cellwise.release()
        if self._joint is not None:
            self._joint.release()

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the memory that `run` takes and keeps for tiles up to this shape, without its inputs."""
        stride, reach = self._network.stride, self._network.reach
        block = triple(
            min(-(-n // stride) * stride, t + 2 * (reach + stride))
            for n, t in zip(self._shape, tile_shape, strict=True)
        )
        alone = tile_shape == self._shape
        generating = int(_FLOAT_BYTES * block[0] * block[1] * block[2] * self._network.widest)
        generating += min(generating, _HELD_BACK_BYTES)
        # One after the other, so that what only one of them takes counts once.
        return max(
            self._cellwise.working_bytes(block, alone=alone),
            self._cellwise.held_bytes(block, alone=alone) + generating,
            0 if self._joint is None else self._joint.working_bytes(tile_shape),
        )

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
    uncertainty: bool = False,
    refined: bool = False,
) -> Generator[Event, None, BoundUniversal]:
    """Scan the views, and bring network and filter together.

    Views are added up in the order of angles and names, so that the order in which they were given changes nothing.

    Raises
    ------
    InputError
        If a view is constant, or negative somewhere.
    """
    yield from scan_light(views)
    order = sorted(range(len(views)), key=lambda v: (views.views[v].angle or 0.0, views.names[v]))
    ordered = views.select([views.names[v] for v in order])
    if network.architecture.light:
        if lacking := lacking_for_transmission(ordered):
            yield Noted(lacking)
        if doubt := doubt_about_transmission(ordered):
            yield Warned(doubt)
        if faint := faint_transmission(ordered):
            yield Noted(faint)
    return BoundUniversal(
        ordered, order, network, device, autocast, mirrored=mirrored, uncertainty=uncertainty, refined=refined
    )
