"""How well a fused volume explains its views, without a ground truth: the reprojection residual.

The fused volume is attenuated as in the view, blurred with the PSF of the view, brought to the view's units by a scale
and an offset, and the difference is compared with the noise that the view itself shows. The attenuation is that of the
run which made the volume, where it is known, and else fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import ceil, sqrt
from typing import Any

import numpy as np
import torch
from scipy import ndimage, optimize

from napari_mvfusion.data.fourth_differences import DIFFERENCE_REACH, FOURTH_DIFFERENCE
from napari_mvfusion.data.geometry import Box, triple
from napari_mvfusion.data.moments import PairMoments
from napari_mvfusion.data.tiles import TilePlan
from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.data.views import RegisteredViews, View, VolumeLike
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.blur import Blur
from napari_mvfusion.imaging.borders import Border
from napari_mvfusion.measures.attenuation import Transmission
from napari_mvfusion.measures.finite_values import finite_values
from napari_mvfusion.measures.fitted_transmission import FittedTransmission, TransmissionSums
from napari_mvfusion.measures.used_attenuation import KnownTransmission, known_transmission_of
from napari_mvfusion.psf.usable import psf_of

# With the largest halos in use a tile of this side keeps a blur below about 1 GiB.
_TILE = 224

# Attenuation is found on ever finer scales, voxels; all of them are wider than what details a method can get wrong.
_TRANSMISSION_SCALES = (10.0, 6.0, 4.0)
_BRIGHTNESS_SIGMA = 2.0
_BRIGHTNESS_HALO = 6
_LEVELS = 64
_FEWEST = 100
_LEVEL_ERROR = 0.03
_FIT_ROUNDS = 5
# Brightest over darkest level where a straight line and a square can be told apart.
_TOLD_APART = 2.0
# Views without any noise are judged as if they had this share of their mean, so that the residual stays finite.
_LEAST_NOISE = 1e-3


@dataclass(frozen=True)
class Residual:
    """How well a fused volume explains one view.

    Attributes
    ----------
    view : its name
    rms : root mean square of the residual over that of the expected noise; 1 is the noise floor
    scale, offset : bring the blurred fused volume to the view: `scale * blurred + offset`
    noise : the noise that the residual is compared with
    transmission : how much of the fused volume the view saw, None where attenuation was not allowed for
    """

    view: str
    rms: float
    scale: float
    offset: float
    noise: Noise
    transmission: FittedTransmission | KnownTransmission | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, as they are written; "attenuation" is the depth of the transmission, also as "lost_light"."""
        depth = None if self.transmission is None else self.transmission.depth
        return {
            "view": self.view,
            "rms": self.rms,
            "scale": self.scale,
            "offset": self.offset,
            "noise": asdict(self.noise),
            "attenuation": depth,
            "lost_light": depth,  # its old name, for scripts
        }


