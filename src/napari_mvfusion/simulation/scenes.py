"""Endless random scenes to train and test with: specimen, views, PSFs and noise all drawn from one pair of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft

from napari_mvfusion.data.geometry import Grid, Triple
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation.microscope import Settings, Simulation
from napari_mvfusion.simulation.painting import log_uniform
from napari_mvfusion.simulation.random_psfs import AXIAL, random_psfs, scaled_psf
from napari_mvfusion.simulation.recording import Camera, attenuate_at, blur_inside, margin_for, record
from napari_mvfusion.simulation.specimens import SPECIMENS, Specimen

BACKGROUND = "background"
"""The kind of a scene that holds nothing but weak even light."""

KINDS: dict[str, float] = {
    "blobs": 0.4,
    "nuclei_cluster": 0.25,
    "membranes": 0.09,
    "filaments": 0.06,
    "beads": 0.05,
    "texture": 0.04,
    "mixture": 0.07,
    BACKGROUND: 0.04,
    "small_blobs": 0.0,
}
"""How often every kind of scene is drawn, relative to the others; 0 where only a configuration asks for it."""

_SMALLEST = 16
_CROPPED = 0.6
_COUNTS = {2: 0.3, 3: 0.15, 4: 0.35}
_OTHER_COUNT = 0.05
_LARGEST_WRONG = 0.1
REFERENCE_SIZE = 289
"""Absorption is given for a specimen of this many voxels, as in `simulate`."""


@dataclass(frozen=True)
class Tile:
    """Where the drawn volume lies in a specimen that absorbs light.

    Attributes
    ----------
    width : voxels of the whole specimen along any path of light
    drawn : voxels of that which are drawn
    offset : (z, y), from the middle of the specimen to the middle of what is drawn
    opacity : share of the light that a voxel of it takes, on average
    """

    width: float
    drawn: float
    offset: np.ndarray
    opacity: float

    def light_before(self, angle: float) -> float:
        """Share of the light that arrives at the drawn part, relative to the mean over the whole specimen."""
        own_y = float(self.offset @ [-np.sin(np.radians(angle)), np.cos(np.radians(angle))])
        path = max((self.width - self.drawn) / 2 - own_y, 0.0)
        decay = self.opacity * np.array([path, *np.linspace(0, self.width, 33)])
        light = np.exp(-decay)
        return float(light[0] / light[1:].mean())


def random_scene(
    seed: int,
    index: int,
    *,
    size: int = 96,
    views: tuple[int, int] = (2, 8),
    angles: Sequence[float] | None = None,
    kinds: Mapping[str, float] | None = None,
    axial: tuple[float, float] = AXIAL,
) -> Simulation:
    """Draw a scene: a random specimen recorded by a random multi-view microscope.

    The specimen is one of `KINDS`. In 60 % of the scenes it goes on beyond the volume, as in a crop of a larger one,
    and blurs and dims what is inside; otherwise it stands alone. PSFs are those of `random_psfs`; every fifth scene
    hands the views PSFs that are up to 10 % too wide or too narrow. Absorption (0 in 30 % of the scenes, else up to
    0.02 in the unit of `simulate`), planes (every voxel in 70 %, else every second or third), the signal-to-noise ratio
    (4 to 60), read noise, an even background of up to 3 % of the maximum (in 30 %) and the camera's gain (0.02 to 50
    a photon) are drawn as well. Oblique views cover the whole volume.

    Parameters
    ----------
    seed, index : 0 or more; a scene depends on these and the other arguments only, bit for bit on one machine
    size : voxels along each axis, at least 16
    views : fewest and most views; ignored when angles are given
    angles : directions of the views about x, degrees; random when None: evenly spaced from a random start (half of the
        scenes), quarter or even turns from 0 (40 %), or anywhere (10 %)
    kinds : relative frequency of each kind of scene, by its name in `KINDS`, which is used when None
    axial : of the PSFs, see `random_psfs`

    Returns
    -------
    Simulation. Pixels are photons times gain with no offset. The truth is in the same unit: without absorption, noise
    and background, a view is the truth blurred by its PSF. In `settings` the signal-to-noise ratio is that of a typical
    bright voxel of the truth after blur, counted without absorption.

    Raises
    ------
    InputError
        If a number is out of range or a kind is unknown.
    """
    shares = _checked(seed, index, size, views, angles, KINDS if kinds is None else kinds)
    for_setup, for_psfs, for_specimen, for_noise = np.random.default_rng([seed, index]).spawn(4)
    rng = for_setup
    kind = str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
    directions = random_angles(views, rng) if angles is None else tuple(float(a) for a in angles)
    settings = _random_settings(directions, rng)
    if kind == BACKGROUND:
        settings = replace(settings, attenuation=0.0, snr=log_uniform(rng, 0.3, 6))
    cropped = kind == BACKGROUND or rng.random() < _CROPPED
    gain = np.float32(log_uniform(rng, 0.02, 50))
    background = rng.uniform(0, 0.03) if rng.random() < 0.3 else 0.0
    wrong = np.exp(rng.uniform(-_LARGEST_WRONG, _LARGEST_WRONG, len(directions)) * (rng.random() < 0.2))

    psfs = random_psfs(directions, for_psfs, axial)
    inner: Triple = (size, size, size)
    margin = margin_for(psfs, settings.spacing)
    if size % 2 == 0:
        margin = fft.next_fast_len(size // 2 + margin, real=True) - size // 2
    specimen = draw_specimen(SPECIMENS.get(kind), size, margin, cropped, for_specimen)
    tile = random_tile(settings.attenuation, specimen, rng) if cropped else None
    per_voxel = settings.attenuation * REFERENCE_SIZE / (tile.width if tile else size)

    photons = np.float32(settings.snr**2 / _level(blur_inside(specimen, psfs[0])))
    specimen *= photons
    per_voxel /= max(float(specimen.max()), 1e-30)
    images = [_expected(specimen, a, psf, per_voxel, tile) for a, psf in zip(directions, psfs, strict=True)]
    haze = np.float32(background * max(float(image.max()) for image in images))
    camera = Camera(settings.spacing, settings.poisson, settings.read_noise)
    recorded = []
    for i, (angle, psf, image, noise) in enumerate(
        zip(directions, psfs, images, for_noise.spawn(len(psfs)), strict=True)
    ):
        pixels = record(image + haze, angle, inner, camera, noise) * gain
        known = psf if wrong[i] == 1 else scaled_psf(psf, float(wrong[i]))
        recorded.append(View(pixels, f"{angle:g}", known, angle))
    middle = (slice(margin, margin + size),) * 3
    truth = np.ascontiguousarray(specimen[middle] * gain)
    return Simulation(RegisteredViews(recorded, Grid(inner)), truth, settings)


def _expected(specimen: np.ndarray, angle: float, psf: np.ndarray, per_voxel: float, tile: Tile | None) -> np.ndarray:
    """Photons expected in every voxel of the drawn volume, float32."""
    if not per_voxel:
        return blur_inside(specimen, psf)
    dimmed = attenuate_at(specimen, angle, per_voxel)
    if tile is not None:
        dimmed *= np.float32(tile.light_before(angle))
    elif dimmed.any():
        dimmed *= np.float32(specimen.sum(dtype=np.float64) / dimmed.sum(dtype=np.float64))
    return blur_inside(dimmed, psf)


def draw_specimen(draw: Specimen | None, size: int, margin: int, cropped: bool, rng: np.random.Generator) -> np.ndarray:
    """A specimen with the margin around it, or even light where there is none: float32, brightest voxel 1."""
    whole: Triple = (size + 2 * margin,) * 3
    if draw is None:
        return np.ones(whole, np.float32)
    specimen = draw(whole if cropped else (size,) * 3, rng, isolated=not cropped)
    if not cropped:
        specimen = np.pad(specimen, margin)
    brightest = float(specimen.max())
    return np.asarray(specimen / np.float32(brightest)) if brightest > 0 else specimen


def random_tile(attenuation: float, specimen: np.ndarray, rng: np.random.Generator) -> Tile:
    """Take a drawn volume for a random part of a specimen of up to 289 voxels, or half as large again as itself."""
    drawn = len(specimen)
    width = log_uniform(rng, drawn, max(1.5 * drawn, REFERENCE_SIZE))
    offset = rng.normal(size=2)
    offset *= (width - drawn) / 2 * np.sqrt(rng.random()) / np.linalg.norm(offset)
    opacity = attenuation * REFERENCE_SIZE / width * float(specimen.mean(dtype=np.float64))
    return Tile(width, drawn, offset, opacity)


def _level(image: np.ndarray) -> float:
    """Brightness of a typical bright voxel: the mean, weighted with itself; 1 where there is no light."""
    total = float(image.sum(dtype=np.float64))
    return float(np.square(image).sum(dtype=np.float64)) / total if total > 0 else 1.0


def _random_settings(angles: tuple[float, ...], rng: np.random.Generator) -> Settings:
    return Settings(
        angles,
        attenuation=0.0 if rng.random() < 0.3 else float(rng.uniform(0, 0.02)),
        spacing=int(rng.choice([1, 2, 3], p=[0.7, 0.15, 0.15])),
        snr=log_uniform(rng, 2.5, 60),
        poisson=True,
        offset=0.0,
        read_noise=float(rng.uniform(0.3, 3)) if rng.random() < 0.3 else 0.0,
        registered=True,
        voxel_size_um=1.0,
        dtype="float32",
    )


def random_angles(views: tuple[int, int], rng: np.random.Generator) -> tuple[float, ...]:
    """Draw directions of between so few and so many views about x, degrees; see `random_scene`."""
    counts = np.arange(views[0], views[1] + 1)
    shares = np.array([_COUNTS.get(int(n), _OTHER_COUNT) for n in counts])
    count = int(rng.choice(counts, p=shares / shares.sum()))
    which = rng.random()
    even = np.arange(count) * (360 / count)
    if which < 0.5:
        turned = even + rng.uniform(0, 360)
    elif which < 0.9 and count == 2:
        turned = np.array([0.0, rng.choice([90, 180], p=[0.4, 0.6])])
    elif which < 0.9:
        turned = 90.0 * np.sort(rng.choice(4, count, replace=False)) if count <= 4 else even
    else:
        turned = np.sort(rng.choice(3600, count, replace=False) / 10)
    return tuple(round(float(a) % 360, 2) for a in turned)


def _checked(
    seed: int,
    index: int,
    size: int,
    views: tuple[int, int],
    angles: Sequence[float] | None,
    kinds: Mapping[str, float],
) -> dict[str, float]:
    """Check the arguments of `random_scene` and return the kinds that can be drawn."""
    if min(seed, index) < 0:
        raise InputError(f"seed {seed} and index {index}: both must be 0 or more")
    if size < _SMALLEST:
        raise InputError(f"a scene of {size} voxels is too small to show anything: use at least {_SMALLEST}")
    if not 1 <= views[0] <= views[1]:
        raise InputError(f"{views[0]} to {views[1]} views: give the fewest and the most, at least 1")
    if angles is not None and not (len(angles) and np.isfinite(angles).all()):
        raise InputError(f"angles must be finite degrees, at least one, not {angles}")
    for kind, share in kinds.items():
        if kind not in KINDS:
            raise InputError(f"there is no scene of kind '{kind}': choose from {', '.join(KINDS)}")
        if not (np.isfinite(share) and share >= 0):
            raise InputError(f"kind '{kind}' has frequency {share}: it must be 0 or more")
    if not sum(kinds.values()) > 0:
        raise InputError("no kind of scene has a frequency above 0: name at least one")
    return {kind: float(share) for kind, share in kinds.items() if share > 0}
