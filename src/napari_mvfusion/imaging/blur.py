"""The image formation of all views as one linear operator: blur with each PSF, and its exact adjoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.errors import InputError
from napari_mvfusion.imaging.borders import Border, lay_out
from napari_mvfusion.imaging.spectral import HALVED, convolve, correlate
from napari_mvfusion.imaging.transfer import TransferCache, crop, radius_of

# Enough for the four 51^3 PSFs of a dozen training tiles of 64^3, or of one volume of 256^3.
_CACHE = TransferCache(2**30)


class Blur:
    """The blur of a volume by the PSFs of V views, and its adjoint.

    Blurs by real FFT with cached transfer functions. Everything is made of torch operations, so gradients flow
    through both directions. Nothing about it changes after it is made.

    Parameters
    ----------
    psfs : V arrays (z, y, x) with odd sizes, which may differ; used as they are, so normalise them to sum 1
    shape : (z, y, x) of the volumes
    border : "mirror" reflects the volume about its edge voxels (numpy's "reflect"), also when a PSF is larger than the
        volume; "zero" takes what lies outside for 0
    device : where it computes
    cache : keeps the transfer functions; a cache of 1 GiB that all share when None

    Attributes
    ----------
    radius : voxels that the largest PSF reaches along (z, y, x); beyond this from the border of a block, its blur does
        not depend on what surrounds the block

    Raises
    ------
    InputError
        If there is no PSF, or one has an even or missing axis or a value that is not finite.

    Examples
    --------
    >>> psf = np.full((1, 1, 3), 1 / 3)
    >>> blur = Blur([psf], (1, 1, 4), border="zero")
    >>> blur(torch.tensor([[[0.0, 3.0, 0.0, 0.0]]])).round(decimals=3).tolist()
    [[[[1.0, 1.0, 1.0, 0.0]]]]
    """

    def __init__(
        self,
        psfs: Sequence[np.ndarray] | np.ndarray,
        shape: Triple,
        border: Border = "mirror",
        device: torch.device | str = "cpu",
        cache: TransferCache | None = None,
    ) -> None:
        kernels = [np.asarray(psf, np.float64) for psf in psfs]
        if not kernels:
            raise InputError("no PSF was given: a blur needs one for each view")
        for number, kernel in enumerate(kernels):
            if kernel.ndim != 3 or any(n % 2 == 0 for n in kernel.shape):
                raise InputError(f"PSF {number} has shape {kernel.shape}: three odd sizes (z, y, x) are needed")
            if not np.isfinite(kernel).all():
                raise InputError(f"PSF {number} has values that are not finite: repair or measure it again")
        reach = [radius_of(kernel) for kernel in kernels]
        self.shape = triple(shape)
        self.radius: Triple = triple(max(r) for r in zip(*reach, strict=True))
        self.border: Border = border
        self.device = torch.device(device)
        whole = Box.whole(self.shape)
        self._layout = lay_out(self.shape, whole, whole, self.radius, border)
        stack = np.stack([crop(kernel, self.radius) for kernel in kernels])
        cache = _CACHE if cache is None else cache
        self._transfer = cache.get(stack, self._layout.sizes, halved=HALVED, device=self.device)

    def __len__(self) -> int:
        """Number of views."""
        return len(self._transfer)

    def __call__(self, latent: torch.Tensor, view: int | None = None) -> torch.Tensor:
        """`blur`, for use in networks."""
        return self.blur(latent, view)

    def blur(self, latent: torch.Tensor, view: int | None = None) -> torch.Tensor:
        """Blur volumes as the views see them.

        Parameters
        ----------
        latent : float32 (..., z, y, x)
        view : blur with the PSF of this view only, or with all when None

        Returns
        -------
        float32 (..., view, z, y, x), or (..., z, y, x) for a single view.
        """
        if view is not None:
            return convolve(latent, self._layout, self._transfer[view])
        return convolve(latent.unsqueeze(-4), self._layout, self._transfer)

    def each(self, latents: torch.Tensor) -> torch.Tensor:
        """Blur one volume a view, each with the PSF of its view.

        Parameters
        ----------
        latents : float32 (..., view, z, y, x)

        Returns
        -------
        float32 (..., view, z, y, x)
        """
        return convolve(latents, self._layout, self._transfer)

    def adjoint(self, images: torch.Tensor, view: int | None = None) -> torch.Tensor:
        """Apply the exact adjoint of `blur`, border rule included: correlate with the PSFs, and add up the views.

        Parameters
        ----------
        images : float32 (..., view, z, y, x), or (..., z, y, x) for a single view
        view : the view that `images` belong to, or None when they are stacks of all views

        Returns
        -------
        float32 (..., z, y, x)
        """
        if view is not None:
            return correlate(images, self._layout, self._transfer[view])
        return correlate(images, self._layout, self._transfer).sum(dim=-4)
