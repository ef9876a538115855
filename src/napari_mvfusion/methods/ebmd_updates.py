"""The updates of EBMD on one tile: blurred start, then one multiplicative update a view and iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.data.views import RegisteredViews, ViewStatistics
from napari_mvfusion.imaging import (
    Convolver,
    Layout,
    Link,
    TransferCache,
    convolver_for,
    crop,
    good_size,
    lay_out,
    radius_of,
    transfer_bytes,
)
from napari_mvfusion.measures.attenuation import Transmission
from napari_mvfusion.methods.average import weighted_mean
from napari_mvfusion.methods.base import Stage, TileInput
from napari_mvfusion.methods.ebmd_weights import UpdateWeights

_START_SIGMA_VOXELS = 5.0
_START_BLENDING_VOXELS = 12.0
_START_REACH = 4.0
# Smallest value of the estimate, as a share of the mean of the views.
_FLOOR = 1e-4
# Share of a kernel's reach that is mirrored at a border that need not be exact; beyond, FFTs wrap round.
_ROUGH_MIRROR = 0.5


@dataclass(frozen=True, eq=False)
class ViewKernels:
    """The two kernels of a view, float64 (z, y, x), odd sizes, sum 1, cut to where they are not negligible.

    Attributes
    ----------
    blur : the PSF
    back : the back-projection kernel
    """

    blur: np.ndarray
    back: np.ndarray

    @classmethod
    def cropped(cls, blur: np.ndarray, back: np.ndarray) -> ViewKernels:
        """Cut both kernels to what they reach."""
        return cls(crop(blur, radius_of(blur)), crop(back, radius_of(back)))

    @property
    def blur_radius(self) -> Triple:
        """Voxels that the PSF reaches."""
        return _radius(self.blur)

    @property
    def back_radius(self) -> Triple:
        """Voxels that the back-projection kernel reaches."""
        return _radius(self.back)


class BoundEBMD:
    """EBMD with its views, kernels and device; see `napari_mvfusion.methods.base.BoundMethod`.

    Tiled equals whole up to the rounding of FFTs of different sizes: an update reads the estimate with a halo of both
    kernels and the view with a halo of the back-projection kernel, and mirrors only at the border of the volume.

    `run` returns a fresh tensor each time and never writes to one it has returned or was given. Between calls it keeps
    a work buffer, transfer functions (of all views when one tile is the whole volume, else of two shapes of tile for
    one view), and for a whole volume the weights and transmissions; `release` drops them.

    Parameters
    ----------
    views : the views
    kernels, statistics : one a view
    device : where it computes
    transmission : how much of the light each view got; None for all
    iterations : updates with each view
    accelerated : iterations begin beyond the estimate, see `napari_mvfusion.engine.acceleration`
    tikhonov : lambda
    osem : factor on the weight of every update
    stop_at_change : relative change of an iteration below which to stop
    convolver : how to convolve, or None for the fastest on this device
    """

    def __init__(
        self,
        views: RegisteredViews,
        kernels: Sequence[ViewKernels],
        statistics: Sequence[ViewStatistics],
        device: torch.device,
        *,
        transmission: Transmission | None = None,
        iterations: int,
        accelerated: bool,
        tikhonov: float,
        osem: float,
        stop_at_change: float,
        convolver: Convolver | None = None,
    ) -> None:
        self._views = views
        self._kernels = tuple(kernels)
        # Of the specimen, which is brighter than what views saw of it: what is smoothed must not depend on that.
        brighter = 1.0 if transmission is None else 1 / transmission.mean_share
        self._maxima = [brighter * numbers.maximum for numbers in statistics]
        self._floor = _FLOOR * brighter * float(np.mean([numbers.mean for numbers in statistics]))
        self._device = device
        self._transmission = transmission
        self._light: dict[int, torch.Tensor] = {}
        self._tikhonov = tikhonov
        self._stop_at_change = stop_at_change
        self._convolver = convolver_for(device) if convolver is None else convolver
        self._weights = UpdateWeights(views, osem, device, transmission)
        self._start_kernel = _gaussian(_START_SIGMA_VOXELS)
        self._transfers = TransferCache(0)
        self._transfer_limit = 0
        self.extrapolation_floor = self._floor if accelerated else None
        self.taken: set[int] = set()
        self.stages: Sequence[Stage] = [self._start_stage(), *self._update_stages(iterations)]

    def run(self, stage: Stage, tile: TileInput) -> torch.Tensor:
        """One tile of a stage: float32 (z, y, x) on the device."""
        self._allow(self._transfer_budget(tile.tile.shape))
        return self._start(tile) if tile.estimate is None else self._update(stage.views[0], tile)

    def outcome(self) -> str | None:
        """Nothing: all that there is to say is said before."""
        return None

    def converged(self, change: float) -> bool:
        """Whether the change of an iteration is small enough to stop."""
        return change < self._stop_at_change

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._transfers.clear()
        self._transfer_limit = 0
        self._convolver.release()
        self._weights.release()
        self._light.clear()

    def working_bytes(self, tile_shape: Triple) -> int:
        """An upper bound of the memory that `run` takes and keeps for tiles up to this shape, without its inputs."""
        tile = self._middle(tile_shape)
        layouts = [self._layouts(v, tile) for v in range(len(self._kernels))]
        start = self._start_layout(tile)
        # The mean of the views, and what `weighted_mean` needs for a few planes of it.
        planes = torch.get_num_threads() * max(2**17, prod(start.source[1:]))
        mean = 4 * prod(start.source) + 32 * planes
        starting = mean + self._convolver.working_bytes([start])
        updating = self._weights.working_bytes(tile) + max(self._convolver.working_bytes(pair) for pair in layouts)
        if self._transmission is not None:
            # The attenuated estimate; the transmission, and two steps of its interpolation.
            updating += 4 * max(prod(pair[0].source) for pair in layouts) * (4 if self._is_whole(tile) else 3)
            updating += 4 * tile.size * (len(self._kernels) - 1) if self._is_whole(tile) else 0
        largest = max(self._transfer_bytes(layout) for pair in [*layouts, (start,)] for layout in pair)
        # One more is in memory while it is made, with half its size of temporary arrays.
        return int(max(starting, updating)) + self._transfer_budget(tile_shape) + 3 * largest // 2

    def _start_stage(self) -> Stage:
        everything = tuple(range(len(self._views)))
        return Stage("blurred start", everything, view_halo=_radius(self._start_kernel), cost=0.5)

    def _update_stages(self, iterations: int) -> list[Stage]:
        stages = []
        for iteration in range(1, iterations + 1):
            for v, (name, kernels) in enumerate(zip(self._views.names, self._kernels, strict=True)):
                stages.append(
                    Stage(
                        f"iteration {iteration} of {iterations}, view {name}",
                        (v,),
                        view_halo=kernels.back_radius,
                        estimate_halo=_add(kernels.blur_radius, kernels.back_radius),
                        iteration=iteration if v == len(self._kernels) - 1 else 0,
                    )
                )
        return stages

    def _start(self, tile: TileInput) -> torch.Tensor:
        """The weighted mean of the views, smoothed."""
        mean = weighted_mean(
            self._views, replace(tile, tile=tile.view_box), _START_BLENDING_VOXELS, None, self._transmission
        )

        def keep_positive(smooth: torch.Tensor, rows: slice) -> torch.Tensor:
            del rows
            return smooth.clamp_(min=self._floor)

        layout = self._start_layout(tile.tile)
        link = Link(layout, self._transfer(self._start_kernel, layout), keep_positive)
        return self._convolver.run(mean, [link])

    def _update(self, v: int, tile: TileInput) -> torch.Tensor:
        """The estimate after one update with view v."""
        assert tile.estimate is not None
        assert tile.estimate_box is not None
        view, covered = tile.values[0], None if tile.coverage is None else tile.coverage[0]
        before = tile.estimate[tile.tile.inside(tile.estimate_box).slices]
        weight = self._weights.of(v, tile.tile)
        floor, bend = self._floor, 0.5 * self._tikhonov / self._maxima[v]
        estimate, darkest = tile.estimate, floor
        if self._transmission is not None:
            estimate = estimate * self._light_of(v, tile.estimate_box)
            darkest = floor * float(self._transmission.values[v].min())

        def ratio(blurred: torch.Tensor, rows: slice) -> torch.Tensor:
            # The estimate is nowhere below the floor; its blur falls below it by rounding only.
            torch.div(view[:, rows], blurred.clamp_(min=darkest), out=blurred)
            return blurred if covered is None else blurred.sub_(1).mul_(covered[:, rows]).add_(1)

        def improve(correction: torch.Tensor, rows: slice) -> torch.Tensor:
            old = before[:, rows]
            new = correction.mul_(old)
            if bend:
                # M (sqrt(1 + 2 lambda u / M) - 1) / lambda, but without the difference of nearly equal numbers.
                new.div_(torch.mul(new, bend).add_(0.25).sqrt_().add_(0.5))
            return torch.lerp(old, new.clamp_(min=floor), weight[:, rows], out=new)

        blur, back = self._layouts(v, tile.tile)
        kernels = self._kernels[v]
        links = [
            Link(blur, self._transfer(kernels.blur, blur), ratio),
            Link(back, self._transfer(kernels.back, back), improve),
        ]
        return self._convolver.run(estimate, links)

    def _light_of(self, v: int, box: Box) -> torch.Tensor:
        """Transmission of view v over a box; not to be written to."""
        assert self._transmission is not None
        if box != self._views.grid.box:
            return self._transmission.of(v, self._views.in_frame(box), self._device)
        if v not in self._light:
            self._light[v] = self._transmission.of(v, self._views.in_frame(box), self._device)
        return self._light[v]

    def _start_layout(self, tile: Box) -> Layout:
        radius = _radius(self._start_kernel)
        return self._lay_out(tile.grow(radius), tile, radius)

    def _layouts(self, v: int, tile: Box) -> tuple[Layout, Layout]:
        """Estimate to blurred estimate, and ratio to correction."""
        kernels = self._kernels[v]
        view_box = tile.grow(kernels.back_radius)
        estimate_box = view_box.grow(kernels.blur_radius)
        return (
            self._lay_out(estimate_box, view_box, kernels.blur_radius),
            self._lay_out(view_box, tile, kernels.back_radius),
        )

    def _lay_out(self, source: Box, target: Box, radius: Triple) -> Layout:
        shape = self._views.grid.shape
        mirrored = triple(ceil(_ROUGH_MIRROR * r) for r in radius) if self._views.rough_border else radius
        # Tiles at the border are cut off there, but keep the FFT of the others, and so share transfer functions.
        sizes = triple(
            # Large enough for the kernel, which is on the circle too.
            good_size(max(min(t, n) + 2 * m, 2 * r + 1))
            for t, n, m, r in zip(target.shape, shape, mirrored, radius, strict=True)
        )
        return lay_out(shape, source.clip(shape), target.clip(shape), mirrored, "mirror", sizes)

    def _transfer(self, kernel: np.ndarray, layout: Layout) -> torch.Tensor:
        return self._transfers.get(kernel, layout.sizes, halved=self._convolver.halved, device=self._device)

    def _transfer_bytes(self, layout: Layout) -> int:
        return transfer_bytes(layout.sizes, self._convolver.halved)

    def _transfer_budget(self, tile_shape: Triple) -> int:
        """Bytes of transfer functions to keep for tiles of this shape."""
        tile = self._middle(tile_shape)
        pairs = [
            sum(self._transfer_bytes(layout) for layout in self._layouts(v, tile)) for v in range(len(self._kernels))
        ]
        return sum(pairs) if self._is_whole(tile) else 2 * max(pairs)

    def _allow(self, limit: int) -> None:
        """Widen the cache; the smaller tiles at the far border do not narrow it."""
        if limit > self._transfer_limit:
            self._transfer_limit = limit
            self._transfers.limit(limit)

    def _middle(self, tile_shape: Triple) -> Box:
        """A tile of this shape in the middle of the volume, where it has the largest halo."""
        shape = self._views.grid.shape
        start = triple((n - t) // 2 for n, t in zip(shape, tile_shape, strict=True))
        return Box(start, _add(start, tile_shape))

    def _is_whole(self, tile: Box) -> bool:
        return tile == self._views.grid.box


def _gaussian(sigma: float) -> np.ndarray:
    """Gaussian kernel, float64 (z, y, x), cut off at 4 sigma."""
    reach = int(_START_REACH * sigma + 0.5)
    profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    profile /= profile.sum()
    return np.asarray(np.einsum("i,j,k->ijk", profile, profile, profile))


def _radius(kernel: np.ndarray) -> Triple:
    return triple(n // 2 for n in kernel.shape)


def _add(a: Triple, b: Triple) -> Triple:
    return triple(i + j for i, j in zip(a, b, strict=True))
