"""How well views are explained by one specimen seen through given PSFs, whatever the attenuation of each view."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import fft

# Each finds the specimen anew, with the attenuation that the last one found.
_ROUNDS = 3
# Voxels; attenuation changes more slowly than this, and what PSFs do does not.
_SMOOTH = 8.0
_LEAST, _MOST = 0.1, 8.0
# Of the mean of a view: below it there is too little light to tell how much of it was lost.
_DARK = 0.05
# Keeps frequencies that no PSF lets pass out of the specimen.
_PULL = 0.02
# Voxels along a side of the blocks that residuals are given for; their noise and errors are nearly independent.
_BLOCK = 8


class JointFit:
    """Fits one specimen, and a smooth factor for each view, to views with PSFs that may be mirrored.

    A view is taken to be `PSF (x) (factor times specimen)`. The specimen is the least-squares one, which is found by
    division of Fourier transforms; that a factor stands before the blur and not behind it is corrected for by what the last
    round left unexplained. Factors come from the ratio of smoothed images. So a PSF and its mirror image are given the same
    freedom, and light that fades along an axis is not taken for the shape of a PSF.

    Parameters
    ----------
    pixels : float32 (view, z, y, x), each with mean 1, not negative
    kernels : PSFs of sum 1, one a view, (z, y, x), odd sides
    """

    def __init__(self, pixels: np.ndarray, kernels: Sequence[np.ndarray]) -> None:
        shape = pixels.shape[1:]
        reach = [max(kernel.shape[axis] for kernel in kernels) for axis in range(3)]
        self._sizes = tuple(fft.next_fast_len(n + k - 1, real=True) for n, k in zip(shape, reach, strict=True))
        around = [((s - n) // 2, (s - n + 1) // 2) for s, n in zip(self._sizes, shape, strict=True)]
        # Nothing is known beyond the border; its mirror image is nearest to the truth, and only the inner part counts.
        self._views = np.pad(pixels, [(0, 0), *around], mode="symmetric")
        self._inner = tuple(
            slice(before + k // 4, before + n - k // 4) for (before, _), k, n in zip(around, reach, shape, strict=True)
        )
        self._transfers = [self._transfer(kernel) for kernel in kernels]
        frequencies = np.ix_(*map(fft.fftfreq, self._sizes[:2]), fft.rfftfreq(self._sizes[2]))
        squared = sum((f**2 for f in frequencies), np.zeros(()))
        self._smooth = np.exp(-2 * (np.pi * _SMOOTH) ** 2 * squared).astype(np.float32)
        self._spectra = [self._forward(view) for view in self._views]
        self._smoothed = [self._back(spectrum * self._smooth) + np.float32(_DARK) for spectrum in self._spectra]

    def residuals(self, mirrored: Sequence[bool], tell: Callable[[], None] = lambda: None) -> np.ndarray:
        """Squared residuals over the expected values, in units of the mean of a view.

        Parameters
        ----------
        mirrored : which of the PSFs are used flipped on all axes
        tell : called before each step; an error that it raises ends the work

        Returns
        -------
        float64 (block,): mean over the views and the voxels of each block of about 8^3.
        """
        transfers = [t.conj() if flip else t for t, flip in zip(self._transfers, mirrored, strict=True)]
        power = sum((np.abs(t) ** 2 for t in transfers), np.float32(_PULL))
        factors = np.ones_like(self._views)
        fitted: list[np.ndarray] = []
        expected_spectra: list[np.ndarray] = []
        specimen = np.zeros(self._sizes, np.float32)
        for number in range(_ROUNDS):
            spectrum = self._forward(specimen)
            matched = np.zeros_like(spectrum)
            for v, transfer in enumerate(transfers):
                tell()
                seen = self._spectra[v]
                if number:
                    seen = transfer * spectrum + self._forward((self._views[v] - fitted[v]) / factors[v])
                matched += transfer.conj() * seen
            specimen = np.maximum(self._back(matched / power), 0)
            expected_spectra = [t * self._forward(f * specimen) for t, f in zip(transfers, factors, strict=True)]
            fitted = [self._back(one) for one in expected_spectra]
            if number < _ROUNDS - 1:
                factors = self._transmissions(factors, expected_spectra)
        squares = np.zeros(tuple(s.stop - s.start for s in self._inner))
        for view, one in zip(self._views, fitted, strict=True):
            expected = np.maximum(one, 0)[self._inner]
            squares += (view[self._inner] - expected) ** 2 / (expected + np.float32(_DARK))
        return _in_blocks(squares / len(transfers))

    def _transmissions(self, factors: np.ndarray, expected_spectra: Sequence[np.ndarray]) -> np.ndarray:
        """The factors with which smoothed images agree, with a mean of 1 over the views."""
        found = np.empty_like(factors)
        for v, spectrum in enumerate(expected_spectra):
            ratio = self._smoothed[v] / np.maximum(self._back(spectrum * self._smooth) + np.float32(_DARK), _DARK)
            found[v] = np.clip(factors[v] * ratio, _LEAST, _MOST)
        return np.asarray(found / found.mean(axis=0))

    def _transfer(self, kernel: np.ndarray) -> np.ndarray:
        padded = np.zeros(self._sizes, np.float32)
        padded[tuple(slice(0, n) for n in kernel.shape)] = kernel
        return self._forward(np.roll(padded, [-(n // 2) for n in kernel.shape], axis=(0, 1, 2)))

    def _forward(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(fft.rfftn(values))

    def _back(self, spectrum: np.ndarray) -> np.ndarray:
        return np.asarray(fft.irfftn(spectrum, self._sizes))


def _in_blocks(values: np.ndarray) -> np.ndarray:
    """The mean of each block, flat."""
    counts = np.ones_like(values)
    for axis, n in enumerate(values.shape):
        starts = np.linspace(0, n, max(1, round(n / _BLOCK)) + 1).astype(int)[:-1]
        values = np.add.reduceat(values, starts, axis=axis)
        counts = np.add.reduceat(counts, starts, axis=axis)
    return np.asarray((values / counts).ravel())
