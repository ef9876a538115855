"""What keeps a view's PSF from being used, checked in one place and said in one wording.

Methods, training, residuals, the check of orientation, `mvfusion info` and the panels all ask here.
"""

from __future__ import annotations

import numpy as np

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging import radius_of
from napari_mvfusion.psf.kernel import check_psf


def psf_of(view: View, needed_by: str) -> np.ndarray:
    """The PSF of a view, for what cannot do without.

    Parameters
    ----------
    view : the view
    needed_by : what needs it, for the message: "deconvolution", "the residual"

    Returns
    -------
    (z, y, x), as the view has it.

    Raises
    ------
    InputError
        If there is none, or the one that was given cannot be used; says how to get one.
    """
    if view.psf_flaw:
        raise InputError(view.psf_flaw)
    if view.psf is None:
        stem = view.name if view.angle is None else f"{view.angle:g}"
        raise InputError(
            f"{view.label} has no PSF, which {needed_by} needs: put it beside the view as psf_{stem}.tif, name its file, or "
            "measure it from beads"
        )
    return view.psf


def normalised(psf: np.ndarray) -> np.ndarray:
    """A PSF with the sum 1, float64 (z, y, x)."""
    return np.asarray(psf / psf.sum(dtype=np.float64), np.float64)


def check_usable(psf: np.ndarray, label: str, volume: Triple) -> None:
    """Refuse a PSF that nothing can be deconvolved with.

    Parameters
    ----------
    psf : (z, y, x)
    label : of its view, for messages
    volume : (z, y, x) of the fused volume

    Raises
    ------
    InputError
        As `check_psf`, or where it reaches beyond the volume.
    """
    check_psf(psf, label)
    # Zeros around it do not count: what matters is how far it really reaches.
    span = triple(2 * r + 1 for r in radius_of(psf))
    if any(s > n for s, n in zip(span, volume, strict=True)):
        raise InputError(
            f"the PSF of {label} spans {span} voxels, more than the volume of {volume}: "
            "crop the PSF, or fuse a larger volume"
        )


def look_at_psf(view: View, volume: Triple, needed_by: str) -> list[str]:
    """Refuse a view whose PSF nothing can be deconvolved with, and say what is odd about it.

    Parameters
    ----------
    view : the view
    volume : (z, y, x) of the fused volume
    needed_by : what needs the PSF

    Raises
    ------
    InputError
        As `psf_of` and `check_usable`.
    """
    psf = psf_of(view, needed_by)
    check_usable(psf, view.label, volume)
    return check_psf(normalised(psf), view.label)
