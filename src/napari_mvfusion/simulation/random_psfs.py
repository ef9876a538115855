"""Random PSFs for training scenes: light-sheet PSFs with the flaws that measured ones have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import cos, log, pi, radians, sin, sqrt

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.psf import crop_psf, resample_psf
from napari_mvfusion.simulation.painting import log_uniform
from napari_mvfusion.simulation.rotation import cos_sin

LARGEST = 51
"""Longest side of a random PSF's box, voxels."""

_ENERGY = 0.995
_DRAWN_HALF = 28
AXIAL = (4.0, 18.0)
"""Full widths at half maximum along the detection axis that random PSFs have, voxels."""

LATERAL = (2.0, 5.0)
"""The same across the detection axis."""

_LEAST_RATIO = 1.2
_JITTER = 0.1
_DIFFER_MUCH = 0.3


@dataclass(frozen=True)
class Optics:
    """One microscope. Lengths in voxels, angles in degrees; every field varies a little from view to view.

    Attributes
    ----------
    axial, lateral : full widths at half maximum along and across the detection axis, before what follows
    detection : width of the objective's own axial response over `axial`
    asymmetry : -1 to 1, stretches one side along the detection axis and shortens the other
    ellipticity : width along the own y axis over that along x, square root of it on both
    tails_axial, tails_lateral : 0 for Gaussian flanks, above 0 for Moffat ones of exponent 1 / tails
    tilt_y, tilt_z : of the detection axis, about y and z
    bend : sideways shift in voxels at half the axial width, along own y
    ghost, ghost_shift, ghost_width : share of a shifted (in axial widths), wider copy
    halo, halo_width : share and full width (in lateral widths) of a round haze
    roll : of the ellipse about the detection axis, radians
    """

    axial: float
    lateral: float
    detection: float
    asymmetry: float
    ellipticity: float
    tails_axial: float
    tails_lateral: float
    tilt_y: float
    tilt_z: float
    bend: float
    ghost: float
    ghost_shift: float
    ghost_width: float
    halo: float
    halo_width: float
    roll: float


def random_psfs(
    angles: Sequence[float], rng: np.random.Generator, axial: tuple[float, float] = AXIAL
) -> list[np.ndarray]:
    """Draw one PSF a view.

    Each is a Gaussian beam times a light sheet, as in `light_sheet_psf`, with axial widths of 4 to 18 voxels, or as
    `axial` says, and lateral ones of 2 to 5, made worse at random: asymmetric, tilted out of the plane, elliptic, with
    long tails, bent, doubled by a fainter copy, hazy. The views of one call share these numbers up to 10 %; in 30 % of
    the calls they share nothing.

    Parameters
    ----------
    angles : direction of the detection axis of each view about x, degrees: 0 lies along z, 90 along y
    rng : source of all randomness
    axial : least and largest full width at half maximum along the detection axis, voxels

    Returns
    -------
    One float32 (z, y, x) a view in the frame of the fused volume, sum 1, the peak at the centre, cut to the
    smallest odd box that holds 99.5 % of what lies within 51 voxels.
    """
    shared = None if rng.random() < _DIFFER_MUCH else random_optics(rng, axial)
    return [
        _draw(random_optics(rng, axial) if shared is None else varied_optics(shared, rng, axial), angle)
        for angle in angles
    ]


def scaled_psf(psf: np.ndarray, factor: float) -> np.ndarray:
    """Widen (above 1) or narrow a PSF about its centre, in a box as `random_psfs` returns it."""
    return _boxed(resample_psf(psf, np.eye(3) * factor))