def reprojection(
    fused: VolumeLike,
    views: RegisteredViews,
    device: torch.device | str = "cpu",
    *,
    with_offset: bool = True,
    attenuation: bool = True,
    border: Border = "mirror",
    noise: tuple[Noise, ...] | None = None,
    tile: int = _TILE,
    progress: Callable[[float], None] = lambda share: None,
    lost_light: bool | None = None,
    transmission: Transmission | None = None,
) -> tuple[Residual, ...]:
    """Blur a fused volume with the PSF of each view and compare it with the view.

    For each view, `scale * blurred + offset` is fitted to the pixels by least squares and
    `rms = sqrt(sum (pixel - fit)^2 / sum (gain * fit + read variance))` over the voxels where the view has data. A
    fused volume that explains the view up to its noise has 1. Attenuation is allowed for, as a factor before the blur: the
    transmission that is known, or else a smooth one, found by comparing smoothed images, so that what fades with depth does
    not count as an error. One that is fitted forgives shadows in the fused volume too.
    What is otherwise not in the model `fused (x) PSF` raises it, as does noise that interpolation has smoothed (see
    `estimate_noise`). Hot pixels are no light that could be explained: what lies round them stands in their place.

    Parameters
    ----------
    fused : (z, y, x) on the grid of the views; numpy, dask or zarr, in any units
    views : each with its PSF
    device : where the blur is computed
    with_offset : fit an offset too; False takes the blurred volume to be zero where the view is dark
    attenuation : fit the attenuation of each view where `transmission` does not say it; False compares with `fused (x) PSF`
        alone then
    border : "mirror" takes the fused volume to go on beyond its border as its mirror image, as the methods do; "zero"
        takes it to be dark there, which is right for a specimen in empty medium and for simulated views
    noise : the noise of each view, where it is known; estimated from the views when None
    tile : longest side of the blocks that are blurred at once, voxels; no result depends on it
    progress : called with the share that is done, 0 to 1; an error that it raises ends the work
    lost_light : the old name of `attenuation`
    transmission : of the views, in their order, as the run that made the volume used it

    Returns
    -------
    One Residual a view, in their order.

    Raises
    ------
    InputError
        If shapes disagree, a view has no PSF or no data, or a value is not finite.
    """
    if lost_light is not None:
        warnings.warn("lost_light is called attenuation now", DeprecationWarning, stacklevel=2)
        attenuation = lost_light
    _check(fused, views)
    views = _spared(views)
    if noise is not None and len(noise) != len(views):
        raise InputError(f"{len(noise)} noise models were given for {len(views)} views: give one a view, or none")
    residuals = []
    boxes = _tiles(views.grid.box, tile)
    scales = (*_TRANSMISSION_SCALES, None) if attenuation and transmission is None else (None,)
    for index, view in enumerate(views.views):
        passed: FittedTransmission | KnownTransmission | None = None
        if transmission is not None:
            passed = known_transmission_of(transmission, index, views.statistics()[index].overview)
        for turn, sigma in enumerate(scales):
            moments, sums = PairMoments(), TransmissionSums(views.grid.shape)
            for number, box in enumerate(boxes):
                progress((index + (turn + number / len(boxes)) / len(scales)) / len(views))
                observed, inside = _observed(views, index, box)
                blurred = _blurred(fused, view, box, border, device, passed)
                moments.add(observed[inside], blurred[inside])
                if sigma is not None:
                    sums.add(box, observed, blurred, inside)
            if moments.count == 0:
                raise InputError(
                    f"{view.label} has no data inside the fused volume: check its affine and mask, or is it all NaN?"
                )
            scale, offset = moments.fit(with_offset=with_offset)
            if sigma is not None:
                before = passed if isinstance(passed, FittedTransmission) else None
                passed = sums.transmission(before, scale, offset, sigma)
        known = estimate_noise(views, index, tile=tile) if noise is None else noise[index]
        expected = moments.count * (known.gain * float(scale * moments.means[1] + offset) + known.read_variance)
        if not expected > 0:
            raise InputError(
                f"the noise given for {view.label} has no variance: give a gain or a read variance above 0"
            )
        rms = sqrt(moments.left_over(scale, offset) / expected)
        residuals.append(Residual(view.name, rms, scale, offset, known, passed))
    return tuple(residuals)


