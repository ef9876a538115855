"""Tiles to learn from, and how a network is run on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from napari_mvfusion.geometry import Triple
from napari_mvfusion.networks.build import Generator
from napari_mvfusion.networks.universal import UniversalGenerator

# What a volume holds a view each of; the others are single volumes.
PER_VIEW = ("views", "blurred", "correction")
_TRIES = 2
_BRIGHTER = 0.75


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume ready for a network, brightness divided by the network's scale.

    Attributes
    ----------
    arrays : float16 by name: "views" (view, z, y, x), for the universal generator also "blurred", "correction" (the
        same shape) and "estimate" (z, y, x); "target" (z, y, x) where the truth is known
    span : range of the target, or of the views where there is none: errors are counted in units of it
    scale : brightness of the recording that counts as 1
    """

    arrays: Mapping[str, np.ndarray]
    span: float
    scale: float

    @property
    def shape(self) -> Triple:
        """Voxels along (z, y, x)."""
        z, y, x = self.arrays["views"].shape[1:]
        return z, y, x


@dataclass(frozen=True, eq=False)
class Sample:
    """A tile of a volume, float32 with a leading batch axis of 1 on the device; see `Volume`."""

    tensors: Mapping[str, torch.Tensor]
    span: float

    @property
    def target(self) -> torch.Tensor:
        """The truth, (1, 1, z, y, x)."""
        return self.tensors["target"]


def draw(volume: Volume, tile: Triple, rng: np.random.Generator, device: torch.device, *, turn: bool) -> Sample:
    """Cut a random tile, mirrored at random, and turned at random where the network allows it.

    Of two places the brighter one is taken more often: most of a volume is dark.
    """
    corners = [_corner(volume.shape, tile, rng) for _ in range(_TRIES)]
    guide = volume.arrays.get("target", volume.arrays["views"][0])
    light = [float(guide[_slices(corner, tile)].mean(dtype=np.float32)) for corner in corners]
    order = np.argsort(light)
    corner = corners[order[-1] if rng.random() < _BRIGHTER else order[0]]
    flips = [axis for axis in (-3, -2, -1) if rng.random() < 0.5]
    axes = rng.permutation(3) if turn else np.arange(3)
    return cut(volume, corner, tile, device, flips=flips, axes=axes)


def cut(
    volume: Volume,
    corner: Triple,
    tile: Triple,
    device: torch.device,
    *,
    flips: list[int] | None = None,
    axes: np.ndarray | None = None,
) -> Sample:
    """The tile that begins at a corner, its axes mirrored and then permuted where that is asked for."""
    tensors = {}
    for name, array in volume.arrays.items():
        values = torch.from_numpy(array[(..., *_slices(corner, tile))].astype(np.float32)).to(device)
        if flips:
            values = values.flip(flips)
        if axes is not None:
            values = values.permute(*range(values.ndim - 3), *(int(a) - 3 for a in axes))
        tensors[name] = values[None] if name in PER_VIEW else values[None, None]
    return Sample(tensors, volume.span)


def run_network(network: Generator, sample: Sample) -> torch.Tensor:
    """The generated volume of a tile, (1, 1, z, y, x) float32."""
    t = sample.tensors
    universal = ("views", "blurred", "correction", "estimate")
    names = universal if isinstance(network, UniversalGenerator) else universal[:1]
    generated: torch.Tensor = network(*(t[name] for name in names))
    return generated.float()


def _corner(shape: Triple, tile: Triple, rng: np.random.Generator) -> Triple:
    """A random corner on multiples of 4, as in the engine."""
    z, y, x = (4 * int(rng.integers(0, (n - t) // 4 + 1)) for n, t in zip(shape, tile, strict=True))
    return z, y, x


def _slices(corner: Triple, tile: Triple) -> tuple[slice, slice, slice]:
    z, y, x = (slice(a, a + t) for a, t in zip(corner, tile, strict=True))
    return z, y, x
