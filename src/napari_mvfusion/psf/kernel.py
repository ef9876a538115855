"""One PSF as a kernel: check, crop, describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, Triple, float_triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.psf.centre import find_core
from napari_mvfusion.psf.hot_voxels import remove_hot_of_psf
from napari_mvfusion.psf.noise import look_at_rim

Topic = Literal["centre", "sum", "negative", "background", "noise", "hot", "flat", "peaks"]

# The energy that a crop keeps. Of the measured light-sheet PSFs this keeps all but a rim that is below their noise.
DEFAULT_ENERGY = 0.998
# A peak further from the middle than this share of a side shifts the picture more than a PSF should.
_CENTRED = 0.1
# Sums and squares of what lies between fit into float32.
_SMALLEST_PEAK = 1e-15
_LARGEST_PEAK = 1e15
# As many voxels with the largest value are no chance.
_FLAT = 4


@dataclass(frozen=True)
class PSFInfo:
    """What a PSF is like.

    Attributes
    ----------
    shape : (z, y, x) voxels
    total : sum of all values
    fwhm : full width at half maximum along (z, y, x), voxels
    peak_offset : from the middle voxel to the brightest one, (z, y, x) voxels
    centre_offset : from the middle voxel to the centre of mass, (z, y, x) voxels
    minimum : smallest value over the largest
    notes : what should be looked at, in words
    topics : what each of the notes is about
    """

    shape: Triple
    total: float
    fwhm: FloatTriple
    peak_offset: Triple
    centre_offset: FloatTriple
    minimum: float
    notes: tuple[str, ...]
    topics: tuple[Topic, ...]


def as_float32(values: np.ndarray) -> np.ndarray:
    """A PSF or beads as float32; brought to a peak of 1 where that could not hold it, as only the shape of a PSF counts."""
    if values.dtype.kind == "f" and values.size:
        peak = float(np.abs(values).max())
        if np.isfinite(peak) and peak > 0 and not _SMALLEST_PEAK < peak < _LARGEST_PEAK:
            values = values.astype(np.float64) / peak
    return np.ascontiguousarray(values, np.float32)


def check_psf(psf: np.ndarray, name: str, volume_shape: Triple | None = None) -> list[str]:
    """Look for what makes a PSF useless, and for what is odd about it.

    Parameters
    ----------
    psf : (z, y, x)
    name : how to call it in a message
    volume_shape : (z, y, x) of the volume it is used on

    Returns
    -------
    Warnings in words.

    Raises
    ------
    InputError
        If it is not a volume, has an even side, a value that is not finite, no positive sum, or is larger than the volume.
    """
    check_light(psf, name)
    if any(n % 2 == 0 for n in psf.shape):
        raise InputError(
            f"the PSF of {name} has the even shape {psf.shape}, so it has no middle voxel: "
            "crop or pad it to odd sizes, with its peak in the middle"
        )
    if volume_shape is not None and any(k > n for k, n in zip(psf.shape, volume_shape, strict=True)):
        raise InputError(
            f"the PSF of {name} has shape {psf.shape}, larger than the volume of {tuple(volume_shape)}: "
            "crop the PSF, or choose a larger volume"
        )
    info = describe_psf(psf)
    return [f"the PSF of {name} {note}" for note in info.notes]


def check_light(psf: np.ndarray, name: str) -> None:
    """Refuse what cannot be made a PSF.

    Raises
    ------
    InputError
        If it is not a volume, is empty, has a value that is not finite, or no positive sum.
    """
    if psf.ndim != 3:
        raise InputError(f"the PSF of {name} has {psf.ndim} axes: a (z, y, x) volume is needed")
    if 0 in psf.shape:
        raise InputError(f"the PSF of {name} is empty: its shape is {psf.shape}")
    if not np.isfinite(psf).all():
        raise InputError(f"the PSF of {name} has values that are NaN or infinite: measure or export it again")
    if psf.sum(dtype=np.float64) <= 0:
        raise InputError(f"the PSF of {name} has no positive sum: it is empty, or its background is not subtracted")


def make_odd(psf: np.ndarray) -> np.ndarray:
    """Bring even sides to odd ones by dropping the plane that is further from the peak."""
    peak = np.unravel_index(int(np.argmax(psf)), psf.shape)
    keep = []
    for n, p in zip(psf.shape, peak, strict=True):
        if n % 2:
            keep.append(slice(0, n))
        else:
            keep.append(slice(1, n) if p >= n // 2 else slice(0, n - 1))
    return psf[tuple(keep)]


def crop_psf(psf: np.ndarray, energy: float = DEFAULT_ENERGY) -> np.ndarray:
    """Cut off what a PSF has least of, as long as `energy` of its sum is kept.

    The sides shrink in pairs of planes, always the pair that holds least; the middle voxel stays the middle.

    Parameters
    ----------
    psf : (z, y, x), odd sides, not negative
    energy : 0 to 1

    Returns
    -------
    A view of the middle of the PSF, odd sides, not normalised.
    """
    low = [0, 0, 0]
    high = list(psf.shape)
    total = float(psf.sum(dtype=np.float64))
    allowed = (1.0 - energy) * total
    while True:
        inner = psf[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        pairs = [
            float(np.take(inner, (0, -1), axis=axis).sum(dtype=np.float64)) if inner.shape[axis] > 1 else np.inf
            for axis in range(3)
        ]
        axis = int(np.argmin(pairs))
        if pairs[axis] > allowed:
            return inner
        allowed -= pairs[axis]
        low[axis] += 1
        high[axis] -= 1


def describe_psf(psf: np.ndarray) -> PSFInfo:
    """Measure a PSF and say what should be looked at.

    Parameters
    ----------
    psf : (z, y, x), finite, with a positive sum
    """
    values = np.asarray(psf, np.float64)
    total = float(values.sum())
    peak = float(values.max())
    mass = np.maximum(values, 0)
    centre = float_triple(
        (mass.sum(axis=tuple(a for a in range(3) if a != axis)) @ (np.arange(n) - n // 2)) / mass.sum()
        for axis, n in enumerate(values.shape)
    )
    notes: dict[Topic, str] = {}
    cleaned = remove_hot_of_psf(values)
    if len(cleaned.hot):
        notes["hot"] = f"has {hot_voxels(len(cleaned.hot))}, far above all neighbours"
    rim = look_at_rim(cleaned.values)
    light = np.maximum(cleaned.values - rim.level, 0)
    core = find_core(light if light.any() else mass)
    off = [c - n // 2 for c, n in zip(core.centre, values.shape, strict=True)]
    if core.rivals:
        notes["peaks"] = f"has {len(core.rivals) + 1} separate peaks of like height, so its centre cannot be told"
    elif any(abs(o) > max(1.0, _CENTRED * n) for o, n in zip(off, values.shape, strict=True)):
        where = ", ".join(f"{o:.1f}" for o in off)
        notes["centre"] = f"has its centre ({where}) voxels (z, y, x) off the middle: it would shift the picture"
    if core.flat >= _FLAT:
        notes["flat"] = f"has a flat top: {core.flat} voxels share the largest value, as where a camera is saturated"
    if abs(total - 1) > 1e-3:
        notes["sum"] = f"has the sum {total:.4g} instead of 1"
    if values.min() < -0.01 * peak:
        notes["negative"] = f"has negative values down to {values.min() / peak:.1%} of its peak"
    if rim.level > 0:
        notes["background"] = "has a background that does not fall to zero at its border"
    if rim.noise > 0:
        notes["noise"] = f"has noise that would become haze ({rim.haze:.1%} of its light)"
    offset = _peak_offset(values)
    minimum = float(values.min() / peak)
    widths = fwhm(values)
    return PSFInfo(triple(values.shape), total, widths, offset, centre, minimum, tuple(notes.values()), tuple(notes))


def hot_voxels(count: int) -> str:
    """How many, in words."""
    return "1 hot voxel" if count == 1 else f"{count} hot voxels"


def fwhm(psf: np.ndarray) -> FloatTriple:
    """Full width at half maximum along (z, y, x), in voxels, on the lines through the peak.

    The half is interpolated linearly between voxels; a line that does not fall to the half ends at the border.
    """
    values = np.asarray(psf, np.float64)
    peak = np.unravel_index(int(np.argmax(values)), values.shape)
    return float_triple(_width(line_through(values, peak, axis), int(peak[axis])) for axis in range(3))


def line_through(values: np.ndarray, point: Sequence[np.intp], axis: int) -> np.ndarray:
    """The values along one axis through a point."""
    index: list[slice | int] = [int(p) for p in point]
    index[axis] = slice(None)
    line: np.ndarray = values[tuple(index)]
    return line


def _width(line: np.ndarray, peak: int) -> float:
    half = line[peak] / 2
    width = 0.0
    for side in (line[peak:], line[peak::-1]):
        below = np.flatnonzero(side < half)
        if len(below) == 0:
            width += len(side) - 1
            continue
        i = int(below[0])
        width += i - 1 + (side[i - 1] - half) / (side[i - 1] - side[i])
    return float(width)


def _peak_offset(psf: np.ndarray) -> Triple:
    peak = np.unravel_index(int(np.argmax(psf)), psf.shape)
    return triple(int(p) - n // 2 for p, n in zip(peak, psf.shape, strict=True))
