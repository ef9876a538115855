"""Learning from the views themselves: what is generated, blurred as each view saw it, must look like that view.

The blur of a tile is known only where the PSF does not reach beyond the tile, and is compared there alone. Light that
a view lost on its way through the specimen is allowed for by a gain, or by a transmission that was found beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch

from napari_mvfusion.data.geometry import Triple, triple
from napari_mvfusion.data.view_noise import Noise
from napari_mvfusion.imaging import Blur, TransferCache
from napari_mvfusion.models.build import Generator
from napari_mvfusion.training.config import BEFORE_THE_BLUR, LossWeights
from napari_mvfusion.training.figures import Figures
from napari_mvfusion.training.noise_splitting import NOISE_SPLIT
from napari_mvfusion.training.objectives import Supervised
from napari_mvfusion.training.training_samples import (
    Recording,
    TrainingSample,
    TrainingVolume,
    cut,
    run_network,
    upright,
)

# A view that is this much brighter or darker than the others is not explained by attenuation.
_LARGEST_GAIN = 4.0
_SMOOTH_SIGMA = 6.0
_SMOOTH_REACH = 2.0
# Light in the neighbourhood below which a gain is taken to be 1.
_DARK = 0.02
_TINY = 1e-12
_CACHE_BYTES = 2**30
# Errors of what was recorded from a known volume and has to be restored.
_RESIMULATION_WEIGHTS = LossWeights(absolute=0.1, square=18.0, light=300.0)


@dataclass(frozen=True, eq=False)
class Reprojection:
    """A generated tile beside its views; all (view, z, y, x).

    Attributes
    ----------
    fitted : the blurred tile times the gains
    views : what was recorded
    known : 1 where both are known, 0 elsewhere
    """

    fitted: torch.Tensor
    views: torch.Tensor
    known: torch.Tensor

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the known voxels of each view, (view,); 0 where a view has none."""
        return (values * self.known).sum(dim=(1, 2, 3)) / self.known.sum(dim=(1, 2, 3)).clamp(min=1)


