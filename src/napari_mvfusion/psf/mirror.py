"""Whether a PSF or its mirror image explains the views better: finds PSFs that were saved upside down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import fft, ndimage

from napari_mvfusion.errors import InputError
from napari_mvfusion.psf.kernel import crop_psf

_SIDE = 56
_ITERATIONS = 6
# Tails beyond this share of a PSF cost time and decide nothing.
_ENERGY = 0.985
# A PSF whose mirror image differs by less than this share of its sum cannot be told from it.
_SYMMETRIC = 0.03
_DECIDED = 1.02


@dataclass(frozen=True)
class MirrorVerdict:
    """What the views say about one PSF.

    Attributes
    ----------
    view : name of the view
    verdict : "right", "mirrored" or "undecided"
    confidence : misfit with the worse orientation over that with the better one, at least 1
    asymmetry : share of the PSF that its mirror image puts elsewhere, 0 to 1
    """

    view: str
    verdict: Literal["right", "mirrored", "undecided"]
    confidence: float
    asymmetry: float

    @property
    def message(self) -> str:
        """The verdict in words."""
        if self.verdict == "mirrored":
            return (
                f"the PSF of view '{self.view}' seems to be mirrored: flipped on all axes it explains the views better"
            )
        if self.verdict == "right":
            return f"the PSF of view '{self.view}' has the right orientation"
        return f"the orientation of the PSF of view '{self.view}' makes no difference that could be seen"


def check_mirror(
    views: np.ndarray,
    psfs: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[MirrorVerdict, ...]:
    """Deconvolve a small part of the views with each PSF as it is and mirrored, and compare how well that explains them.

    All views are deconvolved together: a single view can be explained by either orientation, several cannot. From all
    PSFs as they are, and from all mirrored, single ones are turned as long as that helps.

    Parameters
    ----------
    views : (view, z, y, x), not negative; the 56^3 voxels with the most structure are used
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
    box = _most_structure(views)
    pixels = np.stack([view[box] / max(float(view[box].mean(dtype=np.float64)), 1e-12) for view in views]).astype(
        np.float32
    )
    kernels = [crop_psf(np.maximum(psf, 0).astype(np.float64), _ENERGY) for psf in psfs]
    kernels = [kernel / kernel.sum() for kernel in kernels]
    asymmetries = [float(np.abs(k - k[::-1, ::-1, ::-1]).sum() / 2) for k in kernels]
    misfit: dict[tuple[bool, ...], float] = {}

    def weigh(orientations: tuple[bool, ...]) -> None:
        def tell() -> None:
            progress(min(len(misfit) / (2 * len(kernels) + 2), 1.0))

        if orientations not in misfit:
            misfit[orientations] = _misfit(pixels, kernels, orientations, tell)
            tell()

    def descend(start: tuple[bool, ...]) -> tuple[bool, ...]:
        """Turn one PSF after the other as long as that explains the views better."""
        weigh(start)
        best = start
        for other in [_turned(start, v) for v, asymmetry in enumerate(asymmetries) if asymmetry >= _SYMMETRIC]:
            weigh(other)
            best = min(best, other, key=misfit.__getitem__)
        return best if best == start else descend(best)

    # From both ends: views that look against each other have a second, false minimum with all PSFs turned.
    starts = (tuple(False for _ in kernels), tuple(True for _ in kernels))
    best = min((descend(start) for start in starts), key=misfit.__getitem__)
    verdicts = []
    for v, (name, asymmetry) in enumerate(zip(names, asymmetries, strict=True)):
        other = _turned(best, v)
        confidence = misfit[other] / misfit[best] if other in misfit else 1.0
        everything = tuple(not b for b in best)
        if everything in misfit:
            confidence = min(confidence, misfit[everything] / misfit[best])
        verdict: Literal["right", "mirrored", "undecided"] = "mirrored" if best[v] else "right"
        if asymmetry < _SYMMETRIC or confidence < _DECIDED:
            verdict = "undecided"
        verdicts.append(MirrorVerdict(name, verdict, float(confidence), asymmetry))
    return tuple(verdicts)


