"""Families of PSFs: kinds of microscopes, each with its own shape of the light along and across the detection axis.

A family is drawn once a scene and gives what all views have in common, a `Core`; widths, tilts and flaws are those of
`random_psfs`. What a laboratory would measure of a PSF, and tell the fusion, is drawn beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, pi, radians, sqrt, tan

import numpy as np
from scipy import ndimage, special

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.simulation.painting import log_uniform
from napari_mvfusion.simulation.random_psfs import (
    Core,
    Optics,
    bell_sheet,
    boxed_about,
    paint_psf,
    random_optics,
    sheet_core,
    varied_optics,
)

BROAD_AXIAL = (2.0, 20.0)
"""Full widths along the detection axis that microscopes have, voxels."""

BROAD_LATERAL = (1.5, 5.0)
"""The same across it."""

_LEAST_RATIO = 1.2
_DIFFER_MUCH = 0.3
_TILTED_FAR, _FARTHEST_TILT = 0.1, 45.0
_ENERGY = 0.995
# Full width at half maximum of the Airy disc in its radial unit, and of the diffraction-limited axial response in its own.
_AIRY_WIDTH, _AIRY_DEPTH = 3.23, 11.1
_PUPIL_POINTS = 48
_TABLE_STEPS = 4


@dataclass(frozen=True)
class Flaws:
    """How a PSF that is told to the fusion differs from the one that recorded.

    Attributes
    ----------
    width : told width over the true one
    tilt : degrees that the told one leans further, about y and about z
    off_centre : (z, y, x) voxels of its middle from the true one
    noise : standard deviation over its peak
    background : even haze over its peak
    energy : share of it that is left when it is cropped, at least 0.5
    """

    width: float = 1.0
    tilt: tuple[float, float] = (0.0, 0.0)
    off_centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: float = 0.0
    background: float = 0.0
    energy: float = _ENERGY


@dataclass(frozen=True, eq=False)
class ToldPSF:
    """A PSF as it records, and as it is told to the fusion: float32 (z, y, x), odd sides, sum 1, one middle."""

    true: np.ndarray
    told: np.ndarray


def random_flaws(rng: np.random.Generator) -> Flaws:
    """Draw what is wrong with a measured PSF: often nothing, else one thing or several.

    Widths are up to 10 % off, centres up to 1 voxel, directions up to 4 degrees; noise has up to 2 % and haze up to 1 % of
    the peak; a crop leaves 85 % or more.
    """
    if rng.random() < 0.35:
        return Flaws()

    def share(probability: float) -> bool:
        return bool(rng.random() < probability)

    direction = rng.normal(size=3)
    direction *= rng.random() ** (1 / 3) / np.linalg.norm(direction)
    z, y, x = (float(d) for d in direction)
    return Flaws(
        width=exp(rng.uniform(-0.1, 0.1)) if share(0.5) else 1.0,
        tilt=(rng.uniform(-4, 4), rng.uniform(-4, 4)) if share(0.4) else (0.0, 0.0),
        off_centre=(z, y, x) if share(0.4) else (0.0, 0.0, 0.0),
        noise=log_uniform(rng, 0.001, 0.02) if share(0.4) else 0.0,
        background=log_uniform(rng, 0.0005, 0.01) if share(0.3) else 0.0,
        energy=rng.uniform(0.85, 0.98) if share(0.3) else _ENERGY,
    )


def draw_told_psfs(
    family: str,
    angles: Sequence[float],
    flaws: Sequence[Flaws],
    rng: np.random.Generator,
    *,
    axial: tuple[float, float] = BROAD_AXIAL,
    lateral: tuple[float, float] = BROAD_LATERAL,
) -> list[ToldPSF]:
    """Draw the PSFs of one microscope, as they are and as they are told.

    Parameters
    ----------
    family : a name in `PSF_FAMILIES`
    angles : direction of the detection axis of each view about x, degrees
    flaws : one a view
    rng : source of all randomness
    axial, lateral : least and largest full widths along and across the detection axis, voxels; short ones are as frequent
        as long ones on a logarithmic scale. Views share theirs up to 10 %, or, in 30 % of the calls, nothing.
    """
    core = PSF_FAMILIES[family](rng)
    shared = None if rng.random() < _DIFFER_MUCH else _broad_optics(rng, axial, lateral)
    told = []
    for angle, wrong in zip(angles, flaws, strict=True):
        optics = _broad_optics(rng, axial, lateral) if shared is None else varied_optics(shared, rng, axial, lateral)
        told.append(_draw(core, optics, angle, wrong, rng))
    return told


def _broad_optics(rng: np.random.Generator, axial: tuple[float, float], lateral: tuple[float, float]) -> Optics:
    across = log_uniform(rng, lateral[0], max(lateral[0], min(lateral[1], axial[1] / _LEAST_RATIO)))
    along = log_uniform(rng, max(axial[0], min(_LEAST_RATIO * across, axial[1])), axial[1])
    optics = replace(random_optics(rng, (along, along), (across, across)), axial=along)
    if rng.random() < _TILTED_FAR:
        far = rng.uniform(-_FARTHEST_TILT, _FARTHEST_TILT, 2)
        optics = replace(optics, tilt_y=float(far[0]), tilt_z=float(far[1]))
    return optics


def _draw(core: Core, optics: Optics, angle: float, flaws: Flaws, rng: np.random.Generator) -> ToldPSF:
    painted = paint_psf(optics, angle, core)
    peak = np.unravel_index(int(painted.argmax()), painted.shape)
    middle: Triple = (int(peak[0]), int(peak[1]), int(peak[2]))
    true = boxed_about(painted, middle)
    if flaws == Flaws():
        return ToldPSF(true, true)
    believed = replace(
        optics,
        axial=optics.axial * flaws.width,
        lateral=optics.lateral * flaws.width,
        tilt_y=optics.tilt_y + flaws.tilt[0],
        tilt_z=optics.tilt_z + flaws.tilt[1],
    )
    seen = painted
    if believed != optics or any(flaws.off_centre):
        seen = paint_psf(believed, angle, core, flaws.off_centre)
    told = boxed_about(seen, middle, flaws.energy).astype(np.float64)
    top = float(told.max())
    told += flaws.background * top
    if flaws.noise:
        told += flaws.noise * top * rng.standard_normal(told.shape)
        np.maximum(told, 0, out=told)
    return ToldPSF(true, np.ascontiguousarray(told / told.sum(), np.float32))


def _sheet(rng: np.random.Generator) -> Core:
    """A Gaussian beam times a light sheet, as `random_psfs` has it."""
    del rng
    return sheet_core


def _two_sided(rng: np.random.Generator) -> Core:
    """Two sheets, one from each side, that do not quite lie in one plane: shifted, and crossing at an angle."""
    apart, lean = rng.uniform(0, 0.5), tan(radians(rng.uniform(-8, 8)))
    second = rng.uniform(0.4, 1)

    def core(optics: Optics, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        shift = apart * optics.axial / 2 + lean * v
        sheets = bell_sheet(optics, u - shift) + second * bell_sheet(optics, u + shift)
        return sheet_core(optics, u, v, w, sheets)

    return core


def _aberrated(rng: np.random.Generator) -> Core:
    """A thin sheet and an objective with spherical aberration, as a wrong refractive index makes it.

    Its pupil has the phase `u rho^2 / 2 + strength rho^4`: the scalar theory of Gibson and Lanni (1991) to fourth order.
    """
    strength = rng.uniform(1, 7) * rng.choice([-1, 1])

    def core(optics: Optics, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        step = 1 / _TABLE_STEPS
        radius = np.sqrt(v**2 + w**2)
        least = float(u.min())
        along = np.arange(least, float(u.max()) + 2 * step, step)
        across = np.arange(0, float(radius.max()) + 2 * step, step)
        rho = (np.arange(_PUPIL_POINTS) + 0.5) / _PUPIL_POINTS
        waves = special.j0(np.outer(across * _AIRY_WIDTH / optics.lateral, rho)) * rho
        # The sheet is put where the aberrated focus is best.
        depth = along * _AIRY_DEPTH / (optics.detection * optics.axial) - 2 * strength
        phase = np.exp(1j * (np.outer(rho**2 / 2, depth) + strength * rho[:, None] ** 4))
        table = np.abs(waves @ phase) ** 2
        at = np.broadcast_arrays(radius / step, (u - least) / step)
        seen = ndimage.map_coordinates(table, at, order=1, mode="nearest")
        return np.asarray(seen * bell_sheet(optics, u))

    return core


def _uneven(rng: np.random.Generator) -> Core:
    """A sheet whose light is blotchy, as where the specimen or its medium bends the light."""
    count = 6
    waves = rng.normal(size=(count, 3))
    waves *= rng.uniform(0.6, 2.0, (count, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)
    phases, strength = rng.uniform(0, 2 * pi, count), rng.uniform(0.2, 0.6)

    def core(optics: Optics, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        blotches = sum(
            np.cos(2 * pi * (k[0] * u / optics.axial + (k[1] * v + k[2] * w) / (1.5 * optics.lateral)) + phase)
            for k, phase in zip(waves, phases, strict=True)
        )
        return np.asarray(sheet_core(optics, u, v, w) * np.exp(strength * blotches / sqrt(count / 2)))

    return core


def _lattice(rng: np.random.Generator) -> Core:
    """A sheet with side lobes on both sides of the focal plane, as a dithered lattice has them."""
    lobe = rng.uniform(0.1, 0.4)

    def core(optics: Optics, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        # A square of a cosine is as wide at half its height as a lobe is apart from the next, halved.
        period = 2 * optics.axial
        envelope = np.exp(log(lobe) * (u / period) ** 2)
        return sheet_core(optics, u, v, w, np.cos(pi * u / period) ** 2 * envelope)

    return core


def _astigmatic(rng: np.random.Generator) -> Core:
    """An objective whose focus across x lies deeper than that across y: a cross that turns by 90 degrees in depth."""
    apart, turned = rng.uniform(0.5, 1.1), rng.uniform(0, pi)
    c, s = np.cos(turned), np.sin(turned)

    def core(optics: Optics, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        half = apart * optics.axial / 2
        rayleigh = 0.35 * optics.axial
        first, second = c * v + s * w, c * w - s * v
        widths = [1 + ((u - place) / rayleigh) ** 2 for place in (half, -half)]
        across = (2 / optics.lateral) ** 2 * (first**2 / widths[0] + second**2 / widths[1])
        return np.asarray(
            np.exp(-log(2) * across) / np.sqrt(widths[0] * widths[1]) * bell_sheet(optics, u / (1 + apart / 2))
        )

    return core


PSF_FAMILIES: Mapping[str, Callable[[np.random.Generator], Core]] = {
    "sheet": _sheet,
    "two_sided": _two_sided,
    "aberrated": _aberrated,
    "uneven": _uneven,
    "lattice": _lattice,
    "astigmatic": _astigmatic,
}
"""Every family of PSFs by its name."""
