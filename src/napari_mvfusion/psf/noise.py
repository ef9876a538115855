"""Background and noise of a PSF: what its rim says of both, and what of the PSF stands out of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.fourth_differences import FOURTH_DIFFERENCE

# Share of the sum that may lie in the outer shell before it is called a background.
_RIM_SHARE = 0.05
# Noise cut off at 0 would add this share of the light before it is cut.
_NOISE_SHARE = 0.005
_LOCAL = 5
_CLIP = 3.0
# Of a Gaussian cut off below 0 this much of its standard deviation is left on the average.
_HALF_MEAN = 0.4
_SIGNIFICANT = 3.0
_FAR_SIGNIFICANT = 3.5
_WIDTHS = (3, 5, 9)
_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Rim:
    """What the outer shell of a PSF says.

    Attributes
    ----------
    level : the background to subtract, 0 where there is no noticeable one
    noise : standard deviation of the noise, 0 where it is too weak to matter
    haze : share of the light that the noise would add if it were only cut off at 0
    """

    level: float
    noise: float
    haze: float


def look_at_rim(psf: np.ndarray) -> Rim:
    """Level and noise of the outer shell.

    Both are taken robustly: tails that reach the rim in some places do not count. Noise is looked for in the darker half
    of the shell: what differs from the mean of the 5 x 5 x 5 voxels round it and is as rough in fourth differences, so
    that neither haze nor the flanks of the PSF count.

    Parameters
    ----------
    psf : (z, y, x), finite
    """
    values = np.asarray(psf, np.float64)
    shell = _shell(values.shape)
    if shell is None:
        return Rim(0.0, 0.0, 0.0)
    rim = values[shell]
    noise = _noise_of(values, shell)
    level = float(np.median(rim))
    total = float(values.sum())
    light = total - level * values.size
    haze = _HALF_MEAN * noise * values.size / light if light > 0 else np.inf
    if noise > 0 and haze > _NOISE_SHARE:
        # The median of whole numbers is a whole number, which is too coarse.
        exact = float(rim[np.abs(rim - level) <= _CLIP * noise].mean())
        return Rim(exact, noise, float(haze))
    return Rim(level if level * values.size > _RIM_SHARE * total else 0.0, 0.0, 0.0)


def _noise_of(values: np.ndarray, shell: np.ndarray) -> float:
    smooth = ndimage.uniform_filter(values, _LOCAL, mode="nearest")
    dark = shell & (smooth <= np.median(smooth[shell]))
    rough = [(values - smooth)[dark]]
    for axis, n in enumerate(values.shape):
        if n >= _LOCAL:
            differences = ndimage.correlate1d(values, FOURTH_DIFFERENCE, axis, mode="constant")
            inside = tuple(slice(2, -2) if a == axis else slice(None) for a in range(3))
            rough.append(differences[inside][dark[inside]])
    return min(1.4826 * float(np.median(np.abs(part - np.median(part)))) for part in rough if part.size)


def cut_noise(psf: np.ndarray, noise: float) -> np.ndarray:
    """Keep what stands out of the noise and hangs together with the brightest part; the rest becomes 0.

    Voxels that stand out on their own keep their value. Of the others, the mean over 3, 5 and 9 voxels along each axis
    is looked at in turn, so that weak, wide haze is kept too: as its mean, which has no bias, and with its light.

    Parameters
    ----------
    psf : (z, y, x), background subtracted
    noise : its standard deviation
    """
    values = np.asarray(psf, np.float64)
    taken = _with_core(values > _SIGNIFICANT * noise, values)
    kept = np.where(taken, values, 0.0)
    for width in _WIDTHS:
        free = ~taken
        share = ndimage.uniform_filter(free.astype(np.float64), width, mode="constant")
        count = np.maximum(share * width**3, 1.0)
        mean = ndimage.uniform_filter(np.where(free, values, 0.0), width, mode="constant") * width**3 / count
        standing = free & (mean > _FAR_SIGNIFICANT * noise / np.sqrt(count))
        new = _with_core(taken | standing, values) & free
        if not new.any():
            continue
        # The window looks a little beyond what is kept: the light stays what was measured there.
        ratio = max(float(values[new].sum()), 0.0) / float(mean[new].sum())
        kept[new] = mean[new] * min(ratio, 1.0)
        taken |= new
    return kept


def _with_core(standing: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The part that holds the most light."""
    labels, count = ndimage.label(standing, _TOUCHING)
    if count <= 1:
        return standing
    light = ndimage.sum_labels(values, labels, np.arange(1, count + 1))
    largest: np.ndarray = labels == int(np.argmax(light)) + 1
    return largest


def _shell(shape: tuple[int, ...]) -> np.ndarray | None:
    """The outermost voxels, along the axes that have an inside; None where there is none."""
    thick = [n >= _LOCAL for n in shape]
    if sum(thick) < 2:
        return None
    shell = np.ones(shape, bool)
    shell[tuple(slice(1, -1) if t else slice(None) for t in thick)] = False
    return shell
