"""Where the centre of a PSF is: the centroid of its core, which neither noise, a flat top nor a hot voxel moves far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_mvfusion.data.geometry import FloatTriple, Triple, float_triple, triple

_HALF = 0.5
# A second peak of this share of the first one, with this share of its light, could as well be the PSF.
_LIKE_HEIGHT = 0.7
_LIKE_LIGHT = 0.3
# The middle voxel of a PSF is taken at its word when the centroid is this close: voxels, or a share of the core's width.
_CLOSE = 0.25
_CLOSE_SHARE = 0.05
# Asymmetry moves the centroid further, but not the peak: where that is in the middle, the centroid may be this far off.
_PEAKED = 0.5
_PEAKED_SHARE = 0.1
# Less than this is not worth an interpolation.
_WHOLE = 0.1
_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Core:
    """The brightest part of a PSF: what is above half of its peak and hangs together.

    Attributes
    ----------
    centre : centroid of what rises above the half, (z, y, x) voxels from the corner
    width : how far the core reaches along (z, y, x), voxels
    flat : how many voxels share the largest value
    peak : the brightest voxel and what its neighbours along each axis say about where between voxels the peak is
    rivals : other peaks of like height and light, (z, y, x) voxels
    """

    centre: FloatTriple
    width: Triple
    flat: int
    peak: FloatTriple
    rivals: tuple[Triple, ...]


def find_core(psf: np.ndarray) -> Core:
    """Look for the core.

    Parameters
    ----------
    psf : (z, y, x), with a positive peak; background subtracted
    """
    values = np.asarray(psf, np.float64)
    top = float(values.max())
    labels, count = ndimage.label(values > _HALF * top, _TOUCHING)
    numbers = np.arange(1, count + 1)
    light = ndimage.sum_labels(values, labels, numbers)
    first = int(np.argmax(light))
    core = labels == first + 1
    centre = ndimage.center_of_mass(np.where(core, values - _HALF * top, 0.0))
    width = triple(int(core.any(axis=tuple(other for other in range(3) if other != axis)).sum()) for axis in range(3))
    flat = int((values[core] == values[core].max()).sum())
    return Core(float_triple(centre), width, flat, _peak(np.where(core, values, 0.0), values), _rivals(values))


def _peak(core: np.ndarray, values: np.ndarray) -> FloatTriple:
    """The brightest voxel of the core, to parts of a voxel by the Gaussian through it and its neighbours on each axis."""
    place = triple(int(p) for p in np.unravel_index(int(core.argmax()), core.shape))
    found = []
    for axis, voxel in enumerate(place):
        line = values[tuple(slice(None) if a == axis else p for a, p in enumerate(place))]
        shift = 0.0
        if 0 < voxel < len(line) - 1 and line[voxel - 1 : voxel + 2].min() > 0:
            before, here, after = np.log(line[voxel - 1 : voxel + 2])
            bend = before - 2 * here + after
            shift = float((before - after) / (2 * bend)) if bend < 0 else 0.0
        found.append(float(voxel) + shift)
    return float_triple(found)


def _rivals(values: np.ndarray) -> tuple[Triple, ...]:
    """Other peaks of like height: where they rise, they do not hang together with the one that holds the most light."""
    labels, count = ndimage.label(values >= _LIKE_HEIGHT * values.max(), _TOUCHING)
    numbers = np.arange(1, count + 1)
    light = ndimage.sum_labels(values, labels, numbers)
    places = ndimage.maximum_position(values, labels, numbers)
    first = int(np.argmax(light))
    return tuple(
        triple(int(p) for p in places[i]) for i in range(count) if i != first and light[i] >= _LIKE_LIGHT * light[first]
    )


def centre_of(shape: Triple, core: Core) -> FloatTriple:
    """The centre to use, (z, y, x) voxels from the corner.

    Along an odd side the middle voxel, as long as the core's centroid is within a quarter of a voxel or 5 % of the
    core's width of it: views were registered to what its maker called the middle, and asymmetry alone moves a centroid
    that far. So it is where the peak lies within a quarter of a voxel of the middle, and the centroid within half a one
    or 10 % of the width: a flat top has no such peak.
    Otherwise, and along even sides, which have no middle voxel, the centroid; to whole voxels within 0.1.
    """
    chosen = []
    for n, c, width, peak in zip(shape, core.centre, core.width, core.peak, strict=True):
        peaked = core.flat == 1 and abs(peak - n // 2) <= _CLOSE
        close, share = (_PEAKED, _PEAKED_SHARE) if peaked else (_CLOSE, _CLOSE_SHARE)
        if n % 2 and abs(c - n // 2) <= max(close, share * width):
            chosen.append(float(n // 2))
        else:
            chosen.append(float(round(c)) if abs(c - round(c)) <= _WHOLE else c)
    return float_triple(chosen)


def around(psf: np.ndarray, voxel: Triple) -> np.ndarray:
    """The PSF with odd sides about a voxel; nothing of it is lost, what is added is 0."""
    half = [max(p, n - 1 - p) for p, n in zip(voxel, psf.shape, strict=True)]
    if all(n == 2 * h + 1 for n, h in zip(psf.shape, half, strict=True)):
        return psf
    wide = np.zeros([2 * h + 1 for h in half], psf.dtype)
    wide[tuple(slice(h - p, h - p + n) for h, p, n in zip(half, voxel, psf.shape, strict=True))] = psf
    return wide
