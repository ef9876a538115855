"""Tiles to learn from, and how a network is run on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.methods.cellwise_filter import NetworkInput
from napari_mvfusion.models.build import Generator
from napari_mvfusion.models.universal import UniversalGenerator
from napari_mvfusion.training.unmended import Unmended

# What a volume holds several of; the others are single volumes.
STACKS = (
    "views",
    "blurred",
    "sharp",
    "coverage",
    "split_target",
    "expected",
    "fitted_transmission",
    "transmission",
    "noise",
)
TRIES = 2
"""Places that are drawn for a tile, of which one is taken; see `rather_bright`."""

_BRIGHTER = 0.75
_SPAN_PERCENTILE = 99.9


@dataclass(frozen=True, eq=False)
class Recording:
    """How views without a known truth came about.

    Attributes
    ----------
    names : of the views
    psfs : one a view, float32 (z, y, x) with odd sides and sum 1
    noise : one a view, brightness divided by the network's scale
    """

    names: tuple[str, ...]
    psfs: tuple[np.ndarray, ...]
    noise: tuple[Noise, ...]


@dataclass(frozen=True, eq=False)
class TrainingVolume:
    """A volume ready for a network, brightness divided by the network's scale.

    Attributes
    ----------
    arrays : float16 by name: "views" (view, z, y, x), for the universal generator also "blurred" (the same shape),
        "sharp" (level, z, y, x) and, where they are told, "transmission" and "noise" (view, z, y, x), see `NetworkInput`;
        "target" (z, y, x) where the truth is known; "coverage" (view, z, y, x), 1 where a view has data, unless it is
        everywhere; "fitted_transmission" (view, z, y, x), how much of the result each view saw; "split_target" and
        "expected" (view, z, y, x), what a result is compared with where the noise is split, and the views without any
        noise, roughly
    span : range of the target, or of the views where there is none: errors are counted in units of it
    scale : brightness of the recording that counts as 1
    recording : PSFs and noise, where the views themselves are learned from
    noise_split : the same, as the network reads it with the noise split
    held_out : whether it is of a family that is never trained on, and that may not decide which weights are kept
    unmended : what the updates leave of an error that follow the network, where that counts
    """

    arrays: Mapping[str, np.ndarray]
    span: float
    scale: float
    recording: Recording | None = None
    noise_split: TrainingVolume | None = None
    held_out: bool = False
    unmended: Unmended | None = None

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        z, y, x = self.arrays["views"].shape[1:]
        return z, y, x


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """A tile of a volume, float32 with a leading batch axis of 1 on the device; see `TrainingVolume`.

    Attributes
    ----------
    tensors, span, recording : as those of the volume
    flips : axes along which the tile was mirrored, -3 to -1
    axes : how its axes (z, y, x) were permuted afterwards
    example : a tile with its truth, of another specimen, to learn from at the same time
    unmended : share of each frequency of an error that is left after the updates that follow the network, float32 (z, y, x)
    """

    tensors: Mapping[str, torch.Tensor]
    span: float
    recording: Recording | None = None
    flips: tuple[int, ...] = ()
    axes: Triple = (0, 1, 2)
    example: TrainingSample | None = None
    unmended: torch.Tensor | None = None

    @property
    def target(self) -> torch.Tensor:
        """The truth, (1, 1, z, y, x)."""
        return self.tensors["target"]


def arrays_of(network_input: NetworkInput) -> dict[str, np.ndarray]:
    """What the universal generator reads, as a volume holds it."""
    tensors = {
        "views": network_input.views,
        "blurred": network_input.blurred,
        "sharp": network_input.sharp,
        "estimate": network_input.estimate,
    }
    if network_input.transmission is not None:
        tensors["transmission"] = network_input.transmission
    if network_input.noise is not None:
        tensors["noise"] = network_input.noise.expand_as(network_input.views)
    # Values beyond what float16 holds do not occur: 1 is the brightness of bright structures.
    return {name: values.cpu().numpy().astype(np.float16) for name, values in tensors.items()}


def draw(
    volume: TrainingVolume, tile: Triple, rng: np.random.Generator, device: torch.device, *, turn: bool
) -> TrainingSample:
    """Cut a random tile, mirrored at random, and turned at random where the network allows it.

    Of two places the brighter one is taken more often: most of a volume is dark.
    """
    corners = [_corner(volume.shape, tile, rng) for _ in range(TRIES)]
    guide = volume.arrays.get("target", volume.arrays["views"][0])
    light = [float(guide[_slices(corner, tile)].mean(dtype=np.float32)) for corner in corners]
    return cut_at_random(volume, corners[rather_bright(light, rng)], tile, rng, device, turn=turn)


def rather_bright(light: Sequence[float] | np.ndarray, rng: np.random.Generator) -> int:
    """Index of the brightest of some places, or at times of the darkest: most of a volume is dark."""
    order = np.argsort(light)
    return int(order[-1] if rng.random() < _BRIGHTER else order[0])


def cut_at_random(
    volume: TrainingVolume, corner: Triple, tile: Triple, rng: np.random.Generator, device: torch.device, *, turn: bool
) -> TrainingSample:
    """The tile that begins at a corner, mirrored at random, and turned at random where the network allows it."""
    flips = [axis for axis in (-3, -2, -1) if rng.random() < 0.5]
    axes = rng.permutation(3) if turn else np.arange(3)
    return cut(volume, corner, tile, device, flips=flips, axes=axes)


def ends(values: np.ndarray) -> tuple[float, float]:
    """The darkest and the brightest value, without the last 0.1 % on either side."""
    low, high = np.percentile(values, [100 - _SPAN_PERCENTILE, _SPAN_PERCENTILE])
    return float(low), float(high)


def part_of(volume: TrainingVolume, box: Box) -> TrainingVolume:
    """A box of a volume, without a copy."""
    arrays = {name: values[(..., *box.slices)] for name, values in volume.arrays.items()}
    return replace(volume, arrays=arrays)


def cut(
    volume: TrainingVolume,
    corner: Triple,
    tile: Triple,
    device: torch.device,
    *,
    flips: list[int] | None = None,
    axes: np.ndarray | None = None,
) -> TrainingSample:
    """The tile that begins at a corner, its axes mirrored and then permuted where that is asked for."""
    tensors = {}
    for name, array in volume.arrays.items():
        values = torch.from_numpy(array[(..., *_slices(corner, tile))].astype(np.float32)).to(device)
        if flips:
            values = values.flip(flips)
        if axes is not None:
            values = values.permute(*range(values.ndim - 3), *(int(a) - 3 for a in axes))
        tensors[name] = values[None] if name in STACKS else values[None, None]
    order = (0, 1, 2) if axes is None else triple(axes)
    left = None
    if volume.unmended is not None:
        left = volume.unmended.share(tile).to(device)
        for axis in flips or ():
            left = left.flip(axis).roll(1, axis)
        left = left.permute(order)
    return TrainingSample(tensors, volume.span, volume.recording, tuple(flips or ()), order, unmended=left)


def upright(values: torch.Tensor, sample: TrainingSample) -> torch.Tensor:
    """Bring what lies as a tile does, (..., z, y, x), back to where the tile lay in its volume."""
    back = [int(a) - 3 for a in np.argsort(sample.axes)]
    turned = values.permute(*range(values.ndim - 3), *back)
    return turned.flip(sample.flips) if sample.flips else turned


def run_network(network: Generator, sample: TrainingSample) -> torch.Tensor:
    """The generated volume of a tile, (1, 1, z, y, x) float32."""
    generated: torch.Tensor = network(*_read(network, sample))
    return generated.float()


def generate(network: Generator, sample: TrainingSample) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same, and how far it may be off where the network says so; see `UniversalGenerator.decode`."""
    if not (isinstance(network, UniversalGenerator) and network.architecture.uncertainty):
        return run_network(network, sample), None
    generated, error = network.generate(*_read(network, sample))
    return generated.float(), error


def _read(network: Generator, sample: TrainingSample) -> list[Any]:
    """What a network reads of a tile."""
    t = sample.tensors
    if not isinstance(network, UniversalGenerator):
        return [t["views"]]
    return [t["views"], t["blurred"], t["sharp"], t.get("transmission"), t.get("noise")]


def _corner(shape: Triple, tile: Triple, rng: np.random.Generator) -> Triple:
    """A random corner on multiples of 4, as in the engine."""
    z, y, x = (4 * int(rng.integers(0, (n - t) // 4 + 1)) for n, t in zip(shape, tile, strict=True))
    return z, y, x


def _slices(corner: Triple, tile: Triple) -> tuple[slice, slice, slice]:
    z, y, x = (slice(a, a + t) for a, t in zip(corner, tile, strict=True))
    return z, y, x
