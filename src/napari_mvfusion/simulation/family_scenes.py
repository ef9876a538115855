"""Scenes of the broad training set, and of families that are held out: any microscope, any specimen, with all flaws.

`random_scene` draws what `universal` was first trained with. Here a microscope is a value of its own, so that a
benchmark can set what training draws at random. Beyond the first scenes PSFs may be short, registration wrong,
scattering may blur what lies deep, and what the fusion is told of the PSFs is what a laboratory measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from scipy import fft

from napari_mvfusion.data.geometry import Grid, Triple
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation.attenuation_laws import ATTENUATION_LAWS, light_left, matter_of
from napari_mvfusion.simulation.families import TRAINED, Families
from napari_mvfusion.simulation.microscope import Settings, Simulation
from napari_mvfusion.simulation.painting import log_uniform
from napari_mvfusion.simulation.psf_families import (
    BROAD_AXIAL,
    BROAD_LATERAL,
    Flaws,
    draw_told_psfs,
    random_flaws,
)
from napari_mvfusion.simulation.recording import Camera, blur_inside, margin_for, record
from napari_mvfusion.simulation.scenes import (
    BACKGROUND,
    REFERENCE_SIZE,
    Tile,
    draw_specimen,
    random_angles,
    random_tile,
)
from napari_mvfusion.simulation.specimen_families import SPECIMEN_FAMILIES

LARGEST_SHIFT = 0.7
"""By how much the registration of a training scene is wrong at most, voxels."""

_CROPPED = 0.5
_OPPOSED = 0.12
# Share of scenes with no flaws but noise, attenuation and planes that lie apart.
_IDEAL = 0.35
_BRIGHT_PERCENTILE = 99.0
_SPARSE = 0.05


@dataclass(frozen=True)
class Microscope:
    """How a specimen is recorded. Lengths in voxels, angles in degrees.

    Attributes
    ----------
    angles : direction of the detection axis of each view about x
    psfs : family of the PSFs
    axial, lateral : least and largest full widths of the PSFs along and across the detection axis
    flaws : of what is told of the PSFs, one a view; none when empty
    law : family of attenuation
    attenuation : share of the light absorbed, as in `simulate`
    scattered : share of the light from the far end of the specimen that is scattered on its way to the camera
    scatter_sigma : how far scattered light is blurred: sigma of a Gaussian
    registration : length of the largest shift of a view against the others
    spacing : from one plane to the next along the detection axis
    snr : signal-to-noise ratio of a typical bright voxel, counted without absorption
    haze : even light over the brightest of the views
    read_noise : of the camera, photons
    offset : what is left of the camera's offset, over the signal of a typical bright voxel
    full : signal at which a pixel of the camera is full, over the brightest
    gain : pixel values a photon
    """

    angles: tuple[float, ...]
    psfs: str = "sheet"
    axial: tuple[float, float] = BROAD_AXIAL
    lateral: tuple[float, float] = BROAD_LATERAL
    flaws: tuple[Flaws, ...] = ()
    law: str = "labels"
    attenuation: float = 0.0
    scattered: float = 0.0
    scatter_sigma: float = 3.0
    registration: float = 0.0
    spacing: int = 1
    snr: float = 25.0
    haze: float = 0.0
    read_noise: float = 0.0
    offset: float = 0.0
    full: float = inf
    gain: float = 1.0


@dataclass(frozen=True)
class SceneSetup:
    """What a scene is made of: the kind of its specimen, whether that goes on beyond the volume, and the microscope."""

    specimen: str
    cropped: bool
    microscope: Microscope


def random_setup(
    rng: np.random.Generator,
    families: Families = TRAINED,
    *,
    views: tuple[int, int] = (2, 8),
    angles: Sequence[float] | None = None,
    axial: tuple[float, float] = BROAD_AXIAL,
) -> SceneSetup:
    """Draw what a scene is made of.

    Parameters
    ----------
    rng : source of all randomness
    families : to draw from, with their frequencies
    views : fewest and most views; ignored when angles are given
    angles : directions of the views about x, degrees; random when None
    axial : least and largest full width of the PSFs along the detection axis, voxels
    """
    specimen = _choose(families.specimens, rng)
    if angles is not None:
        directions = tuple(float(a) for a in angles)
    elif views[0] <= 2 <= views[1] and rng.random() < _OPPOSED:
        # A pair that looks at each other, at any angle and not quite.
        first = rng.uniform(0, 360)
        directions = (round(first, 2), round((first + 180 + rng.normal(0, 2)) % 360, 2))
    else:
        directions = random_angles(views, rng)

    def sometimes(probability: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < probability else 0.0

    microscope = Microscope(
        directions,
        psfs=_choose(families.psfs, rng),
        axial=axial,
        flaws=tuple(random_flaws(rng) for _ in directions),
        law=_choose(families.attenuation, rng),
        attenuation=sometimes(0.7, 0, 0.025),
        scattered=sometimes(0.3, 0.1, 0.7),
        scatter_sigma=log_uniform(rng, 1.5, 6),
        registration=sometimes(0.4, 0, LARGEST_SHIFT),
        spacing=int(rng.choice([1, 2, 3, 4], p=[0.64, 0.16, 0.12, 0.08])),
        snr=log_uniform(rng, 2.5, 80),
        haze=sometimes(0.3, 0, 0.05),
        read_noise=sometimes(0.4, 0.3, 4),
        offset=sometimes(0.25, -0.02, 0.04),
        full=float(rng.uniform(0.4, 0.9)) if rng.random() < 0.07 else inf,
        gain=log_uniform(rng, 0.02, 50),
    )
    if rng.random() < _IDEAL:
        # As if all that is told of the microscope were true: else nearly no scene would be so.
        microscope = replace(microscope, flaws=(), scattered=0.0, registration=0.0, haze=0.0, offset=0.0, full=inf)
    if specimen == BACKGROUND:
        microscope = replace(microscope, attenuation=0.0, scattered=0.0, full=inf, snr=log_uniform(rng, 0.3, 6))
    return SceneSetup(specimen, specimen == BACKGROUND or rng.random() < _CROPPED, microscope)


def family_scene(
    seed: int,
    index: int,
    families: Families = TRAINED,
    *,
    size: int = 96,
    views: tuple[int, int] = (2, 8),
    angles: Sequence[float] | None = None,
    axial: tuple[float, float] = BROAD_AXIAL,
) -> Simulation:
    """Draw a scene from families: see `random_setup` and `record_specimen`.

    Parameters
    ----------
    seed, index : 0 or more; a scene depends on these and the other arguments only, bit for bit on one machine
    families, views, angles, axial : see `random_setup`
    size : voxels along each axis, at least 16

    Raises
    ------
    InputError
        If seed, index or size is out of range.
    """
    if min(seed, index) < 0:
        raise InputError(f"seed {seed} and index {index}: both must be 0 or more")
    for_setup, for_recording = np.random.default_rng([seed, index, _STREAM]).spawn(2)
    setup = random_setup(for_setup, families, views=views, angles=angles, axial=axial)
    return record_specimen(setup, size, for_recording)


# Scenes of one seed differ from those of `random_scene`.
_STREAM = 17


def record_specimen(setup: SceneSetup, size: int, rng: np.random.Generator) -> Simulation:
    """Draw the specimen of a setup and record it.

    The specimen does not depend on the microscope, nor one view's noise on another's. Attenuation and scattering follow
    the law of the microscope; the views are shifted against each other so that their mean stays where the truth is.

    Parameters
    ----------
    setup : what the scene is made of
    size : voxels along each axis, at least 16
    rng : source of all randomness

    Returns
    -------
    Simulation, as `random_scene` has it: pixels are photons times gain; the views carry the PSFs that are told.

    Raises
    ------
    InputError
        If the size or a number of the microscope is out of range, or a family unknown.
    """
    microscope = setup.microscope
    _check(setup, size)
    for_specimen, for_psfs, for_light, for_shifts, for_noise = rng.spawn(5)
    angles = microscope.angles
    flaws = microscope.flaws or (Flaws(),) * len(angles)
    psfs = draw_told_psfs(microscope.psfs, angles, flaws, for_psfs, axial=microscope.axial, lateral=microscope.lateral)
    true = [psf.true for psf in psfs]
    margin = margin_for(true, microscope.spacing)
    if size % 2 == 0:
        margin = fft.next_fast_len(size // 2 + margin, real=True) - size // 2
    specimen = draw_specimen(SPECIMEN_FAMILIES.get(setup.specimen), size, margin, setup.cropped, for_specimen)
    light = _Light.through(specimen, setup, size, for_light)
    photons = np.float32(microscope.snr**2 / _typical(blur_inside(specimen, true[0])))
    specimen *= photons
    shifts = _shifts(len(angles), microscope.registration, for_shifts)
    images = [light.image(specimen, angle, psf, shift) for angle, psf, shift in zip(angles, true, shifts, strict=True)]
    brightest = max(float(image.max()) for image in images)
    camera = Camera(
        microscope.spacing,
        read_noise=microscope.read_noise,
        offset=microscope.offset * microscope.snr**2,
        most=microscope.full * brightest,
    )
    inner: Triple = (size, size, size)
    recorded = []
    for angle, psf, image, noise in zip(angles, psfs, images, for_noise.spawn(len(angles)), strict=True):
        image += np.float32(microscope.haze * brightest)
        pixels = record(image, angle, inner, camera, noise) * np.float32(microscope.gain)
        recorded.append(View(pixels, f"{angle:g}", psf.told, angle))
    middle = (slice(margin, margin + size),) * 3
    truth = np.ascontiguousarray(specimen[middle] * np.float32(microscope.gain))
    return Simulation(RegisteredViews(_named_apart(recorded), Grid(inner)), truth, _settings(microscope))


@dataclass(frozen=True, eq=False)
class _Light:
    """What happens to the light of a specimen before it is blurred: absorption, and scattering on the way out.

    Attributes
    ----------
    matter : what absorbs and scatters, float32 of the drawn volume
    microscope : that records
    per_voxel : logarithmic share of the light that matter 1 absorbs
    tile : where the drawn volume lies in a larger specimen, or None
    """

    matter: np.ndarray
    microscope: Microscope
    per_voxel: float
    tile: Tile | None

    @classmethod
    def through(cls, specimen: np.ndarray, setup: SceneSetup, size: int, rng: np.random.Generator) -> _Light:
        microscope = setup.microscope
        tile = random_tile(microscope.attenuation, specimen, rng) if setup.cropped else None
        per_voxel = microscope.attenuation * REFERENCE_SIZE / (tile.width if tile else size)
        matter = matter_of(microscope.law, specimen, rng)
        return cls(matter, microscope, per_voxel, tile)

    def image(self, specimen: np.ndarray, angle: float, psf: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Photons expected in every voxel of the drawn volume, float32."""
        dimmed = specimen
        if self.per_voxel and self.matter.any():
            ways = ATTENUATION_LAWS[self.microscope.law].ways
            dimmed = specimen * light_left(self.matter, angle, ways, self.per_voxel)
            if self.tile is not None:
                dimmed *= np.float32(self.tile.light_before(angle))
            elif dimmed.any():
                dimmed *= np.float32(specimen.sum(dtype=np.float64) / dimmed.sum(dtype=np.float64))
        return _blurred(dimmed, psf, shift, self._scattered(dimmed, angle), self.microscope.scatter_sigma)

    def _scattered(self, dimmed: np.ndarray, angle: float) -> np.ndarray | None:
        """The part of the light that is scattered on its way to the camera, the more the deeper it comes from."""
        share = self.microscope.scattered
        thickest = float(self.matter.sum(axis=0).max())
        if not share or not thickest:
            return None
        left = light_left(self.matter, angle, ("seen",), -np.log(1 - share) / thickest)
        return np.asarray(dimmed * (1 - left))


