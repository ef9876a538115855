"""One PSF as a kernel: load, check, clean, crop, describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile

from napari_mvfusion.errors import InputError
from napari_mvfusion.geometry import FloatTriple, Triple, float_triple, triple

Topic = Literal["centre", "sum", "negative", "background"]

# The energy that a crop keeps. Of the measured light-sheet PSFs this keeps all but a rim that is below their noise.
DEFAULT_ENERGY = 0.998
# A peak further from the middle than this share of a side shifts the picture more than a PSF should.
_CENTRED = 0.1
# Share of the sum that may lie in the outer shell before it is called a background.
_RIM_SHARE = 0.05


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


@dataclass(frozen=True, eq=False)
class PreparedPSF:
    """A PSF that is ready to fuse with, and what was done to it, in words."""

    psf: np.ndarray
    notes: tuple[str, ...]


def load_psf(path: str | Path) -> np.ndarray:
    """Read a PSF from a TIFF file as it is.

    Returns
    -------
    float32 (z, y, x)

    Raises
    ------
    InputError
        If the file is missing, no TIFF, or holds anything but one volume.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the PSF {path} does not exist")
    if path.stat().st_size == 0:
        raise InputError(f"the PSF {path} is empty (0 bytes): copy or export it again")
    try:
        values = np.squeeze(tifffile.imread(path))
    except (tifffile.TiffFileError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the PSF {path} cannot be read as a TIFF file ({error}): copy or export it again") from error
    if values.ndim != 3 or values.dtype.kind not in "buif":
        raise InputError(
            f"the PSF {path} has shape {values.shape} and type {values.dtype}: a (z, y, x) volume is needed"
        )
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
    if psf.ndim != 3:
        raise InputError(f"the PSF of {name} has {psf.ndim} axes: a (z, y, x) volume is needed")
    if 0 in psf.shape:
        raise InputError(f"the PSF of {name} is empty: its shape is {psf.shape}")
    if not np.isfinite(psf).all():
        raise InputError(f"the PSF of {name} has values that are NaN or infinite: measure or export it again")
    if any(n % 2 == 0 for n in psf.shape):
        raise InputError(
            f"the PSF of {name} has the even shape {psf.shape}, so it has no middle voxel: "
            "crop or pad it to odd sizes, with its peak in the middle"
        )
    if psf.sum(dtype=np.float64) <= 0:
        raise InputError(f"the PSF of {name} has no positive sum: it is empty, or its background is not subtracted")
    if volume_shape is not None and any(k > n for k, n in zip(psf.shape, volume_shape, strict=True)):
        raise InputError(
            f"the PSF of {name} has shape {psf.shape}, larger than the volume of {tuple(volume_shape)}: "
            "crop the PSF, or choose a larger volume"
        )
    info = describe_psf(psf)
    return [f"the PSF of {name} {note}" for note in info.notes]


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


def clean_psf(
    psf: np.ndarray, *, background: bool = True, centre: bool = True, energy: float = DEFAULT_ENERGY
) -> np.ndarray:
    """Make a PSF that images can be blurred with: no background, its peak in the middle, small, sum 1.

    Parameters
    ----------
    psf : (z, y, x), odd sides
    background : subtract the level of the outer shell where it holds a noticeable share; negative values become 0
    centre : move the brightest voxel to the middle. The peak and not the centre of mass: views are registered by their
        structures, which appear at the peak, while asymmetric tails pull the centre of mass away.
    energy : share of the sum that the crop keeps

    Returns
    -------
    float32 (z, y, x), odd sides, sum 1. Cleaning it again changes nothing but what the crop leaves out.
    """
    values = np.asarray(psf, np.float64)
    if background:
        values = values - _rim_level(values)
    values = np.maximum(values, 0)
    if centre:
        values = _centred(values)
    values = crop_psf(values, energy)
    return np.ascontiguousarray(values / values.sum(), np.float32)


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


def prepare_psf(
    source: str | Path | np.ndarray, *, name: str | None = None, energy: float = DEFAULT_ENERGY
) -> PreparedPSF:
    """Load a PSF and make it ready to fuse with.

    Parameters
    ----------
    source : a TIFF file, or (z, y, x) values
    name : how to call it in a message
    energy : share of the sum that the crop keeps

    Returns
    -------
    float32 PSF with odd sides and sum 1, and notes on what was done.

    Raises
    ------
    InputError
        If it cannot be read or used.
    """
    raw = source if isinstance(source, np.ndarray) else load_psf(source)
    called = name or ("an array" if isinstance(source, np.ndarray) else str(source))
    notes = []
    odd = make_odd(raw) if raw.ndim == 3 and 0 not in raw.shape and np.isfinite(raw).all() else raw
    if odd.shape != raw.shape:
        notes.append(f"cropped from the even shape {raw.shape} to {odd.shape}")
    check_psf(odd, called)
    level = _rim_level(np.asarray(odd, np.float64))
    if level > 0:
        notes.append(f"background {level:.3g} subtracted")
    if odd.min() < 0:
        notes.append("negative values set to 0")
    offset = _peak_offset(odd)
    if any(offset):
        notes.append(f"peak moved to the middle by {tuple(-o for o in offset)} voxels")
    psf = clean_psf(odd, energy=energy)
    if psf.shape != odd.shape:
        notes.append(f"cropped from {odd.shape} to {psf.shape}, which keeps {energy:.1%} of its energy")
    total = float(odd.sum(dtype=np.float64))
    if abs(total - 1) > 1e-3:
        notes.append(f"sum brought from {total:.4g} to 1")
    return PreparedPSF(psf, tuple(notes))


def describe_psf(psf: np.ndarray) -> PSFInfo:
    """Measure a PSF and say what should be looked at.

    Parameters
    ----------
    psf : (z, y, x), finite, with a positive sum
    """
    values = np.asarray(psf, np.float64)
    total = float(values.sum())
    peak = float(values.max())
    offset = _peak_offset(values)
    mass = np.maximum(values, 0)
    centre = float_triple(
        (mass.sum(axis=tuple(a for a in range(3) if a != axis)) @ (np.arange(n) - n // 2)) / mass.sum()
        for axis, n in enumerate(values.shape)
    )
    notes: dict[Topic, str] = {}
    if any(abs(o) > max(1.0, _CENTRED * n) for o, n in zip(offset, values.shape, strict=True)):
        notes["centre"] = f"has its peak {offset} voxels (z, y, x) off the middle: it would shift the picture"
    if abs(total - 1) > 1e-3:
        notes["sum"] = f"has the sum {total:.4g} instead of 1"
    if values.min() < -0.01 * peak:
        notes["negative"] = f"has negative values down to {values.min() / peak:.1%} of its peak"
    if _rim_level(values) > 0:
        notes["background"] = "has a background that does not fall to zero at its border"
    minimum = float(values.min() / peak)
    widths = fwhm(values)
    return PSFInfo(triple(values.shape), total, widths, offset, centre, minimum, tuple(notes.values()), tuple(notes))


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


def _rim_level(values: np.ndarray) -> float:
    """Median of the outer shell where it would add up to a noticeable share of the PSF, else 0."""
    if min(values.shape) < 5:
        return 0.0
    shell = np.ones(values.shape, bool)
    shell[1:-1, 1:-1, 1:-1] = False
    level = float(np.median(values[shell]))
    return level if level * values.size > _RIM_SHARE * values.sum() else 0.0


def _centred(values: np.ndarray) -> np.ndarray:
    """The values with the peak in the middle; what is moved in from outside is 0."""
    offset = _peak_offset(values)
    if not any(offset):
        return values
    moved = np.zeros_like(values)
    into = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, values.shape, strict=True))
    out_of = tuple(slice(max(0, o), n + min(0, o)) for o, n in zip(offset, values.shape, strict=True))
    moved[into] = values[out_of]
    return moved
