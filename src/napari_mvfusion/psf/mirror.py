"""Whether a PSF or its mirror image explains the views better: finds PSFs that were saved upside down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

import numpy as np
from scipy import ndimage

from napari_mvfusion.errors import InputError
from napari_mvfusion.psf.joint_fit import JointFit
from napari_mvfusion.psf.kernel import crop_psf

# Voxels: the part that is looked at has this side, or that of the longest PSF and some more, but never more than is quick.
_LEAST_SIDE, _BEYOND_PSF, _MOST_SIDE = 48, 32, 96
# Tails beyond this share of a PSF cost time and decide nothing.
_ENERGY = 0.985
# A PSF whose mirror image differs by less than this share of its sum cannot be told from it.
_SYMMETRIC = 0.03
# What the mirror image must leave unexplained, compared with what is left anyway (noise, wrong PSFs, attenuation), and in
# standard errors, which the blocks of the volume tell. See docs/benchmarks.md.
_DECIDED = 1.05
_STANDARD_ERRORS = 5.0


@dataclass(frozen=True)
class MirrorVerdict:
    """What the views say about one PSF.

    Attributes
    ----------
    view : name of the view
    verdict : "right", "mirrored" or "undecided"
    confidence : misfit with the worse orientation over that with the better one, at least 1
    asymmetry : share of the PSF that its mirror image puts elsewhere, 0 to 1
    standard_errors : by how many standard errors the misfits differ, over the blocks of the volume
    """

    view: str
    verdict: Literal["right", "mirrored", "undecided"]
    confidence: float
    asymmetry: float
    standard_errors: float

    @property
    def symmetric(self) -> bool:
        """Whether the PSF is so nearly its own mirror image that nobody could tell."""
        return self.asymmetry < _SYMMETRIC

    @property
    def message(self) -> str:
        """The verdict in words."""
        if self.verdict == "mirrored":
            return (
                f"the PSF of view '{self.view}' seems to be mirrored: flipped on all axes it explains the views better"
            )
        if self.verdict == "right":
            return f"the PSF of view '{self.view}' has the right orientation"
        if self.symmetric:
            return f"the PSF of view '{self.view}' is nearly its own mirror image: its orientation makes no difference"
        return (
            f"whether the PSF of view '{self.view}' is mirrored cannot be told: both orientations explain the views "
            "about equally well"
        )


def check_mirror(
    views: np.ndarray,
    psfs: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[MirrorVerdict, ...]:
    """Explain a small part of the views with each PSF as it is and mirrored, and compare what is left unexplained.

    All views are explained together: a single view can be explained by either orientation, several cannot. From all PSFs
    as they are, or all mirrored, whichever is better, single ones are turned as long as that helps. Light that views lost
    on its way is fitted for each orientation anew. A PSF counts as right or mirrored only where the other orientation
    leaves clearly more unexplained, measured by what is left anyway and by how much that varies within the volume.

    Parameters
    ----------
    views : (view, z, y, x), not negative; the 48 to 96 voxels a side with the most structure are used
    psfs : one a view, (z, y, x), odd sides
    names : one a view
    progress : called many times with about the share that is done, 0 to 1; an error that it raises ends the work

    Returns
    -------
    One verdict a view.

    Raises
    ------
    InputError
        If numbers do not match or a PSF is larger than the volume.
    """
    if not len(views) == len(psfs) == len(names):
        raise InputError(f"{len(views)} views, {len(psfs)} PSFs and {len(names)} names were given: each view needs one")
    for name, psf in zip(names, psfs, strict=True):
        if any(k > n for k, n in zip(psf.shape, views.shape[1:], strict=True)):
            raise InputError(
                f"the PSF of view '{name}' has shape {psf.shape}, larger than the volume {views.shape[1:]}"
            )
    kernels = [crop_psf(np.maximum(psf, 0).astype(np.float64), _ENERGY) for psf in psfs]
    kernels = [kernel / kernel.sum() for kernel in kernels]
    longest = [max(kernel.shape[axis] for kernel in kernels) for axis in range(3)]
    box = _most_structure(views, [min(max(_LEAST_SIDE, n + _BEYOND_PSF), _MOST_SIDE) for n in longest])
    pixels = np.stack([view[box] / max(float(view[box].mean(dtype=np.float64)), 1e-12) for view in views]).astype(
        np.float32
    )
    asymmetries = [float(np.abs(k - k[::-1, ::-1, ::-1]).sum() / 2) for k in kernels]
    fit = JointFit(pixels, kernels)
    left: dict[tuple[bool, ...], np.ndarray] = {}

    def weigh(orientations: tuple[bool, ...]) -> float:
        def tell() -> None:
            progress(min(len(left) / (2 * len(kernels) + 2), 1.0))

        if orientations not in left:
            left[orientations] = fit.residuals(orientations, tell)
            tell()
        return float(left[orientations].mean())

    def descend(start: tuple[bool, ...]) -> tuple[bool, ...]:
        """Turn one PSF after the other as long as that explains the views better."""
        turnable = [v for v, asymmetry in enumerate(asymmetries) if asymmetry >= _SYMMETRIC]
        best = min([start, *(_turned(start, v) for v in turnable)], key=weigh)
        return best if best == start else descend(best)

    # From either end: views that look against each other have a second, false minimum with all PSFs turned.
    ends = [tuple(end for _ in kernels) for end in (False, True)]
    best = descend(min(ends, key=weigh))
    everything = tuple(not turned for turned in best)
    if weigh(everything) < weigh(best):
        best = descend(everything)
    return tuple(
        _verdict(name, v, asymmetry, best, left)
        for v, (name, asymmetry) in enumerate(zip(names, asymmetries, strict=True))
    )


def _verdict(
    name: str, v: int, asymmetry: float, best: tuple[bool, ...], left: dict[tuple[bool, ...], np.ndarray]
) -> MirrorVerdict:
    """Compare the best orientations with all others in which a PSF is turned."""
    confidence, errors = inf, inf
    for other, unexplained in left.items():
        if other[v] != best[v]:
            more = unexplained - left[best]
            spread = float(more.std()) / sqrt(more.size)
            confidence = min(confidence, float(unexplained.mean()) / max(float(left[best].mean()), 1e-12))
            errors = min(errors, float(more.mean()) / max(spread, 1e-12))
    verdict: Literal["right", "mirrored", "undecided"] = "mirrored" if best[v] else "right"
    if asymmetry < _SYMMETRIC or confidence < _DECIDED or errors < _STANDARD_ERRORS:
        verdict = "undecided"
    return MirrorVerdict(name, verdict, max(confidence, 1.0), asymmetry, max(errors, 0.0))


def _turned(orientations: tuple[bool, ...], v: int) -> tuple[bool, ...]:
    return (*orientations[:v], not orientations[v], *orientations[v + 1 :])


def _most_structure(views: np.ndarray, sides: Sequence[int]) -> tuple[slice, slice, slice]:
    """The box of at most these sides in which the views vary most."""
    mean = views.mean(axis=0, dtype=np.float32)
    size = [min(side, n) for side, n in zip(sides, mean.shape, strict=True)]
    detail = (mean - ndimage.uniform_filter(mean, 9)) ** 2
    amount = ndimage.uniform_filter(detail, size, mode="constant")
    reach = tuple(slice(s // 2, n - (s - 1) // 2) for s, n in zip(size, mean.shape, strict=True))
    place = np.unravel_index(int(np.argmax(amount[reach])), amount[reach].shape)
    z, y, x = (slice(int(p), int(p) + s) for p, s in zip(place, size, strict=True))
    return z, y, x


def flipped(psf: np.ndarray) -> np.ndarray:
    """The mirror image of a PSF, turned around on all axes."""
    return np.ascontiguousarray(psf[::-1, ::-1, ::-1])