def random_optics(
    rng: np.random.Generator, widths: tuple[float, float], laterals: tuple[float, float] = LATERAL
) -> Optics:
    """Draw a microscope with full widths along and across the detection axis between these, in voxels."""

    def sometimes(probability: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < probability else 0.0

    lateral = rng.uniform(*laterals)
    return Optics(
        axial=rng.uniform(max(widths[0], _LEAST_RATIO * lateral), widths[1]),
        lateral=lateral,
        detection=rng.uniform(1.2, 4),
        asymmetry=sometimes(0.8, -0.5, 0.5),
        ellipticity=log_uniform(rng, 0.8, 1.25) if rng.random() < 0.5 else 1.0,
        tails_axial=sometimes(0.3, 0.1, 0.5),
        tails_lateral=sometimes(0.3, 0.1, 0.5),
        tilt_y=sometimes(0.5, -6, 6),
        tilt_z=sometimes(0.5, -6, 6),
        bend=sometimes(0.3, -0.8, 0.8),
        ghost=sometimes(0.3, 0.05, 0.35),
        ghost_shift=rng.uniform(-0.6, 0.6),
        ghost_width=rng.uniform(1.1, 2),
        halo=sometimes(0.4, 0.01, 0.12),
        halo_width=rng.uniform(2, 4),
        roll=rng.uniform(0, pi),
    )


def varied_optics(
    optics: Optics,
    rng: np.random.Generator,
    widths: tuple[float, float],
    laterals: tuple[float, float] = LATERAL,
) -> Optics:
    """The same microscope for another view: every number up to 10 % larger or smaller, widths kept between these."""
    factors = rng.uniform(1 - _JITTER, 1 + _JITTER, len(fields(optics)))
    changed = {f.name: getattr(optics, f.name) * factor for f, factor in zip(fields(optics), factors, strict=True)}
    varied = replace(optics, **changed)
    lateral = float(np.clip(varied.lateral, *laterals))
    axial = float(np.clip(varied.axial, max(widths[0], _LEAST_RATIO * lateral), widths[1]))
    return replace(varied, lateral=lateral, axial=axial)


def _draw(optics: Optics, angle: float) -> np.ndarray:
    """Draw a PSF on the voxels of the fused volume, centred on its peak and cropped."""
    return _boxed(paint_psf(optics, angle))


Core = Callable[[Optics, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""A PSF without ghost and halo at offsets (along, own y, own x) from its middle, in voxels; any scale."""


def paint_psf(
    optics: Optics,
    angle: float,
    core: Core | None = None,
    offset: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Paint a PSF on the voxels of the fused volume, before anything is cut off.

    Parameters
    ----------
    optics : of the view
    angle : direction of the detection axis about x, degrees
    core : what it is without ghost and halo; `sheet_core` when None
    offset : (z, y, x) of its middle from the middle of the box, voxels

    Returns
    -------
    float64 (57, 57, 57), sum 1
    """
    core = sheet_core if core is None else core
    c, s = cos_sin(angle)
    tilt_y, tilt_z = radians(optics.tilt_y), radians(optics.tilt_z)
    # Rows take an offset (z, y, x) of the fused frame to (along, own y, own x).
    about_x = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    about_y = np.array([[cos(tilt_y), 0, sin(tilt_y)], [0, 1, 0], [-sin(tilt_y), 0, cos(tilt_y)]])
    about_own_y = np.array([[cos(tilt_z), sin(tilt_z), 0], [-sin(tilt_z), cos(tilt_z), 0], [0, 0, 1]])
    to_own = about_own_y @ about_y @ about_x
    lines = np.ogrid[tuple(slice(-_DRAWN_HALF, _DRAWN_HALF + 1) for _ in range(3))]
    grid = [line - o if o else line for line, o in zip(lines, offset, strict=True)]
    u, v, w = (sum(to_own[row, axis] * grid[axis] for axis in range(3)) for row in range(3))
    painted = core(optics, u, v, w)
    painted /= painted.sum()
    if optics.ghost:
        wide = replace(
            optics, axial=optics.axial * optics.ghost_width, lateral=optics.lateral * sqrt(optics.ghost_width)
        )
        copy = core(wide, u - optics.ghost_shift * optics.axial, v, w)
        painted = (1 - optics.ghost) * painted + optics.ghost * copy / copy.sum()
    if optics.halo:
        haze = np.exp(-4 * log(2) * (u**2 + v**2 + w**2) / (optics.halo_width * optics.lateral) ** 2)
        painted = (1 - optics.halo) * painted + optics.halo * haze / haze.sum()
    return np.asarray(painted)


def sheet_core(
    optics: Optics, u: np.ndarray, v: np.ndarray, w: np.ndarray, sheet: np.ndarray | None = None
) -> np.ndarray:
    """Detection times sheet, float64, any scale; see `Core`. The sheet is a bell along u where none is given."""
    along = u / np.where(u < 0, 1 + optics.asymmetry, 1 - optics.asymmetry)
    v = v - optics.bend * (2 * u / optics.axial) ** 2
    stretch = sqrt(optics.ellipticity)
    c, s = cos(optics.roll), sin(optics.roll)
    first, second = c * v + s * w, c * w - s * v
    across = (2 / optics.lateral) ** 2 * ((first / stretch) ** 2 + (second * stretch) ** 2)
    rayleigh = optics.detection * optics.axial / 2
    widening = 1 + (along / rayleigh) ** 2
    if sheet is None:
        sheet = bell_sheet(optics, along)
    return np.asarray(sheet * _flank(across / widening, 0.5, optics.tails_lateral) / widening)


def bell_sheet(optics: Optics, along: np.ndarray) -> np.ndarray:
    """Light of the sheet at distances along the detection axis, 1 at 0."""
    # Together with the beam's own decay the sheet falls to one half at half the axial width.
    sheet_at_half = 0.5 * (1 + optics.detection**-2)
    return _flank((2 * along / optics.axial) ** 2, sheet_at_half, optics.tails_axial)


def _flank(squared: np.ndarray, value: float, tails: float) -> np.ndarray:
    """A bell of the squared distance that is 1 at 0 and `value` at 1: Gaussian, or Moffat of exponent 1 / tails."""
    if tails == 0:
        return np.asarray(np.exp(log(value) * squared))
    return np.asarray((1 + (value**-tails - 1) * squared) ** (-1 / tails))


def _boxed(psf: np.ndarray) -> np.ndarray:
    """Cut a PSF to the smallest odd box about its peak that holds 99.5 % of it and is not too long; sum 1, float32."""
    peak = np.unravel_index(int(psf.argmax()), psf.shape)
    return boxed_about(psf, (int(peak[0]), int(peak[1]), int(peak[2])))


def boxed_about(psf: np.ndarray, middle: Triple, energy: float = _ENERGY) -> np.ndarray:
    """Cut a PSF to the smallest odd box about a voxel that holds this share of it and is not too long; sum 1, float32."""
    halves = [min(LARGEST // 2, m, n - 1 - m) for m, n in zip(middle, psf.shape, strict=True)]
    inner = psf[tuple(slice(m - h, m + h + 1) for m, h in zip(middle, halves, strict=True))]
    inner = crop_psf(inner, energy)
    return np.ascontiguousarray(inner / inner.sum(dtype=np.float64), np.float32)
