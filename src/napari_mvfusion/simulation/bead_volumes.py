"""Volumes of fluorescent beads, to measure a view's PSF from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.errors import InputError

# Tries to find a free place for one bead before the volume counts as full.
_TRIES = 500
_MOST_BEADS = 40


@dataclass(frozen=True, eq=False)
class BeadVolume:
    """A recording of beads, with the truth about them.

    Attributes
    ----------
    volume : float32 (z, y, x), photons plus offset
    positions : float64 (n, 3), true centres (z, y, x) of the single beads, voxels
    doublets : float64 (m, 2, 3), true centres of the two beads of every doublet
    debris : float64 (k, 3), centres of the clumps that are no beads
    """

    volume: np.ndarray
    positions: np.ndarray
    doublets: np.ndarray
    debris: np.ndarray


def bead_volume(
    psf: np.ndarray,
    shape: Sequence[int],
    rng: np.random.Generator,
    count: int | None = None,
    *,
    doublets: int = 2,
    debris: int = 1,
    photons: float = 1000.0,
    background: float = 5.0,
    offset: float = 100.0,
    separation: float = 1.0,
) -> BeadVolume:
    """Record sub-resolution beads with a PSF.

    A bead is a point of light at a random sub-voxel position, so each is the PSF itself, shifted by a Fourier phase
    (exact for a PSF that is sampled finely enough). Doublets are two beads closer than the PSF is wide, debris are
    clumps of many points. Beads may lie at the border, where they are cut off.

    Parameters
    ----------
    psf : (z, y, x), odd sizes, in the frame the beads are recorded in
    shape : (z, y, x) of the volume, at least that of the PSF
    rng : source of positions, brightness and noise
    count : single beads; when None, as many as find room, up to 40
    doublets, debris : how many of each
    photons : mean number of photons in the peak of a bead; single beads vary by 20 %
    background : photons a voxel of the medium
    offset : camera offset, added after the photons are counted
    separation : least distance of two objects in units of the PSF's box: at 1 their boxes do not overlap

    Returns
    -------
    BeadVolume

    Raises
    ------
    InputError
        If the PSF cannot be used, a number is out of range, or so many beads do not fit.
    """
    kernel = np.asarray(psf, np.float64)
    size = triple(shape)
    if kernel.ndim != 3 or any(n % 2 == 0 for n in kernel.shape):
        raise InputError(f"the PSF has shape {kernel.shape}: three odd sizes (z, y, x) are needed")
    if not (np.isfinite(kernel).all() and kernel.max() > 0):
        raise InputError("the PSF must be finite with a positive peak")
    if any(k > n for k, n in zip(kernel.shape, size, strict=True)):
        raise InputError(f"the PSF {kernel.shape} is larger than the bead volume {size}: make the volume larger")
    if (count is not None and count < 1) or min(doublets, debris) < 0:
        raise InputError(f"{count} beads, {doublets} doublets and {debris} debris: at least one bead is needed")
    if not (photons > 0 and background >= 0 and separation >= 0):
        raise InputError("photons must be above 0, background and separation 0 or more")
    wanted = (_MOST_BEADS if count is None else count) + doublets + debris
    places = _places(wanted, size, np.array(kernel.shape) * separation, rng)
    found = len(places) - doublets - debris
    if found < (1 if count is None else count):
        raise InputError(
            f"only {len(places)} of {wanted} objects find room in {size} voxels without overlap: "
            "ask for fewer, for less separation, or for a larger volume"
        )
    singles, pairs, clumps = np.split(places, [found, found + doublets])
    # Two beads about as far apart as the PSF is wide at half its height look like one odd bead.
    gaps = _unit_vectors(doublets, rng) * (_half_widths(kernel) * rng.uniform(0.8, 1.6, (doublets, 1)))
    partners = np.stack([pairs - gaps / 2, pairs + gaps / 2], axis=1)
    grains = clumps[:, None] + _unit_vectors(debris * 60, rng).reshape(debris, 60, 3) * rng.uniform(
        0, 4, (debris, 60, 1)
    )

    points = np.concatenate([singles, partners.reshape(-1, 3), grains.reshape(-1, 3)])
    brightness = np.concatenate([rng.normal(1, 0.2, found).clip(0.4), np.ones(2 * doublets), np.full(60 * debris, 0.1)])
    expected = _render(points, brightness * photons / kernel.max(), kernel, size)
    expected += background
    counted = rng.poisson(expected).astype(np.float32) + np.float32(offset)
    return BeadVolume(counted, singles, partners, clumps)


def _places(count: int, shape: Triple, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random places whose boxes do not overlap, (n, 3): `count` of them, or as many as find room."""
    places = np.empty((0, 3))
    for _ in range(count):
        tries = rng.random((_TRIES, 3)) * (np.array(shape) - 1)
        free = (np.abs(tries[:, None] - places) >= box).any(axis=2).all(axis=1)
        if not free.any():
            break
        places = np.vstack([places, tries[free.argmax()]])
    return places


def _unit_vectors(count: int, rng: np.random.Generator) -> np.ndarray:
    vectors = rng.normal(size=(count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _half_widths(psf: np.ndarray) -> np.ndarray:
    """Voxels above half the peak on each axis through it: a rough full width at half maximum."""
    peak = np.unravel_index(int(psf.argmax()), psf.shape)
    lines = (psf[tuple(slice(None) if i == axis else p for i, p in enumerate(peak))] for axis in range(3))
    return np.array([float((line > psf.max() / 2).sum()) for line in lines])


def _render(points: np.ndarray, brightness: np.ndarray, psf: np.ndarray, shape: Triple) -> np.ndarray:
    """Add a shifted PSF at every point, float64 (z, y, x), not negative."""
    out = np.zeros(shape)
    box = tuple(n + 2 for n in psf.shape)
    padded = [fft.next_fast_len(n, real=True) for n in box]
    spectrum = fft.rfftn(np.pad(psf, 1), padded)
    frequency = [fft.fftfreq(n) for n in padded[:2]] + [fft.rfftfreq(padded[2])]
    for point, light in zip(points, brightness, strict=True):
        whole = np.rint(point).astype(np.intp)
        z, y, x = (np.exp(-2j * np.pi * f * d) for f, d in zip(frequency, point - whole, strict=True))
        bead = fft.irfftn(spectrum * (z[:, None, None] * y[:, None] * x), padded)
        low = whole - np.array(box) // 2
        start, stop = np.maximum(low, 0), np.minimum(low + box, shape)
        target = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        source = tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, low, strict=True))
        out[target] += light * bead[source]
    return np.maximum(out, 0, out=out)
