"""What a generator is trained to do: losses of a sample, and the score that decides which weights are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, geometric_mean
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from napari_mvfusion.models.build import Generator
from napari_mvfusion.training.config import LossWeights
from napari_mvfusion.training.training_samples import TrainingSample, TrainingVolume, cut, generate, run_network
from napari_mvfusion.training.unmended import unmended

_VALIDATION_SIDE = 64
_KNEE = 1.0
_LIGHT_KNEE = 0.03
# The error wraps at the border of a tile: what is left of it there is not looked at, voxels.
_WRAPPED = 6
_LEAST = 1e-6
# Beyond this, in units of what the start scores, tiles count by the logarithm: a few bad ones must not steer the network.
_MOST = 2.0
# Share of the errors that are within one standard deviation, where they are normal.
_WITHIN = 0.683


class Objective(Protocol):
    """Losses of one sample."""

    def losses(self, network: Generator, sample: TrainingSample) -> dict[str, torch.Tensor]:
        """The weighted parts of the loss, by name; the network learns from their sum."""


class Adversary(Protocol):
    """A discriminator that learns beside the generator, from what the objective showed it last."""

    discriminator: nn.Module

    def judge(self) -> torch.Tensor:
        """Loss of the discriminator on the last tile that was generated; it reaches the discriminator only."""


class Supervised:
    """The generated volume is the truth: absolute and squared errors, and light that is lost, in units of the truth's range.

    Both are divided by what the start of the network scores, the estimate or the mean of the views: every tile counts
    by how much of its error is mended, and hard ones do not drown the others.
    """

    def __init__(self, weights: LossWeights) -> None:
        self._weights = weights

    def losses(self, network: Generator, sample: TrainingSample) -> dict[str, torch.Tensor]:
        """See `Objective`."""
        generated, error = generate(network, sample)
        parts = self._parts(generated, sample)
        with torch.no_grad():
            start = (
                sample.tensors["estimate"] if "estimate" in sample.tensors else sample.tensors["views"].mean(1, True)
            )
            hard = torch.stack(list(self._parts(start, sample).values())).sum() + self._weights.easy
            excess = (torch.stack(list(parts.values())).sum() / (hard * _MOST)).clamp(min=1)
            hard = hard * excess / (1 + excess.log())
        found = {name: part / hard for name, part in parts.items()}
        if error is None:
            return found
        wrong = generated.detach() - sample.target
        if sample.unmended is not None:
            wrong, error = _left_inside(wrong, sample.unmended), _inside(error)
        return found | {"uncertainty": _quantile_loss(error, wrong)}

    def _parts(self, generated: torch.Tensor, sample: TrainingSample) -> dict[str, torch.Tensor]:
        error = (generated - sample.target) / sample.span
        weights = self._weights
        parts = {"absolute": weights.absolute * error.abs().mean(), "square": weights.square * _square(error, _KNEE)}
        if weights.light:
            parts["light"] = weights.light * _square(error.mean(), _LIGHT_KNEE)
        if weights.unmended and sample.unmended is not None:
            parts["unmended"] = weights.unmended * _square(_left_inside(error, sample.unmended), _KNEE)
        return parts


def _left_inside(error: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """What updates leave of the error of a tile, see `unmended`, away from its border."""
    return _inside(unmended(error, share))


def _inside(values: torch.Tensor) -> torch.Tensor:
    inside = (slice(_WRAPPED, -_WRAPPED),) * 3
    return values[(..., *inside)]


def _quantile_loss(error: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """Least where errors are below what is said of them in the share of cases that are within one standard deviation.

    Relative to what is said, so that dark and bright places count alike.
    """
    beyond = wrong.abs() / error.detach() - error / error.detach()
    return torch.maximum(_WITHIN * beyond, (_WITHIN - 1) * beyond).mean()


def _square(error: torch.Tensor, knee: float) -> torch.Tensor:
    """Mean square, linear beyond a knee: one bright point must not outweigh a tile."""
    return 2 * functional.huber_loss(error, torch.zeros_like(error), delta=knee)


def score_supervised(
    network: Generator, volumes: Sequence[TrainingVolume], device: torch.device
) -> Mapping[str, float]:
    """Mean NRMSE over scenes, in the middle of each, after the best scale and offset.

    Returns
    -------
    "nrmse" of the network and, where it corrects an estimate, "nrmse_estimate" of that; "nrmse_held_out" and
    "nrmse_estimate_held_out" of scenes of held-out families, where there are some. "unmended", likewise, where that counts:
    the geometric mean of what updates would leave of the error, so that no scene outweighs the others.
    """
    found: dict[str, list[float]] = {}
    with torch.inference_mode():
        for volume in volumes:
            sample = _middle(volume, device)
            ending = "_held_out" if volume.held_out else ""
            images = {"": run_network(network, sample)}
            if "estimate" in sample.tensors:
                images["_estimate"] = sample.tensors["estimate"]
            for name, image in images.items():
                found.setdefault(f"nrmse{name}{ending}", []).append(_nrmse(image, sample))
                if sample.unmended is not None:
                    error = _left_inside(image - sample.target, sample.unmended)
                    relative = float(error.double().square().mean().sqrt() / sample.span)
                    found.setdefault(f"unmended{name}{ending}", []).append(max(relative, _LEAST))
    means = {"unmended": geometric_mean}
    return {name: means.get(name.split("_")[0], fmean)(values) for name, values in found.items()}


def _middle(volume: TrainingVolume, device: torch.device) -> TrainingSample:
    z, y, x = (min(n // 4 * 4, _VALIDATION_SIDE) for n in volume.shape)
    a, b, c = ((n - side) // 8 * 4 for n, side in zip(volume.shape, (z, y, x), strict=True))
    return cut(volume, (a, b, c), (z, y, x), device)


def _nrmse(generated: torch.Tensor, sample: TrainingSample) -> float:
    """Root mean square error over the truth's range, after the least-squares scale and offset of what was generated."""
    values, truth = generated.double().flatten(), sample.target.double().flatten()
    values, truth = values - values.mean(), truth - truth.mean()
    variance = values.square().mean()
    factor = (values * truth).mean() / variance if variance > 0 else torch.zeros(())
    return float((factor * values - truth).square().mean().sqrt() / sample.span)
