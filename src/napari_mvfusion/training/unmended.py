"""What updates from the views leave of an error of a network: what it has to learn.

A universal network is followed by updates that bring back what the views say and its image does not. Where the views
saw a pattern well, they mend what is wrong with it; what none of them saw stays as the network made it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import fft

from napari_mvfusion.data.geometry import Triple
from napari_mvfusion.data.views import RegisteredViews
from napari_mvfusion.methods.joint_updates import level_of
from napari_mvfusion.psf.usable import normalised

# How many updates are counted: about as many as are made.
_UPDATES = 8


@dataclass(frozen=True, eq=False)
class Unmended:
    """How much of an error is left after the updates, frequency by frequency.

    As if the light were even, and no noise held the updates back: they are linear then, and alike everywhere.

    Attributes
    ----------
    psfs : one a view, float32 (z, y, x) with odd sides and sum 1
    weights : trust in each view, of mean 1
    level : of the filter of the updates
    """

    psfs: tuple[np.ndarray, ...]
    weights: tuple[float, ...]
    level: float

    @classmethod
    def of(cls, views: RegisteredViews) -> Unmended:
        """For views with PSFs."""
        psfs = tuple(normalised(view.psf).astype(np.float32) for view in views.views if view.psf is not None)
        weights = np.array([view.weight for view in views.views], float)
        return cls(psfs, tuple(weights / weights.mean()), level_of(views))

    def share(self, sides: Triple) -> torch.Tensor:
        """What is left of a pattern that repeats after `sides` voxels: float32 of that shape, frequencies as in an FFT."""
        power = np.zeros(sides, np.float32)
        for psf, weight in zip(self.psfs, self.weights, strict=True):
            power += np.float32(weight / len(self.psfs)) * np.abs(fft.fftn(_folded(psf, sides), workers=1)) ** 2
        rest = torch.from_numpy(1 - power / (power + np.float32(self.level)))
        left, before = rest.clone(), torch.ones_like(rest)
        for update in range(1, _UPDATES):
            ahead = update / (update + 3)
            left, before = rest * torch.lerp(before, left, 1 + ahead), left
        return left


def _folded(psf: np.ndarray, sides: Triple) -> np.ndarray:
    """A PSF on a torus, its middle at the first voxel."""
    folded = np.zeros(sides, np.float32)
    places = [(np.arange(k) - k // 2) % n for k, n in zip(psf.shape, sides, strict=True)]
    np.add.at(folded, np.ix_(*places), psf)
    return folded


def unmended(error: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """What is left of an error (..., z, y, x), which wraps at its border; see `Unmended.share`."""
    half = share[..., : share.shape[-1] // 2 + 1]
    spectrum = torch.fft.rfftn(error.float(), dim=(-3, -2, -1)) * half
    left: torch.Tensor = torch.fft.irfftn(spectrum, s=share.shape[-3:], dim=(-3, -2, -1))
    return left
