"""Noise splitting: views become two whose noise is independent, so that what learns from both cannot learn the noise.

Noise like that of a view is drawn once more; a share of it is added to what the network reads, and its inverse is taken
from what its result is compared with (recorrupted-to-recorrupted).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.view_noise import Noise

NOISE_SPLIT = 0.5
"""Noise is added to what a network reads, this share of it; what it is compared with gets the inverse, taken away."""


def split_noise(
    pixels: np.ndarray, expected: np.ndarray, noise: tuple[Noise, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split views into two whose noise is independent, as far as it is that of `noise` and nearly Gaussian.

    With noise `n` drawn anew like that of the views, `pixels + a n` and `pixels - n / a` have independent errors; `a` is
    `NOISE_SPLIT`. What a network makes of the first can match the second only where it is right.

    Parameters
    ----------
    pixels : float32 (view, z, y, x)
    expected : the same shape, light without noise, roughly
    noise : of each view, in units of the pixels
    rng : for the noise

    Returns
    -------
    The first and the second, float32 (view, z, y, x); they may be negative.

    References
    ----------
    Pang et al., Recorrupted-to-Recorrupted: Unsupervised Deep Learning for Image Denoising. CVPR 2021.
    """
    first, second = np.empty_like(pixels), np.empty_like(pixels)
    for v, known in enumerate(noise):
        spread = np.sqrt(known.gain * expected[v].clip(min=0) + known.read_variance)
        drawn = rng.standard_normal(pixels.shape[1:], np.float32) * spread.astype(np.float32)
        first[v] = pixels[v] + NOISE_SPLIT * drawn
        second[v] = pixels[v] - drawn / NOISE_SPLIT
    return first, second


def expected_light(views: np.ndarray) -> np.ndarray:
    """Views without their noise, roughly, where no filtered image says it: float32 (view, z, y, x)."""
    return np.stack([_smooth(view.astype(np.float32)) for view in views])


def _smooth(values: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(values, 1.0, mode="nearest", truncate=3.0))
