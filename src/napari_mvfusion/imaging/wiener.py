"""Linear multi-view deconvolution in closed form: the Wiener filter of all views together, at several strengths.

In Fourier space, with views X_v, transfer functions H_v and weights a_v of mean 1, the image that minimises
`mean_v a_v |H_v W - X_v|^2 + level |W|^2` is

    W = mean_v(a_v conj(H_v) X_v) / (mean_v(a_v |H_v|^2) + level)

A small level undoes more of the blur and lets more noise through.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.imaging.borders import Layout, good_size, lay_out
from napari_mvfusion.imaging.spectral import HALVED, to_circle
from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.imaging.transfer import TransferCache, crop, radius_of, transfer_bytes

_AXES = (-3, -2, -1)
_KEPT_BYTES = 2**30


class WienerBank:
    """The Wiener filter of V views at L levels, and what each view would look like if the result were the truth.

    Parameters
    ----------
    psfs : V arrays (z, y, x), odd sizes, sum 1
    weights : trust in each view; only ratios count
    levels : L numbers above 0
    base_level : index of the level whose result is blurred again
    device : where it computes
    """

    def __init__(
        self,
        psfs: Sequence[np.ndarray],
        weights: Sequence[float],
        levels: Sequence[float],
        base_level: int,
        device: torch.device,
    ) -> None:
        self._kernels = [crop(psf, radius_of(psf)) for psf in (np.asarray(psf, np.float64) for psf in psfs)]
        self._weights = np.asarray(weights, float) / np.mean(weights)
        self._levels = tuple(levels)
        self._base_level = base_level
        self.device = device
        self._transfers = TransferCache(_KEPT_BYTES)

    def __call__(self, views: torch.Tensor, target: Box, margin: Triple) -> tuple[torch.Tensor, torch.Tensor]:
        """Filter a block.

        Parameters
        ----------
        views : float32 (view, z, y, x)
        target : part of the block to compute
        margin : voxels that the block is mirrored beyond its border, before it wraps round

        Returns
        -------
        blurred (view, z, y, x) and sharp (level, z, y, x), float32 over the target

        Raises
        ------
        Interrupted
            If the work was cancelled between two transforms, see `napari_mvfusion.imaging.threads.interruptible`.
        """
        layout, projected, power = self._project(views, margin)
        inner = target.slices
        sharp = torch.empty((len(self._levels), *target.shape), device=views.device)
        for number, level in enumerate(self._levels):
            poll()
            sharp[number] = torch.fft.irfftn(projected / (power + level), s=layout.sizes, dim=_AXES)[inner]
        projected.div_(power.add_(self._levels[self._base_level]))
        blurred = torch.empty((len(self._kernels), *target.shape), device=views.device)
        for number, kernel in enumerate(self._kernels):
            poll()
            seen = projected * self._transfer(kernel, layout.sizes)
            blurred[number] = torch.fft.irfftn(seen, s=layout.sizes, dim=_AXES, norm="forward")[inner]
        return blurred, sharp

    def at_base_level(self, views: torch.Tensor, margin: Triple) -> torch.Tensor:
        """The filter of a block at the level whose result is blurred again: float32 (z, y, x) over the whole block."""
        layout, projected, power = self._project(views, margin)
        projected.div_(power.add_(self._levels[self._base_level]))
        image: torch.Tensor = torch.fft.irfftn(projected, s=layout.sizes, dim=_AXES)
        return image[Box.whole(triple(views.shape[1:])).slices]

    def blurred(self, image: torch.Tensor, margin: Triple) -> torch.Tensor:
        """What each view would look like if an image were the truth.

        Parameters
        ----------
        image : float32 (z, y, x), a block as for a call
        margin : likewise

        Returns
        -------
        float32 (view, z, y, x), without what the weights say.
        """
        block = triple(image.shape)
        whole = Box.whole(block)
        layout = lay_out(block, whole, whole, margin, "mirror", self._sizes(block, margin))
        spectrum = torch.fft.rfftn(to_circle(image, layout), dim=_AXES)
        blurred = torch.empty((len(self._kernels), *block), device=image.device)
        for number, kernel in enumerate(self._kernels):
            poll()
            seen = spectrum * self._transfer(kernel, layout.sizes)
            blurred[number] = torch.fft.irfftn(seen, s=layout.sizes, dim=_AXES, norm="forward")[whole.slices]
        return blurred

    def working_bytes(self, block: Triple, margin: Triple) -> int:
        """An upper bound of the memory in use for a block, with what is kept; its inputs and results not counted."""
        # Block on the circle, its spectrum, the sum, the power, a product, a transfer function and two temporaries.
        sizes = self._sizes(block, margin)
        kept = min(_KEPT_BYTES, len(self._kernels) * transfer_bytes(sizes, HALVED))
        return 8 * transfer_bytes(sizes, HALVED) + kept

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._transfers.clear()

    def _project(self, views: torch.Tensor, margin: Triple) -> tuple[Layout, torch.Tensor, torch.Tensor]:
        """Spectra of the views brought back to the image, and how much of each frequency they saw; means over the views."""
        block = triple(views.shape[1:])
        whole = Box.whole(block)
        layout = lay_out(block, whole, whole, margin, "mirror", self._sizes(block, margin))
        samples = prod(layout.sizes)
        projected = power = None
        for view, kernel, weight in zip(views, self._kernels, self._weights, strict=True):
            poll()
            # Transfer functions come divided by the number of samples, for the inverse transform.
            transfer = self._transfer(kernel, layout.sizes) * samples
            spectrum = torch.fft.rfftn(to_circle(view, layout), dim=_AXES).mul_(transfer.conj()).mul_(float(weight))
            strength = transfer.abs().square_().mul_(float(weight))
            projected = spectrum if projected is None else projected.add_(spectrum)
            power = strength if power is None else power.add_(strength)
        assert projected is not None
        assert power is not None
        return layout, projected.div_(len(self._kernels)), power.div_(len(self._kernels))

    def _sizes(self, block: Triple, margin: Triple) -> Triple:
        return triple(
            good_size(max(n + 2 * m, *(kernel.shape[axis] for kernel in self._kernels)))
            for axis, (n, m) in enumerate(zip(block, margin, strict=True))
        )

    def _transfer(self, kernel: np.ndarray, sizes: Triple) -> torch.Tensor:
        return self._transfers.get(kernel, sizes, halved=HALVED, device=self.device)
