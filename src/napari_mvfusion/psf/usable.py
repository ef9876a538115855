"""What keeps a view's PSF from being used, checked in one place and said in one wording.

Methods, training, residuals, the check of orientation, `mvfusion info` and the panels all ask here.
"""

from __future__ import annotations

import numpy as np

from napari_mvfusion.data.events import Statement
from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.view import View
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging import radius_of
from napari_mvfusion.psf.kernel import check_psf

# More than the far tails of a measured PSF hold: then the volume tells little of what the PSF gathers.
_MOST_BEYOND = 0.1
# From here on it is warned of; less is what a PSF cut a voxel or two wider than the volume loses.
_MATTERS = 0.01
_NOT_WORTH_SAYING = 0.001


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


def check_usable(psf: np.ndarray, label: str, volume: Triple) -> list[str]:
    """Refuse a PSF that nothing can be deconvolved with.

    One whose tails alone reach further than the volume is used as it is: what lies outside counts as the mirror image of
    what lies inside, which is wrong for the share of the light in these tails.

    Parameters
    ----------
    psf : (z, y, x)
    label : of its view, for messages, see `View.label_of_psf`
    volume : (z, y, x) of the fused volume

    Returns
    -------
    How much of it reaches beyond the volume, in words, where some does: a `Statement` below 1 % of the light.

    Raises
    ------
    InputError
        As `check_psf`, or where much of it reaches beyond the volume.
    """
    check_psf(psf, label)
    # Zeros around it do not count: what matters is how far it really reaches.
    span = triple(2 * r + 1 for r in radius_of(psf))
    if all(s <= n for s, n in zip(span, volume, strict=True)):
        return []
    beyond = _share_beyond(psf, volume)
    if beyond > _MOST_BEYOND:
        raise InputError(
            f"the PSF of {label} spans {span} voxels, more than the volume of {volume}, and {beyond:.0%} of its light lies "
            "beyond: crop the PSF, or fuse a larger volume"
        )
    if beyond < _NOT_WORTH_SAYING:
        return []
    words = (
        f"the PSF of {label} spans {span} voxels, more than the volume of {volume}: {beyond:.1%} of its light lies beyond, "
        "and counts as if the volume went on as its mirror image"
    )
    return [words if beyond >= _MATTERS else Statement(words)]


def _share_beyond(psf: np.ndarray, volume: Triple) -> float:
    """The share of a PSF's light that lies further from its middle than half of the volume, along any axis."""
    reach = [min((n - 1) // 2, k // 2) for n, k in zip(volume, psf.shape, strict=True)]
    inside = tuple(slice(k // 2 - r, k // 2 + r + 1) for k, r in zip(psf.shape, reach, strict=True))
    magnitude = np.abs(psf.astype(np.float64))
    return 1 - float(magnitude[inside].sum() / magnitude.sum())


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
    called = view.label_of_psf
    return [*check_usable(psf, called, volume), *check_psf(normalised(psf), called)]
