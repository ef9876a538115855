"""Linear multi-view deconvolution in closed form: the Wiener filter of all views together, at several strengths.

In Fourier space, with views X_v, transfer functions H_v and weights a_v of mean 1, the image that minimises
`mean_v a_v |H_v W - X_v|^2 + level |W|^2` is

    W = mean_v(a_v conj(H_v) X_v) / (mean_v(a_v |H_v|^2) + level)

A small level undoes more of the blur and lets more noise through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod

import numpy as np
import torch
from torch.nn import functional

from napari_mvfusion.data.geometry import Box, Triple, triple
from napari_mvfusion.imaging.borders import good_size
from napari_mvfusion.imaging.spectral import HALVED
from napari_mvfusion.imaging.threads import poll
from napari_mvfusion.imaging.transfer import TransferCache, crop, radius_of, transfer_bytes

_AXES = (-3, -2, -1)
_KEPT_BYTES = 2**30
# Allocators keep pieces up to this size when they are given back.
_PIECE_BYTES = 2**25


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
        self._kept_power: tuple[Triple, torch.Tensor] | None = None
        self._kept_strength: tuple[Triple, torch.Tensor] | None = None
        self._kept_gains: tuple[Triple, list[float]] | None = None

    def __call__(self, views: Iterable[torch.Tensor], target: Box, margin: Triple) -> tuple[torch.Tensor, torch.Tensor]:
        """Filter a block.

        Parameters
        ----------
        views : float32 (z, y, x), each asked for when it is its turn
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
        projected, block = self._project(views, margin)
        sizes, inner = self._sizes(block, margin), _after_margin(target, margin)
        sharp = self._filtered(projected, sizes, inner, self._levels)
        power = self._power(sizes)
        # Transfer functions come divided by the number of samples, for the inverse transform.
        _scaled(projected, self._strength(power, self._levels[self._base_level]).mul_(prod(sizes)))
        blurred = torch.empty((len(self._kernels), *target.shape), device=projected.device)
        for number, kernel in enumerate(self._kernels):
            blurred[number] = self._seen_by(kernel, projected, sizes, inner)
        return blurred, sharp

    def at_levels(
        self, views: Iterable[torch.Tensor], target: Box, margin: Triple, levels: Sequence[float]
    ) -> torch.Tensor:
        """The filter of a block at other levels, see a call: float32 (level, z, y, x) over the target."""
        projected, block = self._project(views, margin)
        return self._filtered(projected, self._sizes(block, margin), _after_margin(target, margin), levels)

    def at_base_level(self, views: Iterable[torch.Tensor], margin: Triple) -> torch.Tensor:
        """The filter of a block at the level whose result is blurred again: float32 (z, y, x) over the whole block."""
        projected, block = self._project(views, margin)
        sizes = self._sizes(block, margin)
        _scaled(projected, self._base_strength(sizes))
        return _brought_back(projected, sizes, _after_margin(Box.whole(block), margin))

    def noise_gains(self, block: Triple, margin: Triple) -> list[float]:
        """Variance that white noise of variance 1 in each view, on its own, has in the image at the base level."""
        sizes = self._sizes(block, margin)
        if self._kept_gains is not None and self._kept_gains[0] == sizes:
            return self._kept_gains[1]
        power, samples = self._power(sizes), prod(sizes)
        # By Parseval's theorem; all frequencies along x but the first (and the last, of an even length) stand for two.
        twice = torch.full((power.shape[-1],), 2.0, device=power.device)
        twice[0] = 1
        if sizes[-1] % 2 == 0:
            twice[-1] = 1
        gains = []
        for kernel, weight in zip(self._kernels, self._weights, strict=True):
            poll()
            strength = self._transfer(kernel, sizes).abs().mul_(float(weight) * samples / len(self._kernels))
            strength.div_(power + self._levels[self._base_level]).square_()
            gains.append(float((strength.sum(dim=(0, 1), dtype=torch.float64) * twice).sum()) / samples)
        self._kept_gains = sizes, gains
        return gains

    def blurred(
        self, image: torch.Tensor, margin: Triple, transmission: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """What each view would look like if an image were the truth, one after the other.

        Parameters
        ----------
        image : float32 (z, y, x), a block as for a call
        margin : likewise
        transmission : float32 (view, z, y, x), the share of its light that reaches each view, before it is blurred; all of
            it when None

        Yields
        ------
        float32 (z, y, x), without what the weights say; it may be written to.
        """
        block = triple(image.shape)
        sizes, inner = self._sizes(block, margin), _after_margin(Box.whole(block), margin)
        spectrum: torch.Tensor | None = None
        for number, kernel in enumerate(self._kernels):
            if transmission is not None or spectrum is None:
                seen = image if transmission is None else image * transmission[number]
                spectrum = torch.fft.rfftn(_mirrored(seen, margin), s=sizes, dim=_AXES)
            yield self._seen_by(kernel, spectrum, sizes, inner)

    def from_within(self, known: torch.Tensor, margin: Triple) -> torch.Tensor:
        """Of evenly lit surroundings, the share of what each view sees in a voxel that comes from where all is known.

        Parameters
        ----------
        known : float32 (z, y, x) of a block, 1 where it is known what is there; beyond the block it is not
        margin : as for a call

        Returns
        -------
        float32 (view, z, y, x), 0 to 1; 1 away from what is not known.
        """
        block = triple(known.shape)
        sizes, inner = self._sizes(block, margin), _after_margin(Box.whole(block), margin)
        surrounded = torch.zeros(sizes, device=self.device)
        surrounded[inner] = known
        spectrum = torch.fft.rfftn(surrounded, dim=_AXES)
        within = torch.empty((len(self._kernels), *block), device=self.device)
        for number, kernel in enumerate(self._kernels):
            torch.clamp(self._seen_by(kernel, spectrum, sizes, inner), 0, 1, out=within[number])
        return within

    def working_bytes(self, block: Triple, margin: Triple) -> int:
        """An upper bound of the memory in use for a block, with what is kept; its inputs and results not counted."""
        # Block on the circle, its spectrum, the sum, the power and it with two levels, a product and two temporaries; and
        # six pieces of what the allocator has been given back, where they are small: with many updates that grows.
        sizes = self._sizes(block, margin)
        one = transfer_bytes(sizes, HALVED)
        kept = min(_KEPT_BYTES, len(self._kernels) * one)
        return 17 * one // 2 + 6 * min(one, _PIECE_BYTES) + kept

    def kept_bytes(self, block: Triple, margin: Triple) -> int:
        """What of that is kept between calls, for blocks up to this one."""
        one = transfer_bytes(self._sizes(block, margin), HALVED)
        return min(_KEPT_BYTES, len(self._kernels) * one) + one

    def release(self) -> None:
        """Drop what is kept between calls."""
        self._transfers.clear()
        self._kept_power = self._kept_strength = self._kept_gains = None

    def _seen_by(
        self, kernel: np.ndarray, spectrum: torch.Tensor, sizes: Triple, part: tuple[slice, ...]
    ) -> torch.Tensor:
        """A part of an image blurred with a kernel, from its spectrum."""
        poll()
        return _brought_back(spectrum * self._transfer(kernel, sizes), sizes, part)

    def _project(self, views: Iterable[torch.Tensor], margin: Triple) -> tuple[torch.Tensor, Triple]:
        """Spectra of the views of a block brought back to the image, the sum over the views, and the block's shape.

        The sum is that of conj(H_v) X_v a_v over the samples.
        """
        conjugate: torch.Tensor | None = None
        for view, kernel, weight in zip(views, self._kernels, self._weights, strict=True):
            poll()
            block = triple(view.shape)
            sizes = self._sizes(block, margin)
            transfer = self._transfer(kernel, sizes)
            spectrum = torch.fft.rfftn(_mirrored(view, margin), s=sizes, dim=_AXES).conj_physical_()
            if conjugate is None:
                conjugate = spectrum.mul_(transfer)
                if weight != 1:
                    conjugate.mul_(float(weight))
            else:
                conjugate.addcmul_(spectrum, transfer, value=float(weight))
        assert conjugate is not None
        return conjugate.conj_physical_(), block

    def _filtered(
        self, projected: torch.Tensor, sizes: Triple, part: tuple[slice, ...], levels: Sequence[float]
    ) -> torch.Tensor:
        """Projected views filtered at some levels, over a part of the block: (level, z, y, x)."""
        power = self._power(sizes)
        found = torch.empty((len(levels), *(along.stop - along.start for along in part)), device=projected.device)
        for number, level in enumerate(levels):
            poll()
            found[number] = _brought_back(_scaled(projected.clone(), self._strength(power, level)), sizes, part)
        return found

    def _strength(self, power: torch.Tensor, level: float) -> torch.Tensor:
        """What the sum of the projected views is multiplied by at a level."""
        return (power + level).mul_(len(self._kernels)).reciprocal_()

    def _base_strength(self, sizes: Triple) -> torch.Tensor:
        """That of the base level: the same for all updates of blocks of a shape."""
        if self._kept_strength is None or self._kept_strength[0] != sizes:
            self._kept_strength = sizes, self._strength(self._power(sizes), self._levels[self._base_level])
        return self._kept_strength[1]

    def _power(self, sizes: Triple) -> torch.Tensor:
        """How much of each frequency the views saw, mean_v(a_v |H_v|^2): the same for all blocks of a shape."""
        if self._kept_power is None or self._kept_power[0] != sizes:
            power: torch.Tensor | None = None
            for kernel, weight in zip(self._kernels, self._weights, strict=True):
                poll()
                strength = self._transfer(kernel, sizes).abs().mul_(prod(sizes)).square_().mul_(float(weight))
                power = strength if power is None else power.add_(strength)
            assert power is not None
            self._kept_power = sizes, power.div_(len(self._kernels))
        return self._kept_power[1]

    def _sizes(self, block: Triple, margin: Triple) -> Triple:
        return triple(
            good_size(max(n + 2 * m, *(kernel.shape[axis] for kernel in self._kernels)))
            for axis, (n, m) in enumerate(zip(block, margin, strict=True))
        )

    def _transfer(self, kernel: np.ndarray, sizes: Triple) -> torch.Tensor:
        return self._transfers.get(kernel, sizes, halved=HALVED, device=self.device)


def _mirrored(block: torch.Tensor, margin: Triple) -> torch.Tensor:
    """A block (z, y, x) and what it is mirrored to round it; the voxels at the border are not repeated."""
    z, y, x = margin
    mirrored: torch.Tensor = functional.pad(block[None], (x, x, y, y, z, z), mode="reflect")
    return mirrored[0]


def _after_margin(part: Box, margin: Triple) -> tuple[slice, ...]:
    """Where a part of a block lies in the block with its margin."""
    return tuple(slice(a + m, b + m) for a, b, m in zip(part.start, part.stop, margin, strict=True))


def _scaled(spectrum: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """A spectrum times real numbers, in place: without the complex copy of them that a product of the two makes."""
    torch.view_as_real(spectrum).mul_(by[..., None])
    return spectrum


def _brought_back(spectrum: torch.Tensor, sizes: Triple, part: tuple[slice, ...]) -> torch.Tensor:
    """A part of the inverse transform, float32 (z, y, x); what lies beyond it along one axis is left out of the next."""
    z, y, x = part
    rows = torch.fft.ifft(spectrum, dim=-3, norm="forward")[z]
    rows = torch.fft.ifft(rows, dim=-2, norm="forward")[:, y]
    values: torch.Tensor = torch.fft.irfft(rows, n=sizes[-1], dim=-1, norm="forward")
    return values[..., x]
