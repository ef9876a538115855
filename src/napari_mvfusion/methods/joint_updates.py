"""The updates of the joint Wiener deconvolution: what `JointWiener` makes of a volume, block by block.

Its formula stands there. The universal generator begins with the same image.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.noise_density import coarse_noise
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics
from napari_mvfusion.imaging import WienerBank
from napari_mvfusion.imaging.smoothing import smoothed
from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.measures.attenuation import Transmission
from napari_mvfusion.methods.base import Step, Steps, TileInput
from napari_mvfusion.methods.cells import Cells, FilterSteps
from napari_mvfusion.methods.filter_input import brightness_scale, filled, recorded
from napari_mvfusion.methods.steps import map_steps
from napari_mvfusion.psf.usable import normalised
from napari_mvfusion.system.devices import free_bytes

_FLOAT_BYTES = 4
# How far a block is mirrored beyond its border before it wraps round; in a preview, whose border is cut off, less.
_MIRRORED = 32
_MIRRORED_ROUGHLY = 8
# Level of the filter: this many times the variance of the noise over that of the structure, for each view, in bounds.
_LEVEL_OF_NOISE = 6.0
_LEAST_LEVEL, _MOST_LEVEL = 0.01, 0.06
# Light below which differences count no more for being in the dark, in units of the brightness that counts as 1.
_DARK = 0.03
# Updates end when one changes the picture by less than this share of it (root mean square), or after so many.
_LEAST_CHANGE = 0.003
MOST_UPDATES = 24
# How many it mostly takes, for the progress.
_LIKELY_UPDATES = 10
# How wrong the guess is about light from where no view has data, in parts of the light at hand.
_GUESS = 0.25
# Width of the surroundings in which an update is compared with what noise would make, voxels.
_SURROUNDINGS = 1.5
_KEPT_BYTES = 2**31
_KEPT_SHARE = 8
_TINY = 1e-20


def level_for(statistics: Sequence[ViewStatistics], noise: Sequence[float]) -> float:
    """The level of the filter: the ratio of noise to structure, mean over the views, for as many views as there are.

    `noise` is its density at coarse patterns, which is what the filter would bring out: that of white noise its variance.

    Within bounds: what is beyond them was worse on simulated embryos and nuclei at 4 to 30 times the signal of the noise.
    """
    ratios = []
    for numbers, density in zip(statistics, noise, strict=True):
        structure = numbers.mean_square - numbers.mean**2 - numbers.noise
        ratios.append(density / structure if structure > 0 else _MOST_LEVEL)
    level = _LEVEL_OF_NOISE * sum(ratios) / len(ratios) ** 2
    return min(max(level, _LEAST_LEVEL), _MOST_LEVEL)


def level_of(views: RegisteredViews) -> float:
    """The level of the filter that the noise of views asks for."""
    statistics = views.statistics()
    noise = [numbers.noise * share for numbers, share in zip(statistics, coarse_noise(views), strict=True)]
    return level_for(statistics, noise)


@dataclass(frozen=True, eq=False)
class SeenBlock:
    """A block of the volume and what was seen of it; float32 (view, z, y, x), in units of the brightness that is 1.

    Attributes
    ----------
    pixels : the views
    counted : how much what they differ by counts: where they have data, and less where light comes from what none sees
    unsure : (z, y, x), energy of what guesses about that light may make of them, in parts of their light
    transmission : share of the light that each got; None for all
    passed : (z, y, x), mean of the transmissions; None likewise
    margin : how far the block is mirrored beyond its border
    """

    pixels: torch.Tensor
    counted: torch.Tensor
    unsure: torch.Tensor
    transmission: torch.Tensor | None
    passed: torch.Tensor | None
    margin: Triple


class JointUpdates:
    """The updates of one volume, cell by cell.

    Parameters
    ----------
    views : the views, scanned
    transmission : how much of the light each view got: a function of the whole volume, an array over all of it, float32
        (view, z, y, x), or None for all
    device : where it computes
    iterations : how many updates, the filter that they begin with among them, but not an estimate; until they change little
        when None
    smoothness : factor of the level of the filter that the noise of the views asks for

    Attributes
    ----------
    device : where it computes
    level : of the filter
    scale : brightness of the views that counts as 1
    share : of the light of the specimen that the views saw: images of blocks are in units of what the views see
    cells : of the volume
    taken : after how many updates blocks ended
    """

    def __init__(
        self,
        views: RegisteredViews,
        transmission: Transmission | torch.Tensor | None,
        device: torch.device,
        *,
        iterations: int | None = None,
        smoothness: float = 1.0,
    ) -> None:
        self._views = views
        self._shape = views.grid.shape
        statistics = views.statistics()
        self.scale = brightness_scale(statistics)
        # Relative to their mean: units are those of what the views saw, and the specimen is brighter.
        self.share, self._transmission = _relative(transmission)
        self._most = MOST_UPDATES if iterations is None else iterations
        self._least_change = _LEAST_CHANGE if iterations is None else 0.0
        self._likely = _LIKELY_UPDATES if iterations is None else iterations
        self.taken: set[int] = set()
        self.device = device
        weights = [view.weight for view in views.views]
        self._trusts = [weight / sum(weights) for weight in weights]
        self._shares = torch.tensor(self._trusts, device=device)[:, None, None, None]
        self.level = level_of(views) * smoothness
        psfs = [normalised(view.psf) for view in views.views if view.psf is not None]
        self._bank = WienerBank(psfs, weights, (self.level,), 0, device)
        # Photon noise: its variance follows the light, and is what was measured where the light is the mean of a view.
        self._noise = [numbers.noise / self.scale**2 / (numbers.mean / self.scale + _DARK) for numbers in statistics]
        self._margin = _MIRRORED_ROUGHLY if views.rough_border else _MIRRORED
        keep = min(_KEPT_BYTES, free_bytes(device) // _KEPT_SHARE)
        self.cells = Cells(self._shape, 1, keep)

    @property
    def outcome(self) -> str | None:
        """After how many updates blocks ended and why; None where the number was given."""
        if not self.taken or not self._least_change:
            return None
        least, most = min(self.taken), max(self.taken)
        number = f"{most}" if least == most else f"{least} to {most}, by the place"
        if least == MOST_UPDATES:
            return f"ended after {number} iterations, the most that it may take: there is still structure to be found"
        return f"ended after {number} iterations: what is left to be found is noise"

    def fuse(self, tile: TileInput) -> Steps:
        """One tile: float32 (z, y, x) on the device."""
        fused = torch.zeros((1, *tile.tile.shape), device=tile.values.device)
        work = self.cells.assemble(tile.tile, partial(self._filter, tile), [fused], keep=tile.tile.shape != self._shape)
        yield from map_steps(work, lambda share: Step("updates", share))
        return fused[0].mul_(self.scale / self.share)

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the memory in use, with what is kept; the pixels of the tile not counted."""
        return self.block_bytes() + (self.cells.kept_bytes if tile_shape != self._shape else 0)

    def block_bytes(self) -> int:
        """The same without cells that are kept."""
        block, count = self.cells.largest_block, len(self._views)
        voxels = block[0] * block[1] * block[2]
        # Of a block the views, how much they count, where it matters their transmission, and what pixels that are filled are
        # made of. Then the image, those before it, what an update takes, and the places at which transmissions are
        # interpolated.
        mine = voxels * (4 * count + 18)
        return _FLOAT_BYTES * mine + self._bank.working_bytes(block, (self._margin,) * 3)

    def kept_bytes(self) -> int:
        """What is kept between blocks, without cells."""
        return self._bank.kept_bytes(self.cells.largest_block, (self._margin,) * 3)

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._bank.release()
        self.cells.release()

    def _filter(self, tile: TileInput, block: Box, part: Box) -> FilterSteps:
        """What the updates make of a block: one volume over a part of it."""
        _, image = yield from self.updated(tile, block)
        return [image[part.slices][None]]

    def updated(self, tile: TileInput, block: Box) -> Generator[float, None, tuple[SeenBlock, torch.Tensor]]:
        """What was seen of a block, and what the updates make of it, from the estimate where there is one: (z, y, x)."""
        seen = self._seen(tile, block)
        image = before = self._first(tile, block, seen) if tile.estimate is None else self._given(tile, block)
        gains = self._bank.noise_gains(block.shape, seen.margin)
        # The filter of the views is the first update; an estimate is none.
        update, ahead_for, last = int(tile.estimate is None), 1, inf
        while update < self._most:
            yield update / max(self._likely, update + 1)
            update += 1
            ahead_for += 1
            ahead = (ahead_for - 2) / (ahead_for + 1)
            point = torch.lerp(before, image, 1 + ahead).clamp_(min=0)
            step = self._step(point, seen, gains)
            change = float(torch.linalg.vector_norm(step) / torch.linalg.vector_norm(point).clamp(min=_TINY))
            before, image = image, point.add_(step).clamp_(min=0)
            if change < self._least_change:
                break
            if change > last:
                # Too far ahead: with short PSFs and much light it would go on growing.
                ahead_for = 1
            last = change
        self.taken.add(update)
        return seen, image

    def step_from(self, image: torch.Tensor, tile: TileInput, block: Box) -> torch.Tensor:
        """What an update would add to an image of a block: (z, y, x), both in the brightness of the specimen."""
        seen = self._seen(tile, block)
        gains = self._bank.noise_gains(block.shape, seen.margin)
        unit = self.share / self.scale
        return self._step((image * unit).clamp_(min=0), seen, gains).div_(unit)

    def sharper(
        self, image: torch.Tensor, seen: SeenBlock, levels: Sequence[float], part: Box
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each view would look like if an image were the truth, and the image with what it lacks, at finer levels.

        Parameters
        ----------
        image : (z, y, x), of a block
        seen : of that block
        levels : of the filter that brings back what is missing; a small one brings more detail, and more noise
        part : of the block

        Returns
        -------
        float32 (view, z, y, x) and (level, z, y, x) over the part, in units of what the views see.
        """
        expected = torch.empty((len(self._views), *part.shape), device=image.device)
        weight = torch.zeros_like(image)

        def missing() -> Iterator[torch.Tensor]:
            for v, (blurred, _, left) in enumerate(self._compared(image, seen, weight)):
                expected[v] = blurred[part.slices]
                yield left

        finer = self._bank.at_levels(missing(), part, seen.margin, levels)
        return expected, finer.mul_(_step_length(weight, image, seen)[part.slices]).add_(image[part.slices])

    def _step(self, point: torch.Tensor, seen: SeenBlock, gains: list[float]) -> torch.Tensor:
        """What an update adds at a point; all (z, y, x)."""
        noise, weight = torch.zeros_like(point), torch.zeros_like(point)

        def missing() -> Iterator[torch.Tensor]:
            for v, (expected, share, left) in enumerate(self._compared(point, seen, weight)):
                yield left
                # Variance of what is seen over the square of what it is divided by; alike where no light is lost.
                energy = share if seen.passed is None else share.square_().mul_(expected.add_(_DARK))
                energy.mul_(seen.counted[v]).mul_(seen.counted[v])
                noise.add_(energy, alpha=gains[v] * self._noise[v])

        step = self._bank.at_base_level(missing(), seen.margin)
        weight = _step_length(weight, point, seen)
        step.mul_(weight)
        noise.add_(seen.unsure).mul_(weight.square_())
        poll()
        found, brought = smoothed([step.square(), noise], _SURROUNDINGS)
        return step.mul_(found.sub(brought).div_(found.add_(_TINY)).clamp_(min=0))

    def _compared(
        self, image: torch.Tensor, seen: SeenBlock, weight: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """View after view what is expected of it, 1 over its light, and what the image does not say of it, in parts of that.

        The light that all see is added up in `weight`.
        """
        dark = _DARK if seen.passed is None else _DARK * seen.passed
        for v, expected in enumerate(self._bank.blurred(image, seen.margin, seen.transmission)):
            left = seen.pixels[v] - expected
            expected.clamp_(min=0)
            weight.add_(expected, alpha=self._trusts[v])
            share = (expected + dark).reciprocal_()
            yield expected, share, left.mul_(share).mul_(seen.counted[v])

    def _first(self, tile: TileInput, block: Box, seen: SeenBlock) -> torch.Tensor:
        """What the updates begin with, (z, y, x): the filter of the views, filled where they have no data."""
        views = seen.pixels if tile.coverage is None else filled(block, tile, seen.transmission).div_(self.scale)
        passed = (view if seen.passed is None else view / seen.passed for view in views)
        return self._bank.at_base_level(passed, seen.margin).clamp_(min=0)

    def _given(self, tile: TileInput, block: Box) -> torch.Tensor:
        """The estimate of the tile over a block, in units of what the views see: (z, y, x)."""
        assert tile.estimate is not None
        assert tile.estimate_box is not None
        given = tile.estimate[block.inside(tile.estimate_box).slices]
        return (given * (self.share / self.scale)).clamp_(min=0)

    def _seen(self, tile: TileInput, block: Box) -> SeenBlock:
        margin = triple(min(self._margin, n - 1) for n in block.shape)
        transmission = self._transmission_over(block)
        passed = None if transmission is None else (transmission * self._shares).sum(dim=0)
        values, covered = recorded(block, tile)
        lit = torch.ones(block.shape, device=self.device) if covered is None else (covered.amax(dim=0) > 0).float()
        counted = self._bank.from_within(lit, margin)
        unsure = torch.zeros_like(lit)
        for within, trust in zip(counted, self._trusts, strict=True):
            unsure.add_(within * (1 - within), alpha=_GUESS * trust)
        if covered is not None:
            counted.mul_(covered)
        return SeenBlock(values / self.scale, counted, unsure.square_(), transmission, passed, margin)

    def _transmission_over(self, block: Box) -> torch.Tensor | None:
        if isinstance(self._transmission, Transmission):
            return self._transmission.over(self._views.in_frame(block), self.device)
        return None if self._transmission is None else self._transmission[(slice(None), *block.slices)]


def _relative(transmission: Transmission | torch.Tensor | None) -> tuple[float, Transmission | torch.Tensor | None]:
    """The mean share of the light, and the transmission relative to it."""
    if transmission is None:
        return 1.0, None
    if isinstance(transmission, torch.Tensor):
        share = float(transmission.mean(dtype=torch.float64))
        return share, transmission / share
    share = transmission.mean_share
    if share == 1:
        return share, transmission
    return share, replace(transmission, values=(transmission.values / share).astype(np.float32))


def _step_length(expected: torch.Tensor, image: torch.Tensor, seen: SeenBlock) -> torch.Tensor:
    """The mean of the light at the voxels and of what is seen of it; in place of the mean of the expected views."""
    if seen.passed is not None:
        expected.div_(seen.passed)
    return expected.mul_(image).sqrt_().add_(_DARK)
