"""Deconvolution of all views at once, without a network: a handful of updates, each through one Wiener filter.

An update blurs the image with the PSF of every view, compares that with the views, and carries what they differ by back
with the Wiener filter of all views together. A back-projector that undoes the blur, where Richardson-Lucy has one that
blurs once more, needs a few updates instead of a hundred. Where what it finds is no more than the noise of the views
would make, it changes nothing, voxel by voxel: so the updates come to an end by themselves.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from napari_mvfusion.data.events import Event, Noted
from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.noise_density import coarse_noise
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics
from napari_mvfusion.imaging import WienerBank
from napari_mvfusion.imaging.smoothing import smoothed
from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.measures.attenuation import Transmission
from napari_mvfusion.methods.base import OneStage, Step, Steps, TileInput
from napari_mvfusion.methods.cells import Cells, FilterSteps
from napari_mvfusion.methods.deblurring import context_of_psfs, look_at_psfs, scan_light
from napari_mvfusion.methods.filter_input import brightness_scale, filled, recorded
from napari_mvfusion.methods.lost_light import (
    Attenuation,
    attenuation_field,
    known_transmission,
    look_at_transmissions,
)
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
_MOST_UPDATES = 24
# How many it mostly takes, for the progress.
_LIKELY_UPDATES = 10
# How wrong the guess is about light from where no view has data, in parts of the light at hand.
_GUESS = 0.25
# Width of the surroundings in which an update is compared with what noise would make, voxels.
_SURROUNDINGS = 1.5
_CONTEXT_VOXELS = 16
_KEPT_BYTES = 2**31
_KEPT_SHARE = 8
_TINY = 1e-20


class JointWiener(OneStage):
    """Parameters of the joint Wiener deconvolution.

    With `B` the Wiener filter of all views (`napari_mvfusion.imaging.WienerBank`), views `X_v`, PSFs `P_v`, transmissions
    `T_v` (1 where nothing is known), their mean `T`, and all brightness in units of that of the specimen, the image begins
    as `max(B[X_v / T], 0)`, and every further update is

        I' = max(I + m (I - I_before), 0),   E_v = (T_v I') (x) P_v,   d_v = (X_v - E_v) / (E_v + c T)
        I <- max(I' + s (sqrt(I' E) + c) B[d_v], 0),   E = mean of E_v over T

    with `m = (k - 2) / (k + 1)` in update k, and c = 0.03. In the light an update is multiplicative, as photon noise is,
    and in the dark it is not without bounds. The factor is the mean of the image and its blur: with the image alone
    peaks are brighter than what the views see of them, and updates grew without end where there was little noise; with
    the blur alone two opposed views took twice as many.

    Beyond its border the volume is mirrored, and where no view has data the mean of others stands, which nobody has seen.
    So `d_v` counts by the share w of `P_v` that lies where there are data, and w (1 - w) / 4 of the light counts as noise.
    The share `s = max(0, 1 - n / e)` compares the energy e of the update in a Gaussian of 1.5 voxels round a voxel with
    what that and the noise that was measured would bring there on their own, n.

    References
    ----------
    Guo et al., Rapid image deconvolution and multiview fusion for optical microscopy, Nature Biotechnology 38 (2020), for
    back-projectors that do not match the blur; Nesterov, Doklady 27 (1983), for m.
    """

    name: ClassVar[str] = "wiener"
    title: ClassVar[str] = "Wiener deconvolution"
    summary: ClassVar[str] = (
        "Deconvolves all views at once, in a few updates that leave noise alone: sharp, without a network."
    )
    stage: ClassVar[str] = "updates"
    coarse_first: ClassVar[bool] = True
    removes_hot: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"Best": {}, "Fast": {"iterations": 4}}

    iterations: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] = Field(
        default="auto",
        title="Iterations",
        description="More make the picture sharper, until all that is left to be found is noise, which is left alone. auto "
        f"goes on until that is so, {_MOST_UPDATES} at most.",
    )
    smoothness: float = Field(
        default=1.0,
        gt=0,
        le=100,
        title="Smoothness",
        description="Above 1 keeps more noise out than its measured strength asks for, below 1 less.",
    )
    attenuation: Attenuation = attenuation_field("estimated")

    def check(self, views: RegisteredViews) -> list[str]:
        """Look at the PSFs, and at transmissions that are given; see `look_at_psfs`."""
        return [*look_at_psfs(views), *look_at_transmissions(views, self.attenuation)]

    def context(self, views: RegisteredViews) -> Triple:
        """What a voxel visibly depends on: most of the reach of the PSFs."""
        return triple(max(n, _CONTEXT_VOXELS) for n in context_of_psfs(views))

    def precompute(self, views: RegisteredViews, device: torch.device) -> Generator[Event, None, JointUpdates]:
        """Scan the views, and find how noisy they are and how much light they lost.

        Raises
        ------
        InputError
            If a view is constant or negative somewhere.
        """
        statistics = yield from scan_light(views)
        transmission = yield from known_transmission(views, self.attenuation)
        noise = [numbers.noise * share for numbers, share in zip(statistics, coarse_noise(views), strict=True)]
        level = level_for(statistics, noise) * self.smoothness
        yield Noted(f"the filter allows for noise of {level:.2%} of what the views see best")
        most = None if self.iterations == "auto" else self.iterations
        return JointUpdates(views, statistics, noise, transmission, level, most, device)

    def halo(self, views: RegisteredViews, precomputed: JointUpdates) -> Triple:
        """What the cells need."""
        return precomputed.cells.halo

    def fuse_tile(self, tile: TileInput, views: RegisteredViews, precomputed: JointUpdates) -> Steps:
        """One tile, cell by cell."""
        return precomputed.fuse(tile)

    def tile_bytes(self, tile_shape: Triple, views: RegisteredViews, precomputed: JointUpdates) -> int:
        """See `BoundMethod.working_bytes`."""
        return precomputed.working_bytes(tile_shape)

    def outcome(self, precomputed: JointUpdates) -> str | None:
        """After how many updates it ended and why, where that was left to it."""
        return precomputed.outcome

    def release(self, precomputed: JointUpdates) -> None:
        """Drop transfer functions, and cells that are kept for the next tile."""
        precomputed.release()


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


@dataclass(frozen=True, eq=False)
class _Block:
    """A block of the volume and what was seen of it; float32 (view, z, y, x), in units of the brightness that is 1.

    Attributes
    ----------
    pixels : the views
    counted : how much what they differ by counts: where they have data, and less where light comes from what none sees
    unsure : (z, y, x), energy of what guesses about that light may make of them, in parts of their light
    transmission : share of the light that each got; None for all
    passed : (z, y, x), mean of the transmissions; None likewise
    """

    pixels: torch.Tensor
    counted: torch.Tensor
    unsure: torch.Tensor
    transmission: torch.Tensor | None
    passed: torch.Tensor | None


class JointUpdates:
    """The updates of one volume, cell by cell.

    Parameters
    ----------
    views : the views
    statistics, noise : of each of them; the density of the noise at coarse patterns, where the light is the mean
    transmission : how much of the light each view got; None for all
    level : of the filter
    iterations : how many updates; until they change little when None
    device : where it computes
    """

    def __init__(
        self,
        views: RegisteredViews,
        statistics: Sequence[ViewStatistics],
        noise: Sequence[float],
        transmission: Transmission | None,
        level: float,
        iterations: int | None,
        device: torch.device,
    ) -> None:
        self._views = views
        self._shape = views.grid.shape
        # Relative to their mean: units are those of what the views saw, and the specimen is brighter.
        share = 1.0 if transmission is None else transmission.mean_share
        self._transmission = transmission
        if transmission is not None and share != 1:
            self._transmission = replace(transmission, values=(transmission.values / share).astype(np.float32))
        self._most = _MOST_UPDATES if iterations is None else iterations
        self._least_change = _LEAST_CHANGE if iterations is None else 0.0
        self._likely = _LIKELY_UPDATES if iterations is None else iterations
        self._taken: set[int] = set()
        self._device = device
        self._scale = brightness_scale(statistics)
        self._result_scale = self._scale / share
        weights = [view.weight for view in views.views]
        self._trusts = [weight / sum(weights) for weight in weights]
        self._shares = torch.tensor(self._trusts, device=device)[:, None, None, None]
        psfs = [normalised(view.psf) for view in views.views if view.psf is not None]
        self._bank = WienerBank(psfs, weights, (level,), 0, device)
        # Photon noise: its variance follows the light, and is what was measured where the light is the mean of a view.
        self._noise = [numbers.noise / self._scale**2 / (numbers.mean / self._scale + _DARK) for numbers in statistics]
        self._margin = _MIRRORED_ROUGHLY if views.rough_border else _MIRRORED
        keep = min(_KEPT_BYTES, free_bytes(device) // _KEPT_SHARE)
        self.cells = Cells(self._shape, 1, keep)

    @property
    def outcome(self) -> str | None:
        """After how many updates blocks ended and why; None where the number was given."""
        if not self._taken or not self._least_change:
            return None
        least, most = min(self._taken), max(self._taken)
        number = f"{most}" if least == most else f"{least} to {most}, by the place"
        if least == _MOST_UPDATES:
            return f"ended after {number} iterations, the most that it may take: there is still structure to be found"
        return f"ended after {number} iterations: what is left to be found is noise"

    def fuse(self, tile: TileInput) -> Steps:
        """One tile: float32 (z, y, x) on the device."""
        fused = torch.zeros((1, *tile.tile.shape), device=tile.values.device)
        work = self.cells.assemble(tile.tile, partial(self._filter, tile), [fused], keep=tile.tile.shape != self._shape)
        yield from map_steps(work, lambda share: Step("updates", share))
        return fused[0].mul_(self._result_scale)

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the memory in use, with what is kept; the pixels of the tile not counted."""
        block, count = self.cells.largest_block, len(self._views)
        voxels = block[0] * block[1] * block[2]
        # Of a block the views, how much they count, where it matters their transmission, and what pixels that are filled are
        # made of. Then the image, those before it, what an update takes, and the places at which transmissions are
        # interpolated.
        mine = voxels * (4 * count + 18)
        kept = self.cells.kept_bytes if tile_shape != self._shape else 0
        return _FLOAT_BYTES * mine + kept + self._bank.working_bytes(block, (self._margin,) * 3)

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._bank.release()
        self.cells.release()

    def _filter(self, tile: TileInput, block: Box, part: Box) -> FilterSteps:
        """What the updates make of a block: one volume over a part of it."""
        margin = triple(min(self._margin, n - 1) for n in block.shape)
        seen = self._seen(tile, block, margin)
        image = before = self._first(tile, block, seen, margin)
        gains = self._bank.noise_gains(block.shape, margin)
        update = 1
        while update < self._most:
            yield update / max(self._likely, update + 1)
            update += 1
            ahead = (update - 2) / (update + 1)
            point = torch.lerp(before, image, 1 + ahead).clamp_(min=0)
            step = self._step(point, seen, gains, margin)
            change = float(torch.linalg.vector_norm(step) / torch.linalg.vector_norm(point).clamp(min=_TINY))
            before, image = image, point.add_(step).clamp_(min=0)
            if change < self._least_change:
                break
        self._taken.add(update)
        return [image[part.slices][None]]

    def _step(self, point: torch.Tensor, seen: _Block, gains: list[float], margin: Triple) -> torch.Tensor:
        """What an update adds at a point; all (z, y, x)."""
        noise, weight = torch.zeros_like(point), torch.zeros_like(point)
        dark = _DARK if seen.passed is None else _DARK * seen.passed

        def missing() -> Iterator[torch.Tensor]:
            """What the point does not say of each view, in parts of it, while noise and light of all are added up."""
            for v, expected in enumerate(self._bank.blurred(point, margin, seen.transmission)):
                left = seen.pixels[v] - expected
                expected.clamp_(min=0)
                weight.add_(expected, alpha=self._trusts[v])
                share = (expected + dark).reciprocal_()
                left.mul_(share).mul_(seen.counted[v])
                # Variance of what is seen over the square of what it is divided by; alike where no light is lost.
                energy = share if seen.passed is None else share.square_().mul_(expected.add_(_DARK))
                energy.mul_(seen.counted[v]).mul_(seen.counted[v])
                noise.add_(energy, alpha=gains[v] * self._noise[v])
                yield left

        step = self._bank.at_base_level(missing(), margin)
        # The mean of the light at the voxels and of what is seen of it.
        if seen.passed is not None:
            weight.div_(seen.passed)
        weight.mul_(point).sqrt_().add_(_DARK)
        step.mul_(weight)
        noise.add_(seen.unsure).mul_(weight.square_())
        poll()
        found, brought = smoothed([step.square(), noise], _SURROUNDINGS)
        share = found.sub(brought).div_(found.add_(_TINY)).clamp_(min=0)
        return step.mul_(share)

    def _first(self, tile: TileInput, block: Box, seen: _Block, margin: Triple) -> torch.Tensor:
        """What the updates begin with, (z, y, x): the filter of the views, filled where they have no data."""
        views = seen.pixels if tile.coverage is None else filled(block, tile, seen.transmission).div_(self._scale)
        passed = (view if seen.passed is None else view / seen.passed for view in views)
        return self._bank.at_base_level(passed, margin).clamp_(min=0)

    def _seen(self, tile: TileInput, block: Box, margin: Triple) -> _Block:
        transmission = passed = None
        if self._transmission is not None:
            transmission = self._transmission.over(self._views.in_frame(block), self._device)
            passed = (transmission * self._shares).sum(dim=0)
        values, covered = recorded(block, tile)
        lit = torch.ones(block.shape, device=self._device) if covered is None else (covered.amax(dim=0) > 0).float()
        counted = self._bank.from_within(lit, margin)
        unsure = torch.zeros_like(lit)
        for within, trust in zip(counted, self._trusts, strict=True):
            unsure.add_(within * (1 - within), alpha=_GUESS * trust)
        if covered is not None:
            counted.mul_(covered)
        return _Block(values / self._scale, counted, unsure.square_(), transmission, passed)
