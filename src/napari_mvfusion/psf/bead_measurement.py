"""Measure a PSF from a volume of beads: find isolated beads, centre them, average them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_mvfusion.data.geometry import FloatTriple, Triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.psf.hot_voxels import remove_hot
from napari_mvfusion.psf.kernel import as_float32, fwhm, hot_voxels, line_through
from napari_mvfusion.psf.prepare import clean_psf
from napari_mvfusion.psf.sizes import BEADS, check_size

_SMOOTHING = 1.0
_THRESHOLD_NOISE = 12.0
_CANDIDATE_RADIUS = 2
# A window that is surely wide enough; smaller ones where the volume leaves no room for it round any bead.
_FIRST_HALVES = (24, 12, 6)
# Voxels round a window, for moving what is in it.
_MARGIN = 2
_FEWEST = 3
_ROUNDS = 3
# A neighbour dimmer than this share of a bead does not spoil it.
_NEIGHBOUR_SHARE = 0.05
_OUTLIER_MADS = 4.0
_ALIKE = 0.8
_SHARE_OF_DETECTION = 0.3
# Hot pixels that were resampled are about a voxel wide, beads are wider.
_NARROWEST = 1.5


@dataclass(frozen=True)
class RejectedBead:
    """A bead that was not used: where it lies, (z, y, x) voxels, and why, in words."""

    point: FloatTriple
    reason: str


@dataclass(frozen=True, eq=False)
class BeadMeasurement:
    """A measured PSF.

    Attributes
    ----------
    psf : float32 (z, y, x), odd sides, sum 1, peak in the middle
    used : positions of the beads that were averaged, (bead, 3), voxels
    rejected : the other beads, with the reasons
    correlations : of each used bead with the mean
    fwhm : (z, y, x) voxels
    hot : how many hot voxels were removed from the volume first
    """

    psf: np.ndarray
    used: np.ndarray
    rejected: tuple[RejectedBead, ...]
    correlations: np.ndarray
    fwhm: FloatTriple
    hot: int = 0

    @property
    def summary(self) -> str:
        """How many beads were used, why not the others, and how many hot voxels were removed."""
        rest = f"; {_counts(self.rejected)}" if self.rejected else ""
        removed = f"; {hot_voxels(self.hot)} removed" if self.hot else ""
        return f"{len(self.used)} beads used{rest}{removed}"


def detect_beads(volume: np.ndarray) -> np.ndarray:
    """Find bright spots: local maxima of the smoothed volume that stand out of its noise.

    Parameters
    ----------
    volume : (z, y, x)

    Returns
    -------
    int (bead, 3), voxels, brightest first. Isolated or not, whole or cut off: `measure_psf` decides that.
    """
    smooth = ndimage.gaussian_filter(np.asarray(volume, np.float32), _SMOOTHING)
    background = float(np.median(smooth))
    # The lower half of the values is free of beads, so its spread is that of the noise.
    below = smooth[smooth <= background]
    noise = max(1.4826 * float(np.median(background - below)), 1e-6 * float(smooth.max() - background))
    bright = smooth > background + _THRESHOLD_NOISE * noise
    largest = ndimage.maximum_filter(smooth, 2 * _CANDIDATE_RADIUS + 1)
    points = np.argwhere(bright & (smooth == largest))
    order = np.argsort(-smooth[tuple(points.T)], kind="stable")
    return np.asarray(points[order])


def measure_psf(
    volume: np.ndarray,
    points: np.ndarray | None = None,
    *,
    size: Triple | None = None,
    saturation: float | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> BeadMeasurement:
    """Average isolated beads with sub-voxel centring and local background subtraction; hot voxels are removed first.

    Parameters
    ----------
    volume : (z, y, x), beads smaller than a voxel, on the grid of the fused volume
    points : (bead, 3) approximate positions in voxels; found when None
    size : odd sides (z, y, x) of the PSF; three times the width of the beads when None
    saturation : beads that reach this value are left out; the largest value of an integer type when None
    progress : called with about the share that is done, 0 to 1; an error that it raises ends the work

    Raises
    ------
    InputError
        If the volume is too small or too large, or fewer than three beads can be used; says how many were found and what
        to do.
    """
    check_size(np.shape(volume), "the bead volume", BEADS)
    raw = np.asarray(volume)
    if raw.ndim != 3 or not np.isfinite(raw).all():
        raise InputError("a bead volume must have three axes (z, y, x) and finite values")
    if saturation is None:
        saturation = float(np.iinfo(raw.dtype).max) if raw.dtype.kind in "iu" else np.inf
    # A bead is wider than a voxel; what stands alone comes from the camera.
    cleaned = remove_hot(as_float32(raw))
    pixels, hot = cleaned.values, len(cleaned.hot)
    found = detect_beads(pixels)
    progress(_SHARE_OF_DETECTION)
    chosen = found if points is None else np.rint(np.atleast_2d(points)).astype(int)
    if len(chosen) == 0:
        only = f", only {hot_voxels(hot)}" if hot else ""
        raise InputError(
            f"no beads were found{only}: they must stand out of the noise; give their positions, or a better volume"
        )
    if size is not None and any(n % 2 == 0 or n < 3 for n in size):
        raise InputError(f"the size of a PSF must be odd and at least 3 on each axis, not {size}")
    half = triple(n // 2 for n in (size or _window_for(pixels, chosen)))
    if any(2 * h + 1 > n for h, n in zip(half, pixels.shape, strict=True)):
        window = tuple(2 * h + 1 for h in half)
        raise InputError(f"the bead volume of {pixels.shape} is smaller than the PSF of {window}: record a larger one")
    isolated, rejected = _isolated(pixels, chosen, found, half, saturation)
    if len(isolated) < _FEWEST:
        needed = " x ".join(str(2 * h + 1) for h in half)
        raise InputError(
            f"only {len(isolated)} of {len(chosen)} beads can be used, and {_FEWEST} are needed ({_counts(rejected)}; a "
            f"bead needs {needed} voxels of its own): use fewer beads, a larger volume or a smaller size"
        )
    measured = _average(pixels, isolated, rejected, half, progress)
    if size is not None and measured.psf.shape != size:
        measured = replace(measured, psf=_sized(measured.psf, size))
    if max(measured.fwhm) < _NARROWEST:
        widths = ", ".join(f"{w:.1f}" for w in measured.fwhm)
        raise InputError(
            f"what was found is not wider than a voxel along any axis (FWHM {widths}), as hot pixels are and beads are "
            "not: record beads with smaller voxels, or remove the hot pixels"
        )
    return replace(measured, hot=hot)


def _counts(rejected: Sequence[RejectedBead]) -> str:
    """How many beads were left out, for each reason."""
    counts: dict[str, int] = {}
    for bead in rejected:
        counts[bead.reason] = counts.get(bead.reason, 0) + 1
    return "; ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


def _sized(psf: np.ndarray, size: Triple) -> np.ndarray:
    """A PSF with other odd sides about its middle: centring one that leans to a side makes it wider."""
    wide = np.pad(psf, [(max(n - own, 0) // 2,) * 2 for own, n in zip(psf.shape, size, strict=True)])
    cut = wide[tuple(slice((own - n) // 2, (own + n) // 2) for own, n in zip(wide.shape, size, strict=True))]
    return np.ascontiguousarray(cut / cut.sum(dtype=np.float64), np.float32)


def _window_for(pixels: np.ndarray, points: np.ndarray) -> Triple:
    """Sides of a window for the PSF, from the median of the brightest beads."""
    for first in _FIRST_HALVES:
        half = [min(first, (n - 1) // 2) for n in pixels.shape]
        cuts = [cut for point in points[:200] if (cut := _cut(pixels, point, triple(half))) is not None]
        if cuts:
            break
    else:
        raise InputError(
            f"all {len(points)} beads lie within {_FIRST_HALVES[-1]} voxels of the border: record a larger volume, or give "
            "a smaller size"
        )
    windows = [(cut - np.median(cut)) / max(float(cut.max()), 1e-12) for cut in cuts]
    widths = fwhm(np.median(windows[:50], axis=0))
    return triple(2 * min(h, int(np.ceil(1.5 * w)) + 2) + 1 for h, w in zip(half, widths, strict=True))


def _isolated(
    pixels: np.ndarray, chosen: np.ndarray, found: np.ndarray, half: Triple, saturation: float
) -> tuple[list[np.ndarray], list[RejectedBead]]:
    """Beads whose window, with the margin in which they are moved, is inside the volume and holds no other bead."""
    background = float(np.median(pixels))
    heights = pixels[tuple(found.T)] - background if len(found) else np.zeros(0)
    # In units of the window a bead is alone when no other is closer than 1 on every axis.
    scale = np.array([2 * h + 1 for h in half], float) / 1.5
    tree = cKDTree(found / scale) if len(found) else None
    kept: list[np.ndarray] = []
    rejected: list[RejectedBead] = []

    def reject(point: np.ndarray, reason: str) -> None:
        rejected.append(RejectedBead((float(point[0]), float(point[1]), float(point[2])), reason))

    for point in chosen:
        cut = _cut(pixels, point, half)
        if cut is None or _cut(pixels, point, triple(h + _MARGIN for h in half)) is None:
            reject(point, "too close to the border")
            continue
        if cut.max() >= saturation:
            reject(point, "saturated")
            continue
        height = pixels[tuple(point)] - background
        neighbours = [] if tree is None else tree.query_ball_point(point / scale, 1.0, p=np.inf)
        others = [i for i in neighbours if np.abs(found[i] - point).max() > _CANDIDATE_RADIUS]
        if any(heights[i] > _NEIGHBOUR_SHARE * height for i in others):
            reject(point, "too close to another bead")
            continue
        kept.append(point)
    return kept, rejected


def _average(
    pixels: np.ndarray,
    points: Sequence[np.ndarray],
    rejected: list[RejectedBead],
    half: Triple,
    progress: Callable[[float], None],
) -> BeadMeasurement:
    """Average with sub-voxel centring; beads unlike the others are left out."""
    wide = triple(h + _MARGIN for h in half)
    cuts = [cut - _local_background(cut) for point in points if (cut := _cut(pixels, point, wide)) is not None]
    masses = np.array([cut.sum(dtype=np.float64) for cut in cuts])
    typical = np.median(np.log(np.maximum(masses, 1e-12)))
    spread = max(1.4826 * float(np.median(np.abs(np.log(np.maximum(masses, 1e-12)) - typical))), 0.1)
    keep = [bool(mass > 0 and abs(np.log(mass) - typical) <= _OUTLIER_MADS * spread) for mass in masses]
    shifts = np.array([_centroid_shift(cut) for cut in cuts])
    mean = np.zeros(())
    correlations = np.ones(len(cuts))
    for turn in range(_ROUNDS):
        moved = []
        for number, (cut, shift) in enumerate(zip(cuts, shifts, strict=True)):
            moved.append(ndimage.shift(cut, shift, order=3, mode="nearest"))
            done = (turn + number / len(cuts)) / _ROUNDS
            progress(_SHARE_OF_DETECTION + (1 - _SHARE_OF_DETECTION) * done)
        alike = [k and c >= _ALIKE for k, c in zip(keep, correlations, strict=True)]
        if sum(alike) < _FEWEST:
            raise InputError(
                f"only {sum(alike)} of {len(cuts)} isolated beads look alike: check that they are single beads"
            )
        mean = np.mean([m / mass for m, mass, a in zip(moved, masses, alike, strict=True) if a], axis=0)
        mean = ndimage.shift(mean, _peak_shift(mean), order=3, mode="nearest")
        correlations = np.array([np.corrcoef(m.ravel(), mean.ravel())[0, 1] for m in moved])
        if turn < _ROUNDS - 1:
            shifts = np.array([s + _match_shift(m, mean) for m, s in zip(moved, shifts, strict=True)])
    for i, point in enumerate(points):
        at = (float(point[0]), float(point[1]), float(point[2]))
        if not keep[i]:
            rejected.append(RejectedBead(at, "much brighter or dimmer than the others"))
        elif not alike[i]:
            rejected.append(RejectedBead(at, "of another shape than the others"))
    inner = mean[(slice(_MARGIN, -_MARGIN),) * 3]
    psf = clean_psf(inner - _local_background(inner), centre=True, energy=1.0)
    used = np.array([p - s for p, s, a in zip(points, shifts, alike, strict=True) if a])
    return BeadMeasurement(psf, used, tuple(rejected), correlations[np.array(alike)], fwhm(psf))


def _cut(pixels: np.ndarray, point: np.ndarray, half: Triple) -> np.ndarray | None:
    """The window about a point, or None where it leaves the volume."""
    if any(p - h < 0 or p + h >= n for p, h, n in zip(point, half, pixels.shape, strict=True)):
        return None
    return pixels[tuple(slice(p - h, p + h + 1) for p, h in zip(point, half, strict=True))]


def _local_background(cut: np.ndarray) -> float:
    """Median of the outer shell of a window."""
    shell = np.ones(cut.shape, bool)
    shell[1:-1, 1:-1, 1:-1] = False
    return float(np.median(cut[shell]))


def _centroid_shift(cut: np.ndarray) -> np.ndarray:
    """Shift that brings the centroid of what is above half of the maximum to the middle."""
    above = np.maximum(cut - 0.3 * cut.max(), 0)
    return np.array(cut.shape) // 2 - np.array(ndimage.center_of_mass(above))


def _match_shift(cut: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Shift, below a voxel or two, that makes a bead most like the mean: one least-squares step along its gradients."""
    height = float((cut * mean).sum() / (mean * mean).sum())
    slopes = np.stack([slope.ravel() for slope in np.gradient(height * mean)], axis=1)
    step, *_ = np.linalg.lstsq(slopes, (cut - height * mean).ravel(), rcond=None)
    bounded: np.ndarray = np.clip(step, -1.0, 1.0)
    return bounded


def _peak_shift(values: np.ndarray) -> np.ndarray:
    """Shift that brings the peak to the middle, to a part of a voxel, by a parabola on each axis."""
    peak = np.unravel_index(int(np.argmax(values)), values.shape)
    shift = np.zeros(3)
    for axis, (p, n) in enumerate(zip(peak, values.shape, strict=True)):
        line = line_through(values, peak, axis)
        part = 0.0
        if 0 < p < n - 1:
            before, at, after = line[p - 1], line[p], line[p + 1]
            curve = before - 2 * at + after
            part = 0.0 if curve == 0 else 0.5 * (before - after) / curve
        shift[axis] = n // 2 - (p + part)
    return shift
