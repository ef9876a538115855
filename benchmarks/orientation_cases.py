"""Cases for the check of orientation: specimens, views and PSFs of every kind, some of the PSFs mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_mvfusion.io.psf_files import prepare_psf
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.simulation import light_sheet_psf, random_psfs, sample
from napari_mvfusion.simulation.random_psfs import scaled_psf

KINDS = ("symmetric", "modelled", "strong", "quad", "two", "random", "noisy")
"""Of PSFs: modelled ones with an asymmetry of 0, 0.2 and 0.5, measured ones of two microscopes, random ones with all flaws,
and modelled ones with the noise of few beads."""

_SIZE = 64
_ANGLES = {2: ((0, 90), (0, 180)), 3: ((0, 120, 240), (0, 90, 180)), 4: ((0, 90, 180, 270),)}


@dataclass(frozen=True, eq=False)
class Case:
    """What is checked, and what is true.

    Attributes
    ----------
    views : (view, z, y, x), pixels
    psfs : as they are given, some of them mirrored
    mirrored : which of them are
    angles : of the views
    about : phantom, kind of PSFs, absorption, signal-to-noise ratio, and what is wrong besides
    """

    views: np.ndarray
    psfs: tuple[np.ndarray, ...]
    mirrored: tuple[bool, ...]
    angles: tuple[float, ...]
    about: dict[str, str | float]


def case(number: int, measured: Path) -> Case:
    """Draw a case; the same number gives the same one.

    Parameters
    ----------
    number : 0 or more
    measured : folder with quad_view/psf_ANGLE.tif at 0, 90, 180 and 270 degrees and two_view/psf_ANGLE.tif at 0 and 180
    """
    rng = np.random.default_rng([14, number])
    phantom = ("embryo", "nuclei")[number % 2]
    kind = KINDS[number // 2 % len(KINDS)]
    count = int(rng.integers(2, 7))
    angles = tuple(float(a) for a in _angles(count, rng))
    attenuation = 0.0 if rng.random() < 0.2 else float(rng.uniform(0, 0.02))
    snr = float(rng.choice([10, 25, 60]))
    true = _psfs(kind, angles, measured, rng)
    made = sample(phantom, _SIZE, number, angles=angles, psfs=true, attenuation=attenuation, snr=snr)
    pixels = np.stack([np.asarray(view.data, np.float32) for view in made.views.views])
    given = [np.asarray(psf, np.float64) for psf in true]
    flaw = str(rng.choice(["none", "width", "shift"], p=[0.6, 0.2, 0.2]))
    if flaw == "width":
        given = [scaled_psf(psf.astype(np.float32), float(np.exp(rng.uniform(-0.1, 0.1)))) for psf in given]
    elif flaw == "shift":
        pixels = np.stack([ndimage.shift(view, rng.uniform(-0.5, 0.5, 3), order=1, mode="nearest") for view in pixels])
    if kind == "noisy":
        given = [np.maximum(psf + rng.normal(0, 0.01 * psf.max(), psf.shape), 0) for psf in given]
    mirrored = _mirrored(count, rng)
    psfs = tuple(psf[::-1, ::-1, ::-1] if wrong else psf for psf, wrong in zip(given, mirrored, strict=True))
    about: dict[str, str | float] = {"phantom": phantom, "psf": kind, "absorption": round(attenuation, 4)}
    return Case(pixels, psfs, mirrored, angles, about | {"snr": snr, "flaw": flaw})


def _angles(count: int, rng: np.random.Generator) -> Sequence[float]:
    """Angles that microscopes have, or even steps from anywhere."""
    if count in _ANGLES and rng.random() < 0.8:
        return _ANGLES[count][int(rng.integers(len(_ANGLES[count])))]
    return np.sort((np.arange(count) * 360 / count + rng.uniform(0, 360)) % 360).round(1).tolist()


def _mirrored(count: int, rng: np.random.Generator) -> tuple[bool, ...]:
    """None in half of the cases, else all, one, or any."""
    which = rng.random()
    if which < 0.5:
        return (False,) * count
    if which < 0.7:
        return (True,) * count
    one = int(rng.integers(count))
    if which < 0.9:
        return tuple(v == one for v in range(count))
    return tuple(bool(b) for b in rng.random(count) < 0.5)


def _psfs(kind: str, angles: Sequence[float], measured: Path, rng: np.random.Generator) -> list[np.ndarray]:
    if kind == "random":
        return [prepare_psf(psf).psf for psf in random_psfs(angles, rng, (4.0, 9.0))]
    if kind in ("quad", "two"):
        known = (0, 90, 180, 270) if kind == "quad" else (0, 180)
        kernels = {a: prepare_psf(measured / f"{kind}_view" / f"psf_{a}.tif").psf for a in known}
        nearest = [min(known, key=lambda a: abs((a - angle + 180) % 360 - 180)) for angle in angles]
        return [
            prepare_psf(rotate_psf(kernels[a], angle - a)).psf if angle != a else kernels[a]
            for a, angle in zip(nearest, angles, strict=True)
        ]
    asymmetry = {"symmetric": 0.0, "modelled": 0.2, "noisy": 0.2, "strong": 0.5}[kind]
    scale = float(rng.uniform(0.5, 0.8))
    return [
        light_sheet_psf(angle, axial_fwhm=13 * scale, lateral_fwhm=3.5 * scale, asymmetry=asymmetry) for angle in angles
    ]
