"""A multi-view light-sheet microscope: absorption, blur, sampling and noise of every view of a known specimen.

Two frames are in use. Truth, registered views and all PSFs lie in the frame of the fused volume. A view is recorded in
its own frame, turned about x so that its detection axis is z (`napari_mvfusion.simulation.rotation`); light enters
from the far end of its y axis, planes are taken along its z axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import fft

from napari_mvfusion.data.geometry import Grid, Triple, triple
from napari_mvfusion.data.views import RegisteredViews, View
from napari_mvfusion.errors import InputError
from napari_mvfusion.psf import rotate_psf
from napari_mvfusion.simulation.bead_volumes import BeadVolume
from napari_mvfusion.simulation.light_sheet_psfs import light_sheet_psfs
from napari_mvfusion.simulation.rotation import cos_sin, reach, turn, turned_shape

# The published absorption of 0.01 a voxel belongs to a specimen of 289 voxels.
_REFERENCE_SIZE = 289
# The published floor of a view of mean 1, so that no pixel is without any light.
_FLOOR = 1e-4
# The simulator counts on a mean of 5 inside the specimen: there, SNR = sqrt(5 * photons per unit).
_MEAN_INSIDE = 5.0


@dataclass(frozen=True)
class Settings:
    """What a simulation was made with; the parameters of `simulate`."""

    angles: tuple[float, ...]
    attenuation: float
    spacing: int
    snr: float
    poisson: bool
    offset: float
    read_noise: float
    registered: bool
    voxel_size_um: float
    dtype: Literal["float32", "uint16"]


@dataclass(frozen=True, eq=False)
class Simulation:
    """Views of a known specimen.

    Attributes
    ----------
    views : the views with their PSFs and angles, named after the angle
    truth : float32 (z, y, x), the specimen on the grid of the views, in its own units of brightness
    settings : what the microscope was set to
    beads : one bead volume a view, in the order of the views, when they were asked for
    """

    views: RegisteredViews
    truth: np.ndarray
    settings: Settings
    beads: tuple[BeadVolume, ...] = ()


def simulate(
    truth: np.ndarray,
    angles: Sequence[float],
    psfs: Sequence[np.ndarray] | None = None,
    *,
    attenuation: float = 0.01,
    spacing: int = 1,
    snr: float = 25.0,
    poisson: bool = True,
    offset: float = 0.0,
    read_noise: float = 0.0,
    registered: bool = True,
    voxel_size_um: float = 1.0,
    dtype: Literal["float32", "uint16"] = "float32",
    rng: np.random.Generator,
) -> Simulation:
    """Record a specimen from several directions, after the simulator of 2014.

    For each view, in its own frame: the specimen is turned by the view's angle; absorption dims it along y (`attenuate`);
    it is blurred with the PSF, with empty medium outside the volume; the result is scaled to mean 1 with a floor of
    1e-4; every `spacing`-th plane along z is kept; photons are counted, Poisson with mean `snr^2 / 5` times the value.
    Then the planes are interpolated back linearly and the view is turned back into the frame of the fused volume.
    Quarter turns are exact; other angles are interpolated linearly, which softens the view by up to one voxel.

    Parameters
    ----------
    truth : (z, y, x), brightness of the specimen, not negative
    angles : direction of the detection axis of each view about x, degrees: 0 lies along z, 90 along y
    psfs : one PSF a view in the frame of the fused volume, odd sizes, not larger than the volume. When None,
        `light_sheet_psfs` of a specimen as wide as the smaller of z and y.
    attenuation : share of the light absorbed a voxel by the brightest voxel of the truth, for a specimen of 289 voxels;
        multiplied by 289 / (size along the path of the light), so that every size is dimmed alike
    spacing : voxels from one plane to the next along the detection axis, at least 1
    snr : signal-to-noise ratio where the view is 5 times its mean
    poisson : False gives the expected number of photons instead of a drawn one
    offset : camera offset, added to every pixel; the views carry it, so that it is subtracted when they are read
    read_noise : standard deviation of the camera's Gaussian noise, in photons
    registered : True gives views on the grid of the truth. False leaves each as it was recorded, (planes, y, x) in its
        own frame, with the affine that places it.
    voxel_size_um : edge of the cubic voxels of the truth
    dtype : of the views; uint16 is rounded
    rng : source of all noise. Each view draws from a generator spawned from it, so the noise of a view does not
        depend on the views that come after it.

    Returns
    -------
    Simulation. Pixels are photons plus offset. Where an oblique view does not reach a registered pixel is 0 and
    masked; behind the last plane it is the last plane's pixel.

    Raises
    ------
    InputError
        If a parameter is out of range, PSFs and angles do not match, the truth is empty, constant, negative or not
        finite, or photons do not fit into uint16.

    References
    ----------
    Preibisch et al., Efficient Bayesian-based multiview deconvolution, Nature Methods 11 (2014).
    """
    truth = _checked_truth(truth)
    settings = Settings(
        tuple(float(a) for a in angles),
        attenuation,
        spacing,
        snr,
        poisson,
        offset,
        read_noise,
        registered,
        voxel_size_um,
        dtype,
    )
    _check(settings)
    if psfs is None:
        psfs = light_sheet_psfs(settings.angles, min(truth.shape[:2]))
    kernels = _checked_psfs(psfs, settings.angles, triple(truth.shape))
    grid = Grid(triple(truth.shape), (voxel_size_um,) * 3)
    views = []
    for angle, psf, generator in zip(settings.angles, kernels, rng.spawn(len(kernels)), strict=True):
        name = f"{angle:g}"
        photons = _expected_photons(truth, angle, psf, settings)
        planes = _camera(photons[::spacing], settings, generator)
        if registered:
            pixels, mask = _register(planes, angle, photons.shape[0], grid.shape, spacing)
            view = View(_as_dtype(pixels, dtype, name), name, psf, angle, offset=offset, mask=mask)
        else:
            affine = _affine(turned_shape(grid.shape, angle), angle, grid, spacing)
            view = View(_as_dtype(planes, dtype, name), name, psf, angle, affine=affine, offset=offset)
        views.append(view)
    return Simulation(RegisteredViews(views, grid), truth, settings)


def attenuate(specimen: np.ndarray, per_voxel: float) -> np.ndarray:
    """Dim a specimen by what the light met on its way along y, from the last row to the first.

    With v the brightness of a voxel and n the light that is left (1 at first), `n <- max(n - per_voxel v n, 0)` and
    the result is `v n`. This is a running product, so all rows are done at once.

    Parameters
    ----------
    specimen : float32 (z, y, x), not negative
    per_voxel : share of the light that a voxel of brightness 1 takes

    Returns
    -------
    float32 (z, y, x)
    """
    light = np.maximum(1 - np.float32(per_voxel) * specimen, 0)
    backwards = light[:, ::-1]
    np.cumprod(backwards, axis=1, out=backwards)
    light *= specimen
    return light


def blur(volume: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Convolve a volume with an odd-sized PSF; outside the volume there is nothing. float32 (z, y, x)."""
    shape = [n + k // 2 for n, k in zip(volume.shape, psf.shape, strict=True)]
    padded = [fft.next_fast_len(n, real=True) for n in shape]
    spectrum = fft.rfftn(np.asarray(volume, np.float32), padded)
    spectrum *= fft.rfftn(np.asarray(psf, np.float32), padded)
    whole = fft.irfftn(spectrum, padded, overwrite_x=True)
    return np.asarray(whole[tuple(slice(k // 2, n) for n, k in zip(shape, psf.shape, strict=True))])


def _expected_photons(truth: np.ndarray, angle: float, psf: np.ndarray, settings: Settings) -> np.ndarray:
    """All planes of a view in its own frame before any noise, float32."""
    own = turn(truth, angle)
    if settings.attenuation:
        per_voxel = settings.attenuation * _REFERENCE_SIZE / own.shape[1]
        own = attenuate(own, per_voxel / float(truth.max()))
    image: np.ndarray = np.maximum(blur(own, rotate_psf(psf, -angle)), 0)
    gain = settings.snr**2 / _MEAN_INSIDE
    image *= gain * (1 - _FLOOR) / float(image.mean(dtype=np.float64))
    image += gain * _FLOOR
    return image


def _camera(planes: np.ndarray, settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Count photons and add the camera's offset and noise, plane by plane to keep temporaries small."""
    pixels = np.empty(planes.shape, np.float32)
    for i, plane in enumerate(planes):
        pixels[i] = rng.poisson(plane) if settings.poisson else plane
        if settings.read_noise:
            pixels[i] += settings.read_noise * rng.standard_normal(plane.shape, np.float32)
    if settings.offset:
        pixels += np.float32(settings.offset)
    return pixels


def _register(
    planes: np.ndarray, angle: float, own_planes: int, shape: Triple, spacing: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Bring recorded planes into the frame of the fused volume: pixels, and where there are any if not everywhere."""
    own = planes
    if spacing > 1:
        position = np.minimum(np.arange(own_planes) / spacing, len(planes) - 1)
        below = np.minimum(position.astype(np.intp), max(len(planes) - 2, 0))
        above = np.minimum(below + 1, len(planes) - 1)
        fraction = (position - below).astype(np.float32)[:, None, None]
        own = planes[below] * (1 - fraction) + planes[above] * fraction
    inside = reach(triple(own.shape), shape, -angle)
    pixels = turn(own, -angle, shape)
    if inside.all():
        return pixels, None
    pixels *= inside
    return pixels, np.broadcast_to(inside, shape)


def _affine(own_shape: Triple, angle: float, grid: Grid, spacing: int) -> np.ndarray:
    """4 x 4 matrix from a recorded voxel (plane, y, x, 1) to world micrometres."""
    cos, sin = cos_sin(angle)
    to_centre = np.eye(4)
    to_centre[0, 0] = spacing
    to_centre[:3, 3] = -(np.array(own_shape) - 1) / 2
    back = np.eye(4)
    back[:2, :2] = [[cos, -sin], [sin, cos]]
    back[:3, 3] = (np.array(grid.shape) - 1) / 2
    return np.asarray(grid.affine @ back @ to_centre)


def _as_dtype(pixels: np.ndarray, dtype: Literal["float32", "uint16"], name: str) -> np.ndarray:
    if dtype == "float32":
        return pixels
    most = float(pixels.max())
    if most > np.iinfo(np.uint16).max:
        raise InputError(
            f"view '{name}' reaches {most:.0f}, more than uint16 holds: use float32, or a lower SNR or offset"
        )
    rounded: np.ndarray = np.maximum(np.rint(pixels), 0).astype(np.uint16)
    return rounded


def _checked_truth(truth: np.ndarray) -> np.ndarray:
    truth = np.asarray(truth)
    if truth.ndim != 3 or truth.size == 0:
        raise InputError(f"the specimen has shape {truth.shape}: three axes (z, y, x) are needed")
    if truth.dtype.kind not in "buif" or not np.isfinite(truth).all():
        raise InputError("the specimen has values that are not finite real numbers: replace them, for example by 0")
    low, high = float(truth.min()), float(truth.max())
    if low < 0:
        raise InputError(f"the specimen is negative (down to {low:g}): subtract its background or clip it at 0")
    if low == high:
        raise InputError(f"the specimen is {low:g} everywhere: there is nothing to record")
    return truth.astype(np.float32, copy=False)


def _check(settings: Settings) -> None:
    if not settings.angles:
        raise InputError("no angles were given: name at least one, in degrees about x")
    if not np.isfinite(settings.angles).all():
        raise InputError(f"angles must be finite degrees, not {settings.angles}")
    if not (np.isfinite(settings.attenuation) and settings.attenuation >= 0):
        raise InputError(f"attenuation must be 0 or more, not {settings.attenuation}")
    if settings.spacing < 1 or settings.spacing != int(settings.spacing):
        raise InputError(f"spacing must be a whole number of voxels, 1 or more, not {settings.spacing}")
    if not (np.isfinite(settings.snr) and settings.snr > 0):
        raise InputError(f"snr must be above 0, not {settings.snr}: for views without noise pass poisson=False")
    if not np.isfinite(settings.offset):
        raise InputError(f"offset must be a number, not {settings.offset}")
    if not (np.isfinite(settings.read_noise) and settings.read_noise >= 0):
        raise InputError(f"read_noise must be 0 or more, not {settings.read_noise}")
    if settings.dtype not in ("float32", "uint16"):
        raise InputError(f"views can be float32 or uint16, not {settings.dtype}")


def _checked_psfs(psfs: Sequence[np.ndarray], angles: Sequence[float], shape: Triple) -> list[np.ndarray]:
    """Check the PSFs and return them as float32 of sum 1."""
    if len(psfs) != len(angles):
        raise InputError(f"{len(psfs)} PSFs were given for {len(angles)} angles: each view needs one")
    kernels = []
    for psf, angle in zip(psfs, angles, strict=True):
        psf = np.asarray(psf, np.float64)
        if psf.ndim != 3 or any(n % 2 == 0 for n in psf.shape):
            raise InputError(f"the PSF of view '{angle:g}' has shape {psf.shape}: three odd sizes (z, y, x) are needed")
        if any(k > n for k, n in zip(psf.shape, shape, strict=True)):
            raise InputError(f"the PSF of view '{angle:g}' {psf.shape} is larger than the volume {shape}: crop the PSF")
        if not (np.isfinite(psf).all() and psf.sum() > 0):
            raise InputError(f"the PSF of view '{angle:g}' must be finite with a positive sum")
        kernels.append((psf / psf.sum()).astype(np.float32))
    return kernels