class Reprojector:
    """Blurs generated tiles as their views saw them; keeps the blurs of the last recordings.

    Parameters
    ----------
    gains : see `LossWeights`; "start" and "attenuation" read the transmission of each view from the sample
    """

    def __init__(self, gains: str) -> None:
        self._gains = gains
        self._blurs: dict[tuple[int, Triple, str], tuple[Recording, Blur, torch.Tensor]] = {}
        self._gaussians: dict[tuple[Triple, str], Blur] = {}
        # Transfer functions of its own: those that others make in inference mode cannot be learned through.
        self._cache = TransferCache(_CACHE_BYTES)

    def __call__(self, generated: torch.Tensor, sample: TrainingSample) -> Reprojection:
        """Compare a tile (1, 1, z, y, x) that lies as the sample does; gradients flow to it."""
        assert sample.recording is not None
        latent = upright(generated.float(), sample)[0, 0]
        views = upright(sample.tensors["views"], sample)[0]
        blur, known = self._blur(sample.recording, triple(latent.shape), latent.device)
        if "coverage" in sample.tensors:
            known = known * upright(sample.tensors["coverage"], sample)[0]
        if self._gains in BEFORE_THE_BLUR:
            blurred = blur.each(upright(sample.tensors["fitted_transmission"], sample)[0] * latent)
            with torch.no_grad():
                gains = _factors(blurred, views, known)
            return Reprojection(gains * blurred, views, known)
        blurred = blur(latent)
        with torch.no_grad():
            gains = self._gain(blurred, views, known)
        return Reprojection(gains * blurred, views, known)

    def _blur(self, recording: Recording, shape: Triple, device: torch.device) -> tuple[Blur, torch.Tensor]:
        """The blur of a tile, and where it is known: float32 (view, z, y, x)."""
        key = (id(recording), shape, str(device))
        if key not in self._blurs:
            known = torch.zeros(len(recording.psfs), *shape)
            for v, psf in enumerate(recording.psfs):
                radius = [n // 2 for n in psf.shape]
                z, y, x = (slice(r, max(r, n - r)) for r, n in zip(radius, shape, strict=True))
                known[v, z, y, x] = 1
            # The recording is kept too, so that its id stays its own.
            blur = Blur(recording.psfs, shape, "zero", device, self._cache)
            self._blurs[key] = (recording, blur, known.to(device))
        _, blur, known = self._blurs[key]
        return blur, known

    def _gain(self, blurred: torch.Tensor, views: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Gain of each view: (1, 1, 1, 1), (view, 1, 1, 1) or (view, z, y, x)."""
        if self._gains == "one":
            return blurred.new_ones(1, 1, 1, 1)
        weighted = known * blurred
        if self._gains == "view":
            gains = _factors(blurred, views, known)
        else:
            smooth = self._smooth(triple(blurred.shape[1:]), blurred.device)
            gains = (smooth(known * views, 0) + _DARK) / (smooth(weighted, 0) + _DARK)
        gains = gains.clamp(1 / _LARGEST_GAIN, _LARGEST_GAIN)
        return gains / gains.mean(dim=0, keepdim=True)

    def _smooth(self, shape: Triple, device: torch.device) -> Blur:
        key = (shape, str(device))
        if key not in self._gaussians:
            reach = int(_SMOOTH_REACH * _SMOOTH_SIGMA)
            profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SMOOTH_SIGMA) ** 2)
            profile /= profile.sum()
            kernel = np.einsum("i,j,k->ijk", profile, profile, profile)
            self._gaussians[key] = Blur([kernel], shape, "zero", device, self._cache)
        return self._gaussians[key]


def _factors(blurred: torch.Tensor, views: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The factor of each view that brings it nearest to what was recorded, (view, 1, 1, 1)."""
    weighted = known * blurred
    above = (weighted * views).sum(dim=(1, 2, 3), keepdim=True)
    below = (weighted * blurred).sum(dim=(1, 2, 3), keepdim=True)
    return torch.where(below > _TINY, above / below.clamp(min=_TINY), torch.ones_like(below))


class SelfSupervised:
    """The cycle over the views, and the squared gradient of the result, which keeps noise down.

    Parameters
    ----------
    weights : of both, and how the cycle is measured: "absolute" is the mean absolute error; "poisson" the squared error
        of generalised Anscombe transforms (1 is the noise of photons), times the noise of a voxel of brightness 1, so that
        both have the size of an error in brightness; "split" the squared error against the other part of split views, over
        the variance that it is expected to have
    """

    def __init__(self, weights: LossWeights) -> None:
        self._weights = weights
        self._reproject = Reprojector(weights.gains)

    def losses(self, network: Generator, sample: TrainingSample) -> dict[str, torch.Tensor]:
        """See `Objective`."""
        generated = run_network(network, sample)
        parts = {"cycle": self.cycle(generated, sample)}
        if self._weights.gradient:
            parts["gradient"] = self._weights.gradient * squared_gradient(generated)
        if sample.example is not None:
            parts["resimulated"] = self._weights.resimulated * resimulation_loss(network, sample.example)
        return parts

    def cycle(self, generated: torch.Tensor, sample: TrainingSample) -> torch.Tensor:
        """The weighted cycle of a generated tile (1, 1, z, y, x), a scalar."""
        assert sample.recording is not None
        reprojected = self._reproject(generated, sample)
        if self._weights.likelihood == "split":
            squares, variance = noise_split_error(reprojected, sample, self._weights.floor)
            errors = reprojected.mean(squares / variance)
        elif self._weights.likelihood == "absolute":
            errors = reprojected.mean((reprojected.fitted - reprojected.views).abs())
        else:
            errors = torch.stack(list(_anscombe(reprojected, sample.recording.noise, self._weights.floor)))
        return self._weights.cycle * errors.mean()


def resimulation_loss(network: Generator, example: TrainingSample) -> torch.Tensor:
    """How far a resimulated tile is from being restored, a scalar."""
    return torch.stack(list(Supervised(_RESIMULATION_WEIGHTS).losses(network, example).values())).sum()


def squared_gradient(volume: torch.Tensor) -> torch.Tensor:
    """Mean squared gradient of a volume (..., z, y, x), by differences of neighbours: a scalar."""
    parts = [volume.diff(dim=axis).square().mean() for axis in (-3, -2, -1)]
    return torch.stack(parts).sum()


def noise_split_error(
    reprojected: Reprojection, sample: TrainingSample, floor: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared difference from the other part of split views, and its variance by noise alone; (view, z, y, x)."""
    assert sample.recording is not None
    split_target, expected = (upright(sample.tensors[name], sample)[0] for name in ("split_target", "expected"))
    gain = expected.new_tensor([known.gain for known in sample.recording.noise])[:, None, None, None]
    read = expected.new_tensor([known.read_variance for known in sample.recording.noise])[:, None, None, None]
    variance = (1 + NOISE_SPLIT**-2) * (gain * expected.clamp(min=0) + read + floor**2)
    return (reprojected.fitted - split_target).square(), variance.clamp(min=_TINY)


def _anscombe(reprojected: Reprojection, noise: Sequence[Noise], floor: float) -> list[torch.Tensor]:
    """The loss "poisson" of each view."""
    # 2 (sqrt(q f + s) - sqrt(q x + s)) / q with s = 3/8 q^2 + read variance, written so that it stays exact for q = 0.
    found = []
    for v, known in enumerate(noise):
        shift = 0.375 * known.gain**2 + known.read_variance + floor**2
        fitted, view = (values[v].clamp(min=0) for values in (reprojected.fitted, reprojected.views))
        roots = (known.gain * fitted + shift).sqrt() + (known.gain * view + shift).sqrt()
        squares = (2 * (fitted - view) / roots.clamp(min=sqrt(_TINY))).square()
        inside = reprojected.known[v]
        found.append(sqrt(known.gain + shift) * (squares * inside).sum() / inside.sum().clamp(min=1))
    return found


class ScoreViews:
    """How well a network explains views that it was not trained on, in units of the noise.

    Parameters
    ----------
    weights : say which gains are allowed for, and whether noise is split

    Attributes
    ----------
    decides : name of the figure that picks the weights that are kept
    """

    def __init__(self, weights: LossWeights) -> None:
        self._reproject = Reprojector(weights.gains)
        self.decides = "structure_residual" if weights.likelihood == "split" else "misfit"

    def __call__(
        self, network: Generator, volumes: Sequence[TrainingVolume], device: torch.device
    ) -> Mapping[str, float]:
        """Mean over tiles and views.

        Returns
        -------
        "residual", root mean square residual over that of the expected noise: 1 is the noise floor, below it noise was
        learned; "misfit", how far its logarithm is from 0; "residual_estimate", of what the universal generator corrects;
        and where noise is split "structure_residual", what is left of the squared difference from the other part when the
        variance of its noise is taken away, in units of the noise of the views: 0 is perfect, and noise cannot lower it.
        """
        found: dict[str, list[float]] = {"residual": [], "misfit": []}
        with torch.no_grad():
            for volume in volumes:
                sample = cut(volume, (0, 0, 0), volume.shape, device)
                residuals = self._residuals(run_network(network, sample), sample)
                found["residual"] += residuals
                found["misfit"] += [abs(float(np.log(max(r, _TINY)))) for r in residuals]
                if volume.noise_split is not None:
                    split = cut(volume.noise_split, (0, 0, 0), volume.shape, device)
                    found.setdefault("structure_residual", []).extend(
                        self._structure_residual(run_network(network, split), split)
                    )
                if "estimate" in sample.tensors:
                    estimated = self._residuals(sample.tensors["estimate"], sample)
                    found.setdefault("residual_estimate", []).extend(estimated)
        return Figures((name, float(np.mean(values))) for name, values in found.items())

    def _residuals(self, generated: torch.Tensor, sample: TrainingSample) -> list[float]:
        """Residual of each view that has data in the tile."""
        assert sample.recording is not None
        reprojected = self._reproject(generated, sample)
        squares = reprojected.mean((reprojected.fitted - reprojected.views).square())
        light = reprojected.mean(reprojected.fitted.clamp(min=0))
        some = reprojected.known.sum(dim=(1, 2, 3)) > 0
        return [
            sqrt(float(squares[v]) / max(noise.gain * float(light[v]) + noise.read_variance, _TINY))
            for v, noise in enumerate(sample.recording.noise)
            if some[v]
        ]

    def _structure_residual(self, generated: torch.Tensor, sample: TrainingSample) -> list[float]:
        """What is left of the difference from the other part, for each view that has data in the tile."""
        reprojected = self._reproject(generated, sample)
        squares, variance = (reprojected.mean(part) for part in noise_split_error(reprojected, sample))
        some = reprojected.known.sum(dim=(1, 2, 3)) > 0
        left = (1 + NOISE_SPLIT**-2) * (squares - variance) / variance
        return [float(value) for value in left[some]]
