"""Back-projection kernels of multi-view deconvolution, computed in float64."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import fft

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.errors import InputError

_ROUNDING = 1e-12

KernelType = Literal["independent", "efficient_bayesian", "optimisation_1", "optimisation_2"]


def back_projection_kernels(psfs: Sequence[np.ndarray], kind: KernelType) -> list[np.ndarray]:
    """Compute the kernels that carry the ratio of view and blurred estimate back into the fused volume.

    With `P~` the PSF turned upside down on all axes, `(x)` convolution, `*` the product of voxels, and w running over
    the views other than v, the kernel of view v is

    - independent: `P_v~`
    - efficient_bayesian: `P_v~ * prod_w (P_v~ (x) P_w (x) P_w~)`
    - optimisation_1: `P_v~ * prod_w (P_v~ (x) P_w)`
    - optimisation_2: `P_v~ ^ V`, with V views

    Parameters
    ----------
    psfs : one PSF (z, y, x) a view, odd sizes, which may differ from view to view
    kind : which of the four

    Returns
    -------
    float64 (z, y, x), one a view, with the size of the view's PSF and sum 1.

    Raises
    ------
    InputError
        If the kernel of a view vanishes, because PSFs do not overlap or cancel.

    References
    ----------
    Preibisch et al., Efficient Bayesian-based multiview deconvolution, Nature Methods 11 (2014).
    """
    # Kept for the next time, because a preview asks again and again: the values themselves are the key.
    kernels = _remembered(kind, tuple((psf.shape, np.asarray(psf, np.float64).tobytes()) for psf in psfs))
    return [kernel.copy() for kernel in kernels]


@lru_cache(maxsize=8)
def _remembered(kind: KernelType, values: tuple[tuple[tuple[int, ...], bytes], ...]) -> tuple[np.ndarray, ...]:
    psfs = [np.frombuffer(raw, np.float64).reshape(shape) for shape, raw in values]
    upside_down = [np.flip(psf) / np.abs(psf).sum(dtype=np.float64) for psf in psfs]
    if kind == "independent":
        kernels = upside_down
    elif kind == "optimisation_2":
        kernels = [_scaled(psf) ** len(psfs) for psf in upside_down]
    else:
        kernels = _products(upside_down, self_correlated=kind == "efficient_bayesian")
    return tuple(_normalised(kernel, number, kind) for number, kernel in enumerate(kernels))


def _products(upside_down: Sequence[np.ndarray], *, self_correlated: bool) -> list[np.ndarray]:
    """`P_v~ * prod_w (P_v~ (x) Q_w)`, where Q_w is `P_w (x) P_w~` or, without self-correlation, `P_w`."""
    radius = [max(psf.shape[axis] // 2 for psf in upside_down) for axis in range(3)]
    # Of a result that reaches 4 radii, only the middle is kept: what wraps round may fall anywhere else.
    sizes = triple(fft.next_fast_len(4 * r + 1, real=True) for r in radius)
    spectra = [fft.rfftn(_about_origin(psf, sizes)) for psf in upside_down]
    partners = [np.abs(s) ** 2 if self_correlated else s.conj() for s in spectra]
    kernels = []
    for v, psf in enumerate(upside_down):
        kernel = _scaled(psf)
        for w, partner in enumerate(partners):
            if w != v:
                blurred = _scaled(fft.irfftn(spectra[v] * partner, sizes))
                # Scaled again after each factor, so that a product of many does not underflow.
                kernel = _scaled(kernel * _middle(blurred, triple(psf.shape)))
        kernels.append(kernel)
    return kernels


def _about_origin(kernel: np.ndarray, sizes: Triple) -> np.ndarray:
    """The kernel with its centre at index 0 of a periodic block."""
    block = np.zeros(sizes)
    block[tuple(slice(n) for n in kernel.shape)] = kernel
    return np.roll(block, [-(n // 2) for n in kernel.shape], axis=(0, 1, 2))


def _middle(block: np.ndarray, shape: Triple) -> np.ndarray:
    """The surroundings of index 0 of a periodic block, with index 0 in the centre."""
    return np.roll(block, [n // 2 for n in shape], axis=(0, 1, 2))[tuple(slice(n) for n in shape)]


def _scaled(kernel: np.ndarray) -> np.ndarray:
    """The kernel with a largest magnitude of 1, or zeros where there is nothing but rounding of values up to 1."""
    largest = float(np.abs(kernel).max())
    return np.asarray(kernel / largest) if largest > _ROUNDING else np.zeros_like(kernel)


def _normalised(kernel: np.ndarray, number: int, kind: KernelType) -> np.ndarray:
    total = kernel.sum()
    if not total > 1e-6 * np.abs(kernel).sum():
        raise InputError(
            f"the {kind} kernel of PSF {number} vanishes, because the PSFs do not overlap or cancel: "
            "check that each peaks at its centre, or use the kernel 'independent'"
        )
    return np.asarray(kernel / total)