def _blurred(
    light: np.ndarray, psf: np.ndarray, shift: np.ndarray, scattered: np.ndarray | None, sigma: float
) -> np.ndarray:
    """Convolve light with a PSF that is shifted by parts of a voxel, and what is scattered with a Gaussian as well.

    Right everywhere but within half a PSF of the border, where it wraps.
    """
    shape = light.shape
    kernel = np.zeros(shape, np.float32)
    kernel[tuple(slice(k) for k in psf.shape)] = psf
    kernel = np.roll(kernel, [-(k // 2) for k in psf.shape], (0, 1, 2))
    spectrum = fft.rfftn(light if scattered is None else light - scattered, workers=1)
    frequencies = (fft.fftfreq(shape[0]), fft.fftfreq(shape[1]), fft.rfftfreq(shape[2]))
    if scattered is not None:
        z, y, x = (np.exp(-2 * (np.pi * sigma * f) ** 2).astype(np.float32) for f in frequencies)
        more = fft.rfftn(scattered, workers=1)
        more *= z[:, None, None] * y[:, None]
        more *= x
        spectrum += more
    spectrum *= fft.rfftn(kernel, workers=1)
    if shift.any():
        z, y, x = (np.exp(-2j * np.pi * s * f).astype(np.complex64) for s, f in zip(shift, frequencies, strict=True))
        spectrum *= z[:, None, None] * y[:, None]
        spectrum *= x
    return np.asarray(np.maximum(fft.irfftn(spectrum, shape, overwrite_x=True, workers=1), 0), np.float32)


def _shifts(count: int, longest: float, rng: np.random.Generator) -> np.ndarray:
    """Shifts of the views against each other, (view, 3) voxels (z, y, x): of mean 0, the longest as long as asked."""
    if not longest or count < 2:
        return np.zeros((count, 3))
    shifts = rng.normal(size=(count, 3))
    shifts -= shifts.mean(axis=0)
    return np.asarray(shifts * longest / np.linalg.norm(shifts, axis=1).max())


def _typical(image: np.ndarray) -> float:
    """Brightness of a typical bright voxel: the mean of those above half of the brightest, a few of them left out."""
    high = float(np.percentile(image[::2, ::2, ::2], _BRIGHT_PERCENTILE))
    if high <= _SPARSE * float(image.max()):
        total = float(image.sum(dtype=np.float64))
        return float(np.square(image).sum(dtype=np.float64)) / total if total > 0 else 1.0
    return float(image[image >= high / 2].mean())


def _named_apart(views: Sequence[View]) -> list[View]:
    """Views of one angle get a number."""
    names: dict[str, int] = {}
    apart = []
    for view in views:
        names[view.name] = names.get(view.name, 0) + 1
        apart.append(view if names[view.name] == 1 else replace(view, name=f"{view.name}-{names[view.name]}"))
    return apart


def _choose(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(shares.values()), np.float64)
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def _settings(microscope: Microscope) -> Settings:
    return Settings(
        microscope.angles,
        attenuation=microscope.attenuation,
        spacing=microscope.spacing,
        snr=microscope.snr,
        poisson=True,
        offset=0.0,
        read_noise=microscope.read_noise,
        registered=True,
        voxel_size_um=1.0,
        dtype="float32",
    )


def _check(setup: SceneSetup, size: int) -> None:
    microscope = setup.microscope
    if size < 16:
        raise InputError(f"a scene of {size} voxels is too small to show anything: use at least 16")
    if setup.specimen != BACKGROUND and setup.specimen not in SPECIMEN_FAMILIES:
        raise InputError(f"there is no specimen '{setup.specimen}': choose from {', '.join(SPECIMEN_FAMILIES)}")
    if microscope.law not in ATTENUATION_LAWS:
        raise InputError(f"there is no attenuation '{microscope.law}': choose from {', '.join(ATTENUATION_LAWS)}")
    if not microscope.angles or not np.isfinite(microscope.angles).all():
        raise InputError(f"angles must be finite degrees, at least one, not {microscope.angles}")
    if microscope.flaws and len(microscope.flaws) != len(microscope.angles):
        raise InputError(f"{len(microscope.flaws)} flaws of PSFs for {len(microscope.angles)} angles: one a view")
    if not (microscope.snr > 0 and microscope.spacing >= 1 and 0 <= microscope.scattered < 1):
        raise InputError("a microscope needs an SNR above 0, a spacing of 1 or more, and less scattered light than all")
