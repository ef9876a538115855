"""Record one view of a part of a specimen, in the frame of the fused volume.

`simulate` records whole volumes with nothing around them. Here the specimen goes on beyond the recorded part: a margin
is drawn, blurs and dims what is recorded, and is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, sqrt

import numpy as np
from scipy import fft

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation.microscope import attenuate
from napari_mvfusion.simulation.rotation import turn


@dataclass(frozen=True)
class Camera:
    """How expected photons become pixels.

    Attributes
    ----------
    spacing : voxels from one plane to the next along the detection axis
    poisson : whether photons are counted, or their expected number given
    read_noise : standard deviation in photons; what falls below zero becomes zero, as when an offset is subtracted
    offset : what is left of the camera's offset, or was subtracted too much of it, in photons
    most : photons at which a pixel is full
    """

    spacing: int = 1
    poisson: bool = True
    read_noise: float = 0.0
    offset: float = 0.0
    most: float = inf

    def expose(self, photons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Pixels, float32 of the shape of the expected photons."""
        pixels = rng.poisson(photons).astype(np.float32) if self.poisson else photons.astype(np.float32)
        if self.read_noise:
            pixels += np.float32(self.read_noise) * rng.standard_normal(photons.shape, np.float32)
        if self.offset:
            pixels += np.float32(self.offset)
        if self.read_noise or self.offset:
            np.maximum(pixels, 0, out=pixels)
        if self.most < inf:
            np.minimum(pixels, np.float32(self.most), out=pixels)
        return pixels


def margin_for(psfs: Sequence[np.ndarray], spacing: int) -> int:
    """Voxels to draw on each side of the recorded part, so that nothing beyond them reaches it."""
    longest = max(max(triple(psf.shape)) for psf in psfs)
    return longest // 2 + _reach(spacing) + 1


def attenuate_at(specimen: np.ndarray, angle: float, per_voxel: float) -> np.ndarray:
    """Absorb light on its way along the own y axis of a view at any angle, from its far end.

    Parameters
    ----------
    specimen : float32 (z, y, x) in the frame of the fused volume, not negative
    angle : of the view about x, degrees
    per_voxel : share of the light that a voxel of brightness 1 takes

    Returns
    -------
    float32 (z, y, x). Quarter turns are what `attenuate` gives. For other angles the light that is left is followed on a
    grid twice as coarse and interpolated; the specimen is not.
    """
    if angle % 90 == 0:
        return turn(attenuate(turn(specimen, angle), per_voxel), -angle)
    z, y, x = (n + n % 2 for n in specimen.shape)
    padded = np.pad(specimen, [(0, n - m) for n, m in zip((z, y, x), specimen.shape, strict=True)])
    coarse = padded.reshape(z // 2, 2, y // 2, 2, x // 2, 2).mean(axis=(1, 3, 5))
    side = ceil(sqrt((z // 2) ** 2 + (y // 2) ** 2)) + 2
    # The ratio to a specimen that is nowhere empty is the light that is left.
    own = np.float32(1e-3) + turn(coarse, angle, (side, side, x // 2))
    light = attenuate(own, 2 * per_voxel) / own
    left = turn(light, -angle, triple(coarse.shape))
    fine = _doubled(_doubled(_doubled(left, 0), 1), 2)
    return np.asarray(specimen * fine[tuple(slice(n) for n in specimen.shape)], np.float32)


def blur_inside(specimen: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Convolve a volume with an odd-sized PSF; right everywhere but within half a PSF of the border, where it wraps."""
    shape = triple(specimen.shape)
    if any(k > n for k, n in zip(psf.shape, shape, strict=True)):
        raise InputError(f"the PSF {psf.shape} is larger than the volume {shape}: draw a larger margin")
    kernel = np.zeros(shape, np.float32)
    kernel[tuple(slice(k) for k in psf.shape)] = psf
    kernel = np.roll(kernel, [-(k // 2) for k in psf.shape], (0, 1, 2))
    spectrum = fft.rfftn(specimen, workers=1)
    spectrum *= fft.rfftn(kernel, workers=1)
    return np.asarray(np.maximum(fft.irfftn(spectrum, shape, overwrite_x=True, workers=1), 0))


def record(expected: np.ndarray, angle: float, size: Triple, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Take the planes of a view and bring them back onto the voxels of the fused volume.

    Parameters
    ----------
    expected : float32 (z, y, x), expected photons in the frame of the fused volume with a margin on all sides, see
        `margin_for`
    angle : of the view about x, degrees
    size : (z, y, x) of the middle part to record, differing from `expected` by even numbers
    camera : noise and spacing of the planes; the first plane lies at a random place within one spacing
    rng : source of all randomness

    Returns
    -------
    float32 (z, y, x) of `size`, photons. Between planes and at oblique angles interpolated linearly.
    """
    if camera.spacing == 1 and angle % 90 == 0:
        return camera.expose(_middle(expected, size), rng)
    reach = _reach(camera.spacing)
    part = _middle(expected, (size[0] + 2 * reach, size[1] + 2 * reach, size[2]))
    own_shape = None
    if angle % 90:
        side = ceil(sqrt(size[0] ** 2 + size[1] ** 2)) + 2 * camera.spacing + 2
        own_shape = (side, side, size[2])
    own = turn(part, angle, own_shape)
    first = int(rng.integers(camera.spacing))
    planes = camera.expose(own[first :: camera.spacing], rng)
    own = _between_planes(planes, first, camera.spacing, own.shape[0])
    if angle % 90:
        return turn(own, -angle, size)
    return np.ascontiguousarray(_middle(turn(own, -angle), size))


def _doubled(volume: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many voxels along an axis, interpolated linearly; beyond the outermost centres they repeat."""
    before = np.take(volume, np.maximum(np.arange(volume.shape[axis]) - 1, 0), axis)
    after = np.take(volume, np.minimum(np.arange(volume.shape[axis]) + 1, volume.shape[axis] - 1), axis)
    near = np.float32(0.75) * volume
    pair = np.stack([near + np.float32(0.25) * before, near + np.float32(0.25) * after], axis + 1)
    shape = list(volume.shape)
    shape[axis] *= 2
    return pair.reshape(shape)


def _between_planes(planes: np.ndarray, first: int, spacing: int, count: int) -> np.ndarray:
    """Interpolate planes at first, first + spacing, ... to all of `count` positions; the outermost repeat."""
    if spacing == 1:
        return planes
    position = np.clip((np.arange(count) - first) / spacing, 0, len(planes) - 1)
    below = np.minimum(position.astype(np.intp), len(planes) - 2)
    share = (position - below).astype(np.float32)[:, None, None]
    return np.asarray(planes[below] * (1 - share) + planes[below + 1] * share)


def _reach(spacing: int) -> int:
    """How far beyond the recorded part lie the planes that interpolation needs, at any angle."""
    return ceil(sqrt(2) * spacing) + 2


def _middle(volume: np.ndarray, size: Triple) -> np.ndarray:
    return volume[tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(volume.shape, size, strict=True))]
