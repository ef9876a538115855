"""The reduced chi-square of fused volumes against their views, as a number and as a map; attenuation is allowed for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import numpy as np
import torch
from scipy import ndimage

from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.data.views import RegisteredViews, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging import Blur
from napari_mvfusion.measures.residuals import estimate_noise
from napari_mvfusion.methods.filter_input import brightness_scale
from napari_mvfusion.training.own_views import blocks_in, describe_psfs
from napari_mvfusion.training.resimulation import fit_transmissions
from napari_mvfusion.training.training_samples import Recording, TrainingVolume

# Up to this side a volume is looked at in one piece, as it is held in training.
_SIDE = 160
# Voxels beyond the reach of the PSFs: twice the coarsest scale on which attenuation is found.
_SURROUNDINGS = 20
# Of the neighbourhood over which a map is averaged: noise alone is then nearly even, and structure is still sharp.
_SPREAD = 1.0
_SPREAD_REACH = 4


@dataclass(frozen=True, eq=False)
class ChiSquare:
    """How far a fused volume is from its views, in units of their noise.

    Attributes
    ----------
    residual : root of the reduced chi-square: root mean square residual over that of the expected noise, mean over the
        views; 1 is the noise alone
    map : float32 (z, y, x), the same from place to place: root mean square over the views and the nearest voxels; 0
        where no view has data
    """

    residual: float
    map: np.ndarray


def reduced_chi_square(
    volumes: Sequence[VolumeLike],
    views: RegisteredViews,
    device: torch.device | str = "cpu",
    *,
    progress: Callable[[float], None] = lambda share: None,
) -> list[ChiSquare]:
    """Blur fused volumes with the PSF of each view, and compare them with the view.

    The transmission of each view is fitted as for a fine-tune, as a smooth factor before the blur, to the
    first volume; all volumes are judged with it. For each view and block a factor is fitted too, which leaves the
    brightness of the volumes out of it. The views are read once.

    Parameters
    ----------
    volumes : (z, y, x) on the grid of the views, not negative, in any units; the first is the start
    views : each with its PSF
    device : where the blur is computed
    progress : called with the share that is done, 0 to 1; an error that it raises ends the work

    Returns
    -------
    One a volume, in their order.

    Raises
    ------
    InputError
        If shapes disagree, a view has no PSF or no data, or a value is not finite.
    """
    for volume in volumes:
        if tuple(volume.shape) != views.grid.shape:
            raise InputError(
                f"a fused volume has shape {tuple(volume.shape)}, but its views lie on a grid of {views.grid.shape}: "
                "they do not belong together"
            )
    where = torch.device(device)
    views = views.without_hot()
    known = describe_psfs(views, 1.0)
    statistics = views.statistics()
    scale = brightness_scale(statistics)
    noise = []
    for index in range(len(views)):
        progress(0.3 * index / len(views))
        found = estimate_noise(views, index)
        noise.append(Noise(found.gain / scale, found.read_variance / scale**2))
    recording = Recording(known.names, known.psfs, tuple(noise))
    light = fmean(numbers.mean for numbers in statistics) / scale
    units = [_unit(volume, light) for volume in volumes]
    sums = [_Sums(len(views)) for _ in volumes]
    maps = [np.empty(views.grid.shape, np.float32) for _ in volumes]
    boxes = blocks_in(views.grid.box, _SIDE)
    reach = [max(psf.shape[axis] // 2 for psf in known.psfs) + _SURROUNDINGS for axis in range(3)]
    for number, box in enumerate(boxes):
        progress(0.3 + 0.7 * number / len(boxes))
        wide = box.grow(triple(reach)).clip(views.grid.shape)
        results = [_read(volume, wide) * np.float32(unit) for volume, unit in zip(volumes, units, strict=True)]
        block = _Block(views, wide, scale, recording, results[0], where)
        inner = box.inside(wide).slices
        for place, result in enumerate(results):
            progress(0.3 + 0.7 * (number + (place + 1) / (len(results) + 1)) / len(boxes))
            maps[place][box.slices] = block.residual(result, inner, sums[place])
    return [ChiSquare(total.residual(), found) for total, found in zip(sums, maps, strict=True)]


class _Sums:
    """Squared residuals of each view, and their expected noise, over all blocks."""

    def __init__(self, views: int) -> None:
        self.squares, self.variance = np.zeros(views), np.zeros(views)

    def residual(self) -> float:
        """Mean over the views that have data."""
        some = self.variance > 0
        if not some.any():
            raise InputError("no view has data inside the fused volume: check their affines and masks")
        return fmean(sqrt(s / v) for s, v in zip(self.squares[some], self.variance[some], strict=True))


class _Block:
    """A block of the views with its surroundings, and how much light each of them lost there."""

    def __init__(
        self,
        views: RegisteredViews,
        wide: Box,
        scale: float,
        recording: Recording,
        start: np.ndarray,
        device: torch.device,
    ) -> None:
        self._pixels = views.read(wide) / np.float32(scale)
        covered = views.coverage(wide)
        self._covered = np.ones(self._pixels.shape, bool) if covered is None else covered > 0
        arrays = {"views": self._pixels} | ({} if covered is None else {"coverage": covered.astype(np.float32)})
        transmissions = fit_transmissions(start, TrainingVolume(arrays, 1.0, scale, recording), device)
        self._noise, self._device = recording.noise, device
        self._transmissions = torch.from_numpy(transmissions).to(device)
        self._blur = Blur(recording.psfs, wide.shape, "mirror", device)

    def residual(self, result: np.ndarray, inner: tuple[slice, ...], sums: _Sums) -> np.ndarray:
        """The map of a result inside the block, (z, y, x); adds to the sums."""
        blurred = self._blur.each(self._transmissions * torch.from_numpy(result).to(self._device)).cpu().numpy()
        squares = np.zeros(result.shape, np.float32)
        for v, (fitted, seen, covered, noise) in enumerate(
            zip(blurred.clip(min=0), self._pixels, self._covered, self._noise, strict=True)
        ):
            inside = covered[inner]
            fitted *= _factor(fitted[inner][inside], seen[inner][inside])
            errors = np.square(seen - fitted)
            sums.squares[v] += errors[inner][inside].sum(dtype=np.float64)
            light = fitted[inner][inside].sum(dtype=np.float64)
            sums.variance[v] += noise.gain * light + noise.read_variance * inside.sum()
            # At least the noise of one photon, so that dark voxels do not blow up.
            squares += covered * errors / (np.maximum(noise.gain * fitted, noise.gain**2) + noise.read_variance)
        squares, count = _near(squares), _near(self._covered.sum(axis=0, dtype=np.float32))
        mean = np.divide(squares, count, out=np.zeros_like(squares), where=self._covered.any(axis=0))
        return np.asarray(np.sqrt(mean[inner]))


def _factor(fitted: np.ndarray, seen: np.ndarray) -> np.float32:
    """Brings blurred pixels nearest to those of a view."""
    power = float(np.square(fitted, dtype=np.float64).sum())
    return np.float32(np.multiply(fitted, seen, dtype=np.float64).sum() / power if power > 0 else 1.0)


def _near(values: np.ndarray) -> np.ndarray:
    """The mean over the nearest voxels."""
    return np.asarray(ndimage.gaussian_filter(values, _SPREAD, mode="nearest", radius=_SPREAD_REACH))


def _unit(volume: VolumeLike, light: float) -> float:
    """Brings a volume to the mean brightness of the views."""
    mean = fmean(float(np.asarray(volume[z : z + 1]).mean(dtype=np.float64)) for z in range(volume.shape[0]))
    if not np.isfinite(mean):
        raise InputError("a fused volume has a NaN or infinite value: fuse the views again")
    return light / mean if mean > 0 else 1.0


def _read(volume: VolumeLike, box: Box) -> np.ndarray:
    return np.asarray(volume[box.slices]).astype(np.float32)