def _turned(orientations: tuple[bool, ...], v: int) -> tuple[bool, ...]:
    return (*orientations[:v], not orientations[v], *orientations[v + 1 :])


def _most_structure(views: np.ndarray) -> tuple[slice, slice, slice]:
    """The box of at most 56^3 voxels in which the views vary most."""
    mean = views.mean(axis=0, dtype=np.float32)
    size = [min(_SIDE, n) for n in mean.shape]
    detail = (mean - ndimage.uniform_filter(mean, 9)) ** 2
    amount = ndimage.uniform_filter(detail, size, mode="constant")
    reach = tuple(slice(s // 2, n - (s - 1) // 2) for s, n in zip(size, mean.shape, strict=True))
    place = np.unravel_index(int(np.argmax(amount[reach])), amount[reach].shape)
    z, y, x = (slice(int(p), int(p) + s) for p, s in zip(place, size, strict=True))
    return z, y, x


def _misfit(
    pixels: np.ndarray, kernels: Sequence[np.ndarray], mirrored: Sequence[bool], tell: Callable[[], None]
) -> float:
    """Mean squared residual over the expected value, after some Richardson-Lucy updates with every view in turn.

    Calls `tell` before each update.
    Only voxels that no PSF connects with what lies outside are scored.
    """
    shape = pixels.shape[1:]
    sizes = tuple(fft.next_fast_len(n + max(k.shape[a] for k in kernels) - 1, real=True) for a, n in enumerate(shape))
    used = [k[::-1, ::-1, ::-1] if flip else k for k, flip in zip(kernels, mirrored, strict=True)]
    transfers = [_transfer(k, sizes) for k in used]
    psi = np.maximum(pixels.mean(axis=0), 1e-3)
    for _ in range(_ITERATIONS):
        for x, transfer in zip(pixels, transfers, strict=True):
            tell()
            blurred = np.maximum(_convolve(psi, transfer, sizes), 1e-4)
            psi = np.maximum(psi * _convolve(x / blurred, transfer.conj(), sizes), 1e-4)
    margin = [max(k.shape[a] for k in kernels) // 2 for a in range(3)]
    inner = tuple(
        slice(m, n - m) if n > 3 * m else slice(n // 3, n - n // 3) for m, n in zip(margin, shape, strict=True)
    )
    total = 0.0
    for x, transfer in zip(pixels, transfers, strict=True):
        blurred = np.maximum(_convolve(psi, transfer, sizes), 1e-4)
        total += float(np.mean(((x - blurred) ** 2 / (blurred + 0.05))[inner]))
    return total


def _transfer(kernel: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    padded = np.zeros(sizes, np.float32)
    padded[tuple(slice(0, n) for n in kernel.shape)] = kernel
    centred = np.roll(padded, [-(n // 2) for n in kernel.shape], axis=(0, 1, 2))
    return np.asarray(fft.rfftn(centred))


def _convolve(values: np.ndarray, transfer: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Convolve with mirrored borders on the circle of the FFT."""
    pad = [(0, n - m) for n, m in zip(sizes, values.shape, strict=True)]
    mirrored = np.pad(values, _around(pad), mode="reflect")
    mirrored = np.roll(mirrored, [-before for before, _ in _around(pad)], axis=(0, 1, 2))
    blurred = fft.irfftn(fft.rfftn(mirrored) * transfer, sizes)
    return np.asarray(blurred[tuple(slice(0, n) for n in values.shape)])


def _around(pad: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(total // 2, total - total // 2) for _, total in pad]


def flipped(psf: np.ndarray) -> np.ndarray:
    """The mirror image of a PSF, turned around on all axes."""
    return np.ascontiguousarray(psf[::-1, ::-1, ::-1])
