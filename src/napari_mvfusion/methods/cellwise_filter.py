"""What the universal generator reads: the views, and what the Wiener filter of all of them makes, cell by cell.

Why in cells says `napari_mvfusion.methods.cells`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import log2, sqrt

import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics, drain
from napari_mvfusion.imaging import WienerBank
from napari_mvfusion.measures.attenuation import Transmission, find_transmission
from napari_mvfusion.methods.base import TileInput
from napari_mvfusion.methods.cells import Cells, FilterSteps
from napari_mvfusion.methods.filter_input import brightness_scale, filled, recorded
from napari_mvfusion.methods.joint_updates import JointUpdates
from napari_mvfusion.models.universal import UniversalArchitecture

_FLOAT_BYTES = 4
# How far a block is mirrored beyond its border before it wraps round.
_MIRRORED = 32
# Light below which the noise of roots is taken to grow no more, and bounds of that noise.
_DARK = 0.03
_LEAST_NOISE, _MOST_NOISE = 1e-3, 1.0
# Variance of the structure over that of the noise, with which no update would be made; four times as much allows one.
_NO_UPDATE = 1.5
# Share of an update that is not worth its time.
_LEAST_STEP = 0.02


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What the network reads, brightness divided by `scale`; float32.

    Attributes
    ----------
    views, blurred : (view, z, y, x), see `UniversalGenerator.forward`
    sharp : (level, z, y, x), likewise
    transmission : (view, z, y, x), likewise, a share; None where all light is known to have passed, or nothing is known
    noise : (view, 1, 1, 1), likewise; None where the network is not told
    estimate : (z, y, x), the level that the network changes, not negative
    scale : brightness of the views that counts as 1
    """

    views: torch.Tensor
    blurred: torch.Tensor
    sharp: torch.Tensor
    transmission: torch.Tensor | None
    noise: torch.Tensor | None
    estimate: torch.Tensor
    scale: float


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
        self._levels = architecture.images
        self._base = architecture.base
        self._scale = scale
        self._device = device
        psfs = [view.psf / view.psf.sum(dtype=float) for view in views.views if view.psf is not None]
        weights = [view.weight for view in views.views]
        self._shares = torch.tensor(weights, device=device)[:, None, None, None] / sum(weights)
        self._bank = WienerBank(psfs, weights, architecture.levels, architecture.base, device)
        self._joint = JointUpdates(views, transmission, device) if architecture.starts_from == "wiener" else None
        self._cells = Cells(self._shape, self._count + self._levels, keep_bytes)

    @property
    def halo(self) -> Triple:
        """Voxels of the views that a target needs around it, at most."""
        return self._cells.halo

    def network_input(self, target: Box, tile: TileInput) -> NetworkInput:
        """What the network reads of a target, from the pixels of a tile with at least `halo` around the target."""
        return drain(self.network_input_steps(target, tile))

    def network_input_steps(self, target: Box, tile: TileInput) -> Generator[float, None, NetworkInput]:
        """The same, with the share of the work that is done at every update of the filter."""
        device = tile.values.device
        blurred = torch.zeros((self._count, *target.shape), device=device)
        sharp = torch.zeros((self._levels, *target.shape), device=device)
        transmission = self._transmission_over(target)
        keep = tile.tile.shape != self._shape
        yield from self._cells.assemble(target, partial(self._filter, tile), (blurred, sharp), keep=keep)
        pixels, covered = recorded(target, tile)
        if covered is not None:
            # Where a view has no data, it agrees with what is expected.
            pixels = torch.lerp(blurred if transmission is None else transmission * blurred, pixels, covered)
        sharp.div_(self._scale)
        return NetworkInput(
            pixels / self._scale,
            blurred.div_(self._scale),
            sharp,
            transmission,
            self._noise,
            sharp[self._base].clamp(min=0),
            self._scale,
        )

    @cached_property
    def _noise(self) -> torch.Tensor | None:
        """Standard deviation of the roots of the views, (view, 1, 1, 1): the same in light and dark, for counted photons."""
        if not self._architecture.noise:
            return None
        found = [
            sqrt(n.noise) / (2 * self._scale * sqrt(n.mean / self._scale + _DARK)) for n in self._views.statistics()
        ]
        return torch.tensor(found, device=self._device).clamp_(_LEAST_NOISE, _MOST_NOISE)[:, None, None, None]

    @cached_property
    def _updates(self) -> float:
        return updates_for(self._views.statistics(), self._architecture)

    def _filter(self, tile: TileInput, block: Box, part: Box) -> FilterSteps:
        """Filter a block of the views: what they should look like, and the levels, over a part of the block."""
        if self._joint is not None:
            return (yield from self._begun_with(self._joint, tile, block, part))
        margin = triple(min(_MIRRORED, n - 1) for n in block.shape)
        transmission = self._transmission_over(block)
        pixels = filled(block, tile, transmission)
        # Photon noise grows with the root of the light: divided by what passed on average, every view counts by its light.
        mean = None if transmission is None else (transmission * self._shares).sum(dim=0)
        values = iter(pixels) if mean is None else (view / mean for view in pixels)
        if not self._updates:
            return self._bank(values, part, margin)
        image = self._bank.at_base_level(values, margin).clamp_(min=0)
        # What stood in for others must not be explained.
        pixels, covered = recorded(block, tile)
        explained = torch.empty((self._count, *part.shape), device=image.device)

        def missing() -> Iterator[torch.Tensor]:
            """What the image does not say yet of each view; one after the other, as all together take much memory."""
            for v, expected in enumerate(self._bank.blurred(image, margin)):
                explained[v] = expected[part.slices]
                rest = pixels[v] - (expected if transmission is None else expected.mul_(transmission[v]))
                if covered is not None:
                    rest.mul_(covered[v])
                yield rest if mean is None else rest.div_(mean)

        # Whole steps, and a smaller one for what is left of a number that is not whole.
        left = self._updates - 1
        while left >= _LEAST_STEP:
            yield 1 - left / self._updates
            image = self._bank.at_base_level(missing(), margin).mul_(min(left, 1.0)).add_(image).clamp_(min=0)
            left -= 1
        more, sharp = self._bank(missing(), part, margin)
        return more.add_(explained), sharp.add_(image[part.slices])

    def _begun_with(self, joint: JointUpdates, tile: TileInput, block: Box, part: Box) -> FilterSteps:
        """The same, where the first image is what the updates of `wiener` end with."""
        seen, image = yield from joint.updated(tile, block)
        expected, finer = joint.sharper(image, seen, self._architecture.levels, part)
        sharp = torch.cat([image[part.slices][None], finer]).mul_(joint.scale / joint.share)
        transmission = self._transmission_over(part.within(block))
        # They are dimmed before the blur; the network dims what it is given by the light at the voxel.
        return [
            expected.mul_(joint.scale) if transmission is None else expected.mul_(joint.scale / transmission),
            sharp,
        ]

    def _transmission_over(self, box: Box) -> torch.Tensor | None:
        """Share of the light that each view got over a box, (view, z, y, x)."""
        if isinstance(self._transmission, torch.Tensor):
            return self._transmission[(slice(None), *box.slices)]
        return None if self._transmission is None else self._transmission.over(self._views.in_frame(box), self._device)

    def working_bytes(self, target: Triple, *, alone: bool = True) -> int:
        """An upper bound of the memory in use, with evidence of a target of this shape; if not alone, others follow."""
        block = self._cells.largest_block
        voxels = block[0] * block[1] * block[2]
        size = target[0] * target[1] * target[2]
        # Of a block what it gives, and the views where pixels are filled; what is missing of one, and the image. Before
        # the first update as much is taken by what pixels are filled from.
        mine = voxels * (3 * self._count + self._levels + 6) + size * (self._count + self._levels)
        if self._architecture.light:
            mine += voxels * (self._count + 1) + size * self._count
        bank = self._bank.working_bytes(block, (_MIRRORED,) * 3) if self._joint is None else self._joint.block_bytes()
        filtering = _FLOAT_BYTES * mine + bank
        kept = 0 if alone else self._cells.kept_bytes
        return kept + max(filtering, self._held_bytes(size) + 2 * _FLOAT_BYTES * size * self._count)

    def held_bytes(self, target: Triple, *, alone: bool = True) -> int:
        """What of that is still held when the evidence is there."""
        return self._held_bytes(target[0] * target[1] * target[2]) + (0 if alone else self._cells.kept_bytes)

    def _held_bytes(self, size: int) -> int:
        volumes = (3 if self._architecture.light else 2) * self._count + self._levels + 1
        if self._joint is not None:
            return _FLOAT_BYTES * size * volumes + self._joint.kept_bytes()
        return _FLOAT_BYTES * size * volumes + self._bank.kept_bytes(self._cells.largest_block, (_MIRRORED,) * 3)

    def release(self) -> None:
        """Drop what is kept between calls."""
        if self._joint is not None:
            self._joint.release()
        self._bank.release()
        self._cells.release()
