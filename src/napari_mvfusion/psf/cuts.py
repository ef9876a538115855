"""Three cuts through a PSF as small pictures, and its numbers: what the panel shows of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_mvfusion.data.geometry import FloatTriple, Triple, float_triple, triple
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
    """What is shown of a PSF: cuts through its peak, its shape, and its full width at half maximum in voxels and um."""

    cuts: tuple[Cut, ...]
    shape: Triple
    fwhm_voxels: FloatTriple
    fwhm_um: FloatTriple


def look_of(psf: np.ndarray, voxel_size_um: FloatTriple) -> PSFLook | None:
    """Cuts and widths of a PSF, or None where it holds nothing that could be shown.

    Parameters
    ----------
    psf : (z, y, x), of any values
    voxel_size_um : (z, y, x)
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
    in_um = float_triple(w * s for w, s in zip(widths, voxel_size_um, strict=True))
    return PSFLook(tuple(cuts), triple(psf.shape), widths, in_um)
