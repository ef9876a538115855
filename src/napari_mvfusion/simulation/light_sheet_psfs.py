"""Modelled point-spread functions of a light-sheet microscope, at any angle about x."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, sqrt

import numpy as np

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.simulation.rotation import cos_sin

# The widths of the PSFs measured for the 289-voxel embryo, in voxels.
_REFERENCE_SIZE = 289
_AXIAL_FWHM = 13.0
_LATERAL_FWHM = 3.5
# A camera is chosen to sample the objective: below about 1.75 voxels the PSF would be undersampled.
_SMALLEST_SCALE = 0.5
_SMALLEST_FWHM = 1.5
# The objective alone sections 2.5 times worse than together with the sheet.
_DETECTION_TO_AXIAL = 2.5


def light_sheet_psf(
    angle: float = 0.0,
    *,
    axial_fwhm: float = _AXIAL_FWHM,
    lateral_fwhm: float = _LATERAL_FWHM,
    asymmetry: float = 0.2,
    shape: Triple | None = None,
) -> np.ndarray:
    """Model the PSF of a view as the product of detection and light sheet.

    Detection is a Gaussian beam: with u along the detection axis and r across it, `(w0 / w)^2 exp(-2 r^2 / w^2)`,
    `w = w0 sqrt(1 + (u / u_R)^2)`. The sheet is a Gaussian in u. Aberration is modelled by stretching the side u < 0 by
    1 + asymmetry and the side u > 0 by 1 - asymmetry, which keeps the full width and moves the tail to one side, as in
    measured PSFs.

    Parameters
    ----------
    angle : direction of the detection axis about x in degrees: 0 lies along z, 90 along y
    axial_fwhm, lateral_fwhm : full widths at half maximum along and across the detection axis through the peak,
        voxels, at least 1.5
    asymmetry : 0 (symmetric) to below 1
    shape : (z, y, x), odd; when None, wide enough for more than 99 % of the light

    Returns
    -------
    float32 (z, y, x), odd sizes, sum 1, peak at the centre

    Raises
    ------
    InputError
        If a width, the asymmetry or the shape is out of range.
    """
    if not (axial_fwhm >= _SMALLEST_FWHM and lateral_fwhm >= _SMALLEST_FWHM):
        raise InputError(
            f"a PSF of {axial_fwhm} by {lateral_fwhm} voxels cannot be sampled: "
            f"widths must be at least {_SMALLEST_FWHM}"
        )
    if not 0 <= asymmetry < 1:
        raise InputError(f"the asymmetry of a PSF must be from 0 to below 1, not {asymmetry}")
    cos, sin = cos_sin(angle)
    waist = lateral_fwhm / sqrt(2 * log(2))
    if shape is None:
        along, across = ceil(1.6 * axial_fwhm * (1 + asymmetry)), ceil(2.5 * waist)
        half_z = ceil(abs(cos) * along + abs(sin) * across)
        half_y = ceil(abs(sin) * along + abs(cos) * across)
        shape = (2 * half_z + 1, 2 * half_y + 1, 2 * across + 1)
    if len(shape) != 3 or any(n < 1 or n % 2 == 0 for n in shape):
        raise InputError(f"a PSF needs three odd sizes (z, y, x), not {shape}")
    z, y, x = np.ogrid[tuple(slice(-(n // 2), n // 2 + 1) for n in shape)]
    u = cos * z + sin * y
    u = u / np.where(u < 0, 1 + asymmetry, 1 - asymmetry)
    r_squared = (cos * y - sin * z) ** 2 + x**2

    # The sheet is as thick as it takes for the product to fall to one half at half the axial width.
    rayleigh = _DETECTION_TO_AXIAL * axial_fwhm / 2
    detection_at_half = 1 / (1 + (axial_fwhm / 2 / rayleigh) ** 2)
    sheet = np.exp(log(0.5 / detection_at_half) * (2 * u / axial_fwhm) ** 2)
    widening = 1 + (u / rayleigh) ** 2
    psf = sheet * np.exp(-2 * r_squared / (waist**2 * widening)) / widening
    return np.asarray(psf / psf.sum(), np.float32)


def light_sheet_psfs(angles: Sequence[float], size: int) -> list[np.ndarray]:
    """PSFs of views at these angles, with widths that follow the size of the specimen.

    At 289 voxels the full widths at half maximum are those of the measured PSFs, 13 voxels along the detection axis and
    3.5 across. They are multiplied by size / 289, but never by less than 0.5: finer voxels than the objective resolves
    are common, coarser ones are not.
    """
    scale = max(size / _REFERENCE_SIZE, _SMALLEST_SCALE)
    return [light_sheet_psf(a, axial_fwhm=_AXIAL_FWHM * scale, lateral_fwhm=_LATERAL_FWHM * scale) for a in angles]