def residual_map(
    fused: VolumeLike,
    views: RegisteredViews,
    residual: Residual,
    device: torch.device | str = "cpu",
    *,
    border: Border = "mirror",
    box: Box | None = None,
    tile: int = _TILE,
    progress: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Where a fused volume fails to explain a view: `(pixel - fit) / sigma`, voxel by voxel.

    Parameters
    ----------
    fused, views, device, border, tile, progress : as for `reprojection`
    residual : of the view, from `reprojection`
    box : part of the grid to compute, all of it when None

    Returns
    -------
    float32 (z, y, x) of the box, positive where the view is brighter than explained, 0 where it has no data. Sigma is
        at least the noise of one photon, so that dark voxels do not blow up. Hot pixels do not stand out.

    Raises
    ------
    InputError
        If shapes disagree, or there is no view of that name or it has no PSF.
    """
    _check(fused, views)
    views = _spared(views)
    index = views.names.index(views.select([residual.view]).names[0])
    box = views.grid.box if box is None else box
    gain, read_variance = residual.noise.gain, residual.noise.read_variance
    out = np.empty(box.shape, np.float32)
    parts = _tiles(box, tile)
    for number, part in enumerate(parts):
        progress(number / len(parts))
        observed, inside = _observed(views, index, part)
        blurred = _blurred(fused, views.views[index], part, border, device, residual.transmission)
        fit = residual.scale * blurred + residual.offset
        variance = np.maximum(gain * fit, gain**2) + read_variance
        out[part.inside(box).slices] = inside * (observed - fit) / np.sqrt(variance)
    return out


def estimate_noise(
    views: RegisteredViews, index: int, *, across: tuple[int, int] | None = None, tile: int = _TILE
) -> Noise:
    """Estimate gain and read variance of a view from the view itself.

    Fourth differences along the two axes across which the PSF is narrow take out blurred structure and leave noise.
    Their mean square is compared, over 64 levels of brightness, with the mean of the pixels under the same window,
    weighted alike, which it equals for Poisson noise of gain 1: hence gain and read variance, by non-negative least
    squares on relative errors. A term with the square of the brightness takes up structure that is left, and is
    dropped; a view that is equally bright everywhere has none. The noise is taken to be white across the detection
    axis; a view that was interpolated there (oblique, or from another grid) seems less noisy than it is. Camera offset
    that is not declared (`View.offset`) ends up in the read variance, which may not be negative. Hot pixels are left
    out.

    Parameters
    ----------
    views : the views
    index : which of them
    across : the two axes along which blurred structure is narrow; those across which the PSF is when None
    tile : longest side of the blocks that are read at once, voxels

    Returns
    -------
    Noise, at least that of a thousandth of the view's mean where the view shows none.

    Raises
    ------
    InputError
        If a value is not finite, or the view has no PSF and `across` is not given.
    """
    views = _spared(views)
    view = views.views[index]
    across = _narrow_axes(view) if across is None else across
    statistics = views.statistics()[index]
    brightest = max(statistics.maximum, np.finfo(np.float32).tiny)
    count, level, power = (np.zeros(_LEVELS) for _ in range(3))
    for box in _tiles(views.grid.box, tile):
        wide = box.grow((_BRIGHTNESS_HALO,) * 3).clip(views.grid.shape)
        pixels, inside = _observed(views, index, wide)
        mean, difference = pixels, pixels
        for axis in across:
            difference = ndimage.correlate1d(difference, FOURTH_DIFFERENCE, axis, mode="mirror")
            mean = ndimage.correlate1d(mean, FOURTH_DIFFERENCE**2, axis, mode="mirror")
            inside = ndimage.minimum_filter1d(inside, 2 * DIFFERENCE_REACH + 1, axis, mode="mirror")
        brightness = ndimage.gaussian_filter(pixels, _BRIGHTNESS_SIGMA, mode="mirror", radius=_BRIGHTNESS_HALO)
        core = box.inside(wide).slices
        kept = inside[core]
        relative = np.sqrt(np.clip(brightness[core][kept] / brightest, 0, 1))
        levels = np.minimum((relative * _LEVELS).astype(np.intp), _LEVELS - 1)
        count += np.bincount(levels, minlength=_LEVELS)
        level += np.bincount(levels, mean[core][kept], minlength=_LEVELS)
        power += np.bincount(levels, np.square(difference[core][kept], dtype=np.float64), minlength=_LEVELS)
    floor = (_LEAST_NOISE * statistics.mean) ** 2
    gain, read_variance = _fit_noise(count, level, power, floor)
    if gain * statistics.mean + read_variance < floor:
        read_variance = floor
    return Noise(gain, read_variance)


def _fit_noise(count: np.ndarray, level: np.ndarray, power: np.ndarray, floor: float) -> tuple[float, float]:
    """Gain and read variance from the sums of every brightness level."""
    # Small or masked views may have no level with many voxels; the fullest one is then better than nothing.
    enough = count >= min(_FEWEST, count.max(initial=0))
    enough &= count > 0
    if not enough.any():
        return 0.0, 0.0
    count = count[enough]
    level, power = level[enough] / count, power[enough] / count
    terms = np.stack([np.ones_like(level), np.maximum(level, 0), level**2], axis=1)
    if level.max() < _TOLD_APART * level.min():
        terms = terms[:, :2]  # the square would take up the noise
    fitted = np.maximum(power, floor)
    for _ in range(_FIT_ROUNDS):
        weight = 1 / (np.sqrt(2 / count + _LEVEL_ERROR**2) * fitted)
        coefficients, _ = optimize.nnls(terms * weight[:, None], power * weight)
        fitted = np.maximum(terms @ coefficients, floor)
    return float(coefficients[1]), float(coefficients[0])


def _spared(views: RegisteredViews) -> RegisteredViews:
    """The views without their hot pixels, which are looked for once."""
    views.statistics()
    return views.without_hot()


def _check(fused: VolumeLike, views: RegisteredViews) -> None:
    if tuple(fused.shape) != views.grid.shape:
        raise InputError(
            f"the fused volume has shape {tuple(fused.shape)}, but its views lie on a grid of {views.grid.shape}: "
            "they do not belong together"
        )
    for view in views.views:
        _psf(view)


def _psf(view: View) -> np.ndarray:
    """Return the PSF with sum 1, float64."""
    psf = psf_of(view, "the residual")
    total = float(np.sum(psf, dtype=np.float64))
    if not (np.isfinite(total) and total > 0):
        raise InputError(f"the PSF of {view.label} must be finite with a positive sum")
    return np.asarray(psf, np.float64) / total


def _narrow_axes(view: View) -> tuple[int, int]:
    """Return the two axes along which the PSF is narrowest."""
    psf = np.maximum(_psf(view), 0)
    spread = []
    for axis in range(3):
        profile = psf.sum(axis=tuple(a for a in range(3) if a != axis))
        position = np.arange(len(profile)) - np.average(np.arange(len(profile)), weights=profile)
        spread.append(float(np.average(position**2, weights=profile)))
    first, second = sorted(np.argsort(spread, stable=True)[:2])
    return int(first), int(second)


def _tiles(box: Box, longest: int) -> list[Box]:
    """Cut a box into even parts of at most `longest` voxels a side."""
    sides = triple(ceil(n / ceil(n / longest)) for n in box.shape)
    return [
        Box(
            triple(a + o for a, o in zip(part.start, box.start, strict=True)),
            triple(b + o for b, o in zip(part.stop, box.start, strict=True)),
        )
        for part in TilePlan(box.shape, sides).boxes
    ]


def _observed(views: RegisteredViews, index: int, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of one view and where it has data."""
    pixels = views.read(box, [index])[0]
    coverage = views.coverage(box, [index])
    return pixels, np.ones(box.shape, bool) if coverage is None else coverage[0] > 0


def _blurred(
    fused: VolumeLike,
    view: View,
    box: Box,
    border: Border,
    device: torch.device | str,
    transmission: FittedTransmission | KnownTransmission | None,
) -> np.ndarray:
    """Blur a box of the fused volume as the view sees it, float32."""
    psf = _psf(view)
    wide = box.grow(triple(n // 2 for n in psf.shape)).clip(triple(fused.shape))
    values = finite_values(fused, wide, "the fused volume")
    if transmission is not None:
        values *= transmission.over(wide)
    blur = Blur([psf], wide.shape, border, device)
    image = blur.blur(torch.from_numpy(values).to(device), view=0)
    return np.asarray(image[box.inside(wide).slices].cpu().numpy())
