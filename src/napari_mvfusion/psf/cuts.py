"""Three cuts through a PSF as small pictures, and its numbers: what the panel shows of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import ALL_KNOWN, FloatTriple, Known, StatedSize, Triple, triple
from napari_mvfusion.psf import fwhm

# Below 1, so that the tails, a few percent of the peak, can be seen.
_GAMMA = 0.5


@dataclass(frozen=True, eq=False)
class Cut:
    """One cut.

    Attributes
    ----------
    axes : what runs down and what runs to the right, for example "zx"
    picture : uint8 (rows, columns), the square root of the PSF
    size_um : height and width
    """

    axes: str
    picture: np.ndarray
    size_um: tuple[float, float]


@dataclass(frozen=True, eq=False)
class PSFLook:
    """What is shown of a PSF: cuts through its peak, its shape, and its full width at half maximum.

    Attributes
    ----------
    cuts : through its peak
    shape, fwhm_voxels, fwhm_um : (z, y, x); None along axes where the voxel size is not known
    """

    cuts: tuple[Cut, ...]
    shape: Triple
    fwhm_voxels: FloatTriple
    fwhm_um: StatedSize


def look_of(psf: np.ndarray, voxel_size_um: FloatTriple, known: Known = ALL_KNOWN) -> PSFLook | None:
    """Cuts and widths of a PSF, or None where it holds nothing that could be shown.

    Parameters
    ----------
    psf : (z, y, x), of any values
    voxel_size_um : (z, y, x)
    known : along which axes that is known
    """
    if psf.ndim != 3 or 0 in psf.shape:
        return None
    values = np.maximum(np.nan_to_num(np.asarray(psf, np.float32), nan=0.0, posinf=0.0, neginf=0.0), 0)
    top = float(values.max())
    if top <= 0:
        return None
    peak = np.unravel_index(int(np.argmax(values)), values.shape)
    cuts = []
    for axes, through in (("yx", 0), ("zx", 1), ("zy", 2)):
        plane = np.take(values, int(peak[through]), axis=through)
        picture = np.round(255 * (plane / top) ** _GAMMA).astype(np.uint8)
        size = [n * s for i, (n, s) in enumerate(zip(values.shape, voxel_size_um, strict=True)) if i != through]
        cuts.append(Cut(axes, np.ascontiguousarray(picture), (size[0], size[1])))
    widths = fwhm(values)
    z, y, x = (w * s if is_known else None for w, s, is_known in zip(widths, voxel_size_um, known, strict=True))
    return PSFLook(tuple(cuts), triple(psf.shape), widths, (z, y, x))
